/**
 * Starting the worker, also from another origin and on a server without one.
 */
import { FewbitError } from "./error.js";

/**
 * A worker over `worker.js` from `assetsUrl`, or from beside this module.
 *
 * A page may only start workers of its own origin. From another one (a CDN) the worker is a blob of one line that imports the
 * real module, which needs `worker-src blob:` and that origin in `script-src` of the page's Content-Security-Policy, and CORS headers
 * on the module.
 */
export function spawnWorker(assetsUrl: string | null): Worker {
  if (typeof Worker === "undefined") {
    throw new FewbitError(
      "unsupported",
      "there are no web workers here: fewbit can be imported on a server, but a model is loaded in the browser",
    );
  }
  if (assetsUrl !== null) return spawnFrom(new URL("worker.js", assetsUrl));
  if (isForeign(new URL(import.meta.url))) return spawnFrom(new URL("./worker.js", import.meta.url));
  // This very form is what bundlers (Vite, webpack, Parcel) look for.
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "fewbit" });
}

function spawnFrom(url: URL): Worker {
  if (!isForeign(url)) return new Worker(url, { type: "module", name: "fewbit" });
  // A static import would be held against `worker-src`; a dynamic one is held against `script-src`, like the page's own import.
  const failed = '{type:"error",id:0,error:{code:"worker",message:"the worker could not be loaded: "+e,details:{}}}';
  const line = `import(${JSON.stringify(url.href)}).catch(e=>postMessage(${failed}));`;
  const blob = URL.createObjectURL(new Blob([line], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module", name: "fewbit" });
  // The blob must live until the worker has read it; its first message or error says that it has.
  const revoke = (): void => URL.revokeObjectURL(blob);
  worker.addEventListener("message", revoke, { once: true });
  worker.addEventListener("error", revoke, { once: true });
  return worker;
}

function isForeign(url: URL): boolean {
  return typeof location !== "undefined" && url.origin !== location.origin;
}
