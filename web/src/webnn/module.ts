/**
 * The module that checks calls, on the thread of the page. It is loaded with the first context.
 */
import { compile } from "../worker/runtime.js";
import type { DataType } from "./data.js";

/** What `webnn-wasm/src/lib.rs` exports: an `MLGraphBuilder` whose operands are numbers. */
export interface NativeBuilder {
  input(name: string, dataType: string, shape: Float64Array): number;
  constant(dataType: string, shape: Float64Array, bytes: Uint8Array): number;
  number(dataType: string, value: unknown): number;
  call(operator: string, args: readonly unknown[]): Uint32Array;
  dataType(operand: number): string;
  shape(operand: number): Float64Array;
  /** Uses the builder up. */
  build(names: readonly string[], operands: Uint32Array, inPairs: boolean): Promise<NativeGraph>;
  free(): void;
}

/** A graph as bytes for a worker, and its inputs and outputs. */
export interface NativeGraph {
  readonly graph: Uint8Array;
  readonly inputs: readonly (readonly [name: string, dataType: DataType, shape: readonly number[]])[];
  readonly outputs: readonly (readonly [name: string, dataType: DataType, shape: readonly number[]])[];
  /** Whether 64-bit integers cross as pairs of `uint32`. */
  readonly pairs: boolean;
}

interface Glue {
  default(init: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  readonly Builder: new () => NativeBuilder;
}

let glue: Promise<Glue> | null = null;

/** Loads the module once. */
export function loadBuilder(assetsUrl: string | null): Promise<Glue> {
  glue ??= start(assetsUrl).catch((error: unknown) => {
    glue = null;
    throw error;
  });
  return glue;
}

export type { Glue as BuilderModule };

async function start(assetsUrl: string | null): Promise<Glue> {
  const at = assetsUrl === null ? null : new URL("wasm/webnn-builder/", assetsUrl);
  // One literal URL for each file, as bundlers look for them.
  const glueUrl = at ? new URL("fewbit_webnn.js", at) : new URL("../wasm/webnn-builder/fewbit_webnn.js", import.meta.url);
  const wasmUrl = at ? new URL("fewbit_webnn_bg.wasm", at) : new URL("../wasm/webnn-builder/fewbit_webnn_bg.wasm", import.meta.url);
  const module = await compile(wasmUrl, new AbortController().signal);
  const loaded = (await import(/* @vite-ignore */ /* webpackIgnore: true */ glueUrl.href)) as Glue;
  await loaded.default({ module_or_path: module });
  return loaded;
}
