/**
 * The threads of the wasm back end: workers of the worker, over one shared memory.
 */
import { isForeign, spawnFrom } from "../blob-worker.js";
import type { LoadedRuntime } from "./runtime.js";
import type { ThreadStart } from "../thread.js";

/** A thread that has not started by then will not. */
const START_MS = 10_000;

/** What the module needs to know of its pool. */
export interface Pool {
  /** The address of its state; 0 if there is none. */
  readonly address: number;
  /** Threads that work, the calling one counted. */
  readonly threads: number;
  /** Why there are not as many as asked for. */
  readonly reason: string;
}

/** Starts `threads - 1` workers that wait for work inside the module. */
export async function startPool({ runtime, module, glue }: LoadedRuntime, threads: number, assetsUrl: string | null): Promise<Pool> {
  if (!runtime.createPool || !runtime.sharedMemory || threads < 2) return { address: 0, threads: 1, reason: "" };
  const address = runtime.createPool();
  const start: ThreadStart = { glue, module, memory: runtime.sharedMemory(), address };
  const started = await Promise.allSettled(Array.from({ length: threads - 1 }, () => startThread(start, assetsUrl)));
  const failed = started.find((thread) => thread.status === "rejected");
  const got = 1 + started.filter((thread) => thread.status === "fulfilled").length;
  return { address, threads: got, reason: failed ? `a thread did not start: ${String(failed.reason)}` : "" };
}

function startThread(start: ThreadStart, assetsUrl: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = spawnThread(assetsUrl);
    const fail = (why: string): void => {
      clearTimeout(timer);
      worker.terminate();
      reject(new Error(why));
    };
    const timer = setTimeout(() => fail(`nothing was heard of it for ${START_MS} ms`), START_MS);
    worker.onerror = (event) => fail(event.message || "its worker could not be loaded");
    worker.onmessage = ({ data }: MessageEvent<string>) => {
      // First it says that it listens, then that it enters the loop, from which no more is heard.
      if (data === "ready") worker.postMessage(start);
      else if (data === "started") {
        clearTimeout(timer);
        resolve();
      } else fail(typeof data === "string" ? data : JSON.stringify(data));
    };
  });
}

function spawnThread(assetsUrl: string | null): Worker {
  if (assetsUrl !== null) return spawnFrom(new URL("thread.js", assetsUrl), "fewbit thread");
  if (isForeign(new URL(import.meta.url))) return spawnFrom(new URL("../thread.js", import.meta.url), "fewbit thread");
  // This very form is what bundlers (Vite, webpack, Parcel) look for.
  return new Worker(new URL("../thread.js", import.meta.url), { type: "module", name: "fewbit thread" });
}
