/**
 * A queue between a callback and `for await`: what comes in is kept until it is asked for, so the producer never waits.
 */

/** An async iterable that is filled from outside. It can be iterated once. */
export class PushStream<T> implements AsyncIterable<T> {
  readonly #queue: T[] = [];
  readonly #onReturn: () => void;
  #waiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void } | null = null;
  #end: { error: unknown } | "done" | null = null;

  /** `onReturn` is called when a consumer leaves before the end. */
  constructor(onReturn: () => void = () => {}) {
    this.#onReturn = onReturn;
  }

  push(value: T): void {
    if (this.#end) return;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting) waiting.resolve({ value, done: false });
    else this.#queue.push(value);
  }

  finish(): void {
    this.#settle("done");
  }

  fail(error: unknown): void {
    this.#settle({ error });
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        if (!this.#end) this.#onReturn();
        this.#queue.length = 0;
        this.#settle("done");
        return { value: undefined, done: true };
      },
    };
  }

  #next(): Promise<IteratorResult<T, undefined>> {
    if (this.#queue.length > 0) {
      return Promise.resolve({ value: this.#queue.shift() as T, done: false });
    }
    if (this.#end === "done") return Promise.resolve({ value: undefined, done: true });
    if (this.#end) {
      const { error } = this.#end;
      // An error is told once; after it the iteration is over.
      this.#end = "done";
      return Promise.reject(error);
    }
    if (this.#waiting) return Promise.reject(new TypeError("next() was called before the last one settled"));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve: resolve as (result: IteratorResult<T>) => void, reject };
    });
  }

  #settle(end: { error: unknown } | "done"): void {
    if (this.#end) return;
    this.#end = end;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (!waiting) return;
    if (end === "done") waiting.resolve({ value: undefined, done: true });
    else {
      this.#end = "done";
      waiting.reject(end.error);
    }
  }
}
