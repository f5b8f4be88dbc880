/**
 * The page's end of the worker: starts it, makes calls, hands out their events, results and errors.
 */
import { abortError, fromPlain, FewbitError } from "./error.js";
import type { CallName, Calls, Reply, Request } from "./protocol.js";

/** What a client needs of a `Worker`; tests put a `MessagePort` in its place. */
export interface WorkerLike {
  postMessage(message: Request, transfer?: Transferable[]): void;
  terminate(): void;
  onmessage: ((event: MessageEvent<Reply>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  onmessageerror: ((event: MessageEvent) => void) | null;
}

interface Pending {
  event(event: unknown): void;
  resolve(result: unknown): void;
  reject(error: FewbitError): void;
}

/** How a call is made: `onEvent` gets what the worker tells on the way, `signal` stops it. */
export interface CallOptions<N extends CallName> {
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: Calls[N]["event"]) => void) | undefined;
  readonly transfer?: Transferable[];
}

/** Calls to one worker. */
export class WorkerClient {
  readonly #worker: WorkerLike;
  readonly #pending = new Map<number, Pending>();
  readonly #ready: Promise<void>;
  #next = 1;
  #closed: FewbitError | null = null;

  constructor(worker: WorkerLike) {
    this.#worker = worker;
    this.#ready = new Promise((resolve, reject) => {
      this.#pending.set(0, { event: () => {}, resolve: () => resolve(), reject });
    });
    this.#ready.catch(() => {});
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      const where = event.filename ? ` (${event.filename}:${event.lineno})` : "";
      const what = event.message || "it could not be loaded; does the page's Content-Security-Policy allow it?";
      this.close(new FewbitError("worker", `the worker failed: ${what}${where}`));
    };
    worker.onmessageerror = () => this.close(new FewbitError("worker", "a message of the worker could not be read"));
  }

  /** Makes a call and waits for its result. */
  async call<N extends CallName>(
    call: N,
    args: Calls[N]["args"],
    { signal, onEvent, transfer }: CallOptions<N> = {},
  ): Promise<Calls[N]["result"]> {
    if (signal?.aborted) throw abortError(signal);
    const id = this.#next++;
    let abort: (() => void) | undefined;
    try {
      const result = await new Promise<unknown>((resolve, reject) => {
        if (this.#closed) {
          reject(this.#closed);
          return;
        }
        this.#pending.set(id, {
          event: (event) => onEvent?.(event as Calls[N]["event"]),
          resolve,
          reject,
        });
        abort = () => {
          if (!this.#pending.delete(id)) return;
          this.#worker.postMessage({ type: "abort", id });
          reject(abortError(signal as AbortSignal));
        };
        signal?.addEventListener("abort", abort, { once: true });
        this.#ready.then(() => {
          // Aborted or closed while the worker started.
          if (!this.#pending.has(id)) return;
          try {
            this.#worker.postMessage({ type: "call", id, call, args } as Request, transfer);
          } catch (error) {
            this.#pending.delete(id);
            reject(new FewbitError("bad_argument", `${call}: an argument cannot be sent to the worker`, { cause: error }));
          }
        }, reject);
      });
      return result as Calls[N]["result"];
    } finally {
      if (abort) signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends the worker; every open call fails with `error`, later ones too. */
  close(error: FewbitError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#worker.terminate();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
  }

  #receive(reply: Reply): void {
    const id = reply.type === "ready" ? 0 : reply.id;
    const pending = this.#pending.get(id);
    // What an aborted call still had under way.
    if (!pending) return;
    switch (reply.type) {
      case "ready":
        this.#pending.delete(id);
        pending.resolve(undefined);
        break;
      case "event":
        pending.event(reply.event);
        break;
      case "result":
        this.#pending.delete(id);
        pending.resolve(reply.result);
        break;
      case "error":
        this.#pending.delete(id);
        pending.reject(fromPlain(reply.error));
        break;
    }
  }
}
