/**
 * Starting the worker, also from another origin and on a server without one.
 */
import { isForeign, spawnFrom } from "./blob-worker.js";
import { FewbitError } from "./error.js";

/**
 * A worker over `worker.js` from `assetsUrl`, or from beside this module.
 */
export function spawnWorker(assetsUrl: string | null): Worker {
  if (typeof Worker === "undefined") {
    throw new FewbitError(
      "unsupported",
      "there are no web workers here: fewbit can be imported on a server, but a model is loaded in the browser",
    );
  }
  if (assetsUrl !== null) return spawnFrom(new URL("worker.js", assetsUrl), "fewbit");
  if (isForeign(new URL(import.meta.url))) return spawnFrom(new URL("./worker.js", import.meta.url), "fewbit");
  // This very form is what bundlers (Vite, webpack, Parcel) look for.
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "fewbit" });
}
