/**
 * Workers whose script may be of another origin.
 */
/**
 * A module worker over `url`.
 *
 * A page may only start workers of its own origin. From another one (a CDN) the worker is a blob of one line that imports the
 * real module, which needs `worker-src blob:` and that origin in `script-src` of the page's Content-Security-Policy, and CORS headers
 * on the module.
 */
export function spawnFrom(url: URL, name: string): Worker {
  if (!isForeign(url)) return new Worker(url, { type: "module", name });
  // A static import would be held against `worker-src`; a dynamic one is held against `script-src`, like the page's own import.
  const failed = '{type:"error",id:0,error:{code:"worker",message:"the worker could not be loaded: "+e,details:{}}}';
  const line = `import(${JSON.stringify(url.href)}).catch(e=>postMessage(${failed}));`;
  const blob = URL.createObjectURL(new Blob([line], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module", name });
  // The blob must live until the worker has read it; its first message or error says that it has.
  const revoke = (): void => URL.revokeObjectURL(blob);
  worker.addEventListener("message", revoke, { once: true });
  worker.addEventListener("error", revoke, { once: true });
  return worker;
}

/** Whether `url` is of another origin than this page or worker. */
export function isForeign(url: URL): boolean {
  // `origin` and not `location`: inside a worker that is a blob, the latter is the blob's URL.
  return url.origin !== globalThis.origin;
}
