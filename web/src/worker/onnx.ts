/**
 * ONNX files in the worker: a wasm module of their own makes graphs of them, which the runtime then takes as bytes. It is
 * loaded when a model comes as such a file.
 */
import { asFewbitError, FewbitError, throwIfAborted } from "../error.js";
import type { PlainOnnxOptions } from "../protocol.js";
import { compile, type FileSource, type NamedTensor } from "./runtime.js";

/** The module's glue: what `onnx-wasm/src/lib.rs` exports. */
interface OnnxGlue {
  default(init: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  openModel(
    files: readonly FileSource[],
    sizes: Readonly<Record<string, number>>,
    values: readonly NamedTensor[],
    asItIs: boolean,
  ): Promise<Uint8Array>;
}

const ONNX = /\.onnx$/;
/** Weights that go before an ONNX file of the same folder. */
const OTHERS = /\.(gguf|safetensors)$|(^|\/)(pytorch_model[^/]*|model)\.bin$/;

/** Whether a model's files are to be read as ONNX: there is such a file, and no other weights or the caller wants it. */
export function isOnnx(files: readonly FileSource[], options: PlainOnnxOptions | null): boolean {
  const some = (form: RegExp): boolean => files.some(({ name }) => form.test(name));
  return some(ONNX) && (options !== null || !some(OTHERS));
}

/** The model in the ONNX files, as bytes for `Runtime.loadModel`; for `numbers` in its inputs, where these decide shapes. */
export async function openOnnx(
  files: readonly FileSource[],
  options: PlainOnnxOptions | null,
  numbers: readonly NamedTensor[],
  assetsUrl: string | null,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const wanted = options?.file ?? null;
  if (wanted !== null && !files.some(({ name }) => name === wanted)) {
    throw new FewbitError("not_found", `${wanted} is not among the model's files`, { details: { file: wanted } });
  }
  // The one that is wanted, without its siblings of other precisions.
  const taken = files.filter(({ name }) => wanted === null || !ONNX.test(name) || name === wanted);
  const given = Object.entries(options?.values ?? {}).map(([name, tensor]) => ({ name, ...tensor }));
  const values = [...given.filter(({ name }) => !numbers.some((other) => other.name === name)), ...numbers];
  const glue = await loadGlue(assetsUrl, signal);
  try {
    return await glue.openModel(taken, options?.sizes ?? {}, values, options?.asItIs ?? false);
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw asFewbitError(error);
    throw new FewbitError("internal", `the importer of ONNX files failed: ${error.message}`, { cause: error });
  } finally {
    throwIfAborted(signal);
  }
}

async function loadGlue(assetsUrl: string | null, signal: AbortSignal): Promise<OnnxGlue> {
  const at = assetsUrl === null ? null : new URL("wasm/onnx/", assetsUrl);
  // One literal URL for each file, as bundlers look for them.
  const glueUrl = at ? new URL("fewbit_onnx.js", at) : new URL("../wasm/onnx/fewbit_onnx.js", import.meta.url);
  const wasmUrl = at ? new URL("fewbit_onnx_bg.wasm", at) : new URL("../wasm/onnx/fewbit_onnx_bg.wasm", import.meta.url);
  const module = await compile(wasmUrl, signal);
  const glue = (await import(/* @vite-ignore */ /* webpackIgnore: true */ glueUrl.href)) as OnnxGlue;
  await glue.default({ module_or_path: module });
  return glue;
}
