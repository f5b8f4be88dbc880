/**
 * WebNN for browsers that have none: importing this module gives them `navigator.ml` and its interfaces, computed by fewbit in a
 * worker. Where the browser has WebNN, nothing is changed.
 *
 * @example
 * import "fewbit/webnn";
 * const context = await navigator.ml.createContext();
 */
import { MLGraphBuilder, addOperators } from "./webnn/builder.js";
import { MLContext } from "./webnn/context.js";
import { OPERATOR_NAMES } from "./webnn/limits.js";
import { ML, type MLSettings } from "./webnn/ml.js";
import { MLGraph, MLOperand, MLTensor, OURS } from "./webnn/objects.js";

export { ML, MLContext, MLGraph, MLGraphBuilder, MLOperand, MLTensor };
export type { MLContextLostInfo } from "./webnn/context.js";
export type { MLContextOptions } from "./webnn/ml.js";

/** Options of {@link install}. */
export interface InstallOptions {
  /** Also where the browser has WebNN of its own. */
  readonly force?: boolean;
  /** What computes: `auto` (the default) takes WebGPU where the adapter is hardware, else wasm. */
  readonly backend?: MLSettings["backend"];
  /** The folder that `worker.js` and `wasm/` are served from. Default: where this module came from. */
  readonly assetsUrl?: string | URL;
}

addOperators(OPERATOR_NAMES);
for (const Interface of [ML, MLContext, MLGraph, MLGraphBuilder, MLOperand, MLTensor]) {
  Object.defineProperty(Interface.prototype, Symbol.toStringTag, { value: Interface.name, configurable: true });
}

/**
 * Gives this window or worker `navigator.ml`; whether it did.
 *
 * @example
 * install({ force: true, backend: "wasm" });
 */
export function install({ force = false, backend = "auto", assetsUrl }: InstallOptions = {}): boolean {
  const { navigator } = globalThis;
  if (typeof navigator === "undefined" || ("ml" in navigator && !force)) return false;
  const ml = new ML(OURS, { backend, assetsUrl: assetsUrl === undefined ? null : folderUrl(assetsUrl) });
  Object.defineProperty(navigator, "ml", { value: ml, configurable: true, enumerable: true });
  for (const Interface of [ML, MLContext, MLGraph, MLGraphBuilder, MLOperand, MLTensor]) {
    Object.defineProperty(globalThis, Interface.name, { value: Interface, writable: true, configurable: true });
  }
  return true;
}

function folderUrl(url: string | URL): string {
  const { href } = new URL(url, typeof document === "undefined" ? globalThis.location?.href : document.baseURI);
  return href.endsWith("/") ? href : `${href}/`;
}

install();
