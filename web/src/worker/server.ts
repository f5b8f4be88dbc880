/**
 * The worker's end of the protocol: runs the handler of each call, with an `AbortSignal` that the page's `abort` fires.
 */
import { toPlain } from "../error.js";
import type { CallName, Calls, Reply, Request } from "../protocol.js";

/** What a handler has beside its arguments. */
export interface CallContext<N extends CallName> {
  readonly signal: AbortSignal;
  emit(event: Calls[N]["event"]): void;
}

/** A function for each call. */
export type Handlers = {
  readonly [N in CallName]: (args: Calls[N]["args"], context: CallContext<N>) => Promise<Calls[N]["result"]>;
};

/** Where messages come from and go to: a worker's global scope, or a port in tests. */
export interface Endpoint {
  postMessage(message: Reply, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<Request>) => void) | null;
}

/** Answers the calls that come in over `endpoint`, and says that it is ready. */
export function serve(endpoint: Endpoint, handlers: Handlers): void {
  const running = new Map<number, AbortController>();

  async function run<N extends CallName>(id: number, call: N, args: Calls[N]["args"]): Promise<void> {
    const controller = new AbortController();
    running.set(id, controller);
    const context: CallContext<N> = {
      signal: controller.signal,
      emit: (event) => endpoint.postMessage({ type: "event", id, event }),
    };
    try {
      const handler: Handlers[N] = handlers[call];
      const result = await handler(args, context);
      endpoint.postMessage({ type: "result", id, result });
    } catch (error) {
      endpoint.postMessage({ type: "error", id, error: toPlain(error) });
    } finally {
      running.delete(id);
    }
  }

  endpoint.onmessage = ({ data }) => {
    if (data.type === "abort") running.get(data.id)?.abort();
    else void run(data.id, data.call, data.args);
  };
  endpoint.postMessage({ type: "ready" });
}

/** Lets the messages in that wait, among them an `abort`. A resolved promise would not: those run first. */
export function macrotask(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    ticker().postMessage(null);
  });
}

const waiting: (() => void)[] = [];
let port: MessagePort | null = null;

function ticker(): MessagePort {
  if (port === null) {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => waiting.shift()?.();
    port = channel.port2;
  }
  return port;
}

/** Runs tasks one after the other. */
export class Turnstile {
  #last: Promise<unknown> = Promise.resolve();

  /** Waits for its turn, then runs `task`; a task whose signal fired while waiting is to notice that itself. */
  pass<T>(task: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(task, task);
    this.#last = mine.catch(() => {});
    return mine;
  }
}
