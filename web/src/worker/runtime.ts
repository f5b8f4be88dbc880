/**
 * The wasm module: which build this browser takes, and what it exports. Relaxed SIMD and threads cannot be probed inside one
 * module, so there is one for each, chosen by validating a few bytes.
 */
import { asFewbitError, FewbitError, throwIfAborted } from "../error.js";
import type { Hasher } from "../cache/hash.js";
import type { Backend, TensorData, Variant } from "../types.js";

/** A model's file as the module reads it. */
export interface FileSource {
  readonly name: string;
  readonly size: number;
  /** The bytes at `offset`; a promise of them, or the bytes. */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array;
}

/** What the module calls while it loads. */
export interface RuntimeHooks {
  /** Bytes of weights given to the back end; false aborts. */
  upload(loaded: number, total: number): boolean;
}

/** A tensor on its way over the boundary. */
export interface NamedTensor extends TensorData {
  readonly name: string;
}

/** A model inside the module. JSON texts are described in `runtime-wasm/src/message.rs`. */
export interface RuntimeModel {
  info(): string;
  generate(request: string, source: readonly NamedTensor[]): RuntimeGeneration;
  /** `pause` is awaited between runs of the model, here and below. */
  score(request: string, pause: () => Promise<void>): Promise<string>;
  embed(request: string): Promise<{ readonly vectors: Float32Array[]; readonly ids: Uint32Array[] }>;
  /** A question with a batch of texts or of tensors: an answer for each, as JSON. */
  answer(question: string, tensors: readonly NamedTensor[]): Promise<string>;
  /** A vector for each picture or sound of a batch. */
  embedTensors(tensors: readonly NamedTensor[]): Promise<Float32Array[]>;
  /** All outputs if none is named. */
  forward(tensors: readonly NamedTensor[], outputs: readonly string[], pause: () => Promise<void>): Promise<NamedTensor[]>;
  /** The inputs whose numbers decide shapes. */
  goesBy(): string[];
  /** A graph for other numbers in them, as bytes like those that `Runtime.loadModel` takes. */
  addGraph(opened: Uint8Array): Promise<void>;
  tokenize(request: string): Uint32Array;
  /** Mel bands and frames of what it reads; empty for a model of another kind. For transcription, as the next four. */
  featureShape(): Uint32Array;
  tokenId(token: string): number | undefined;
  decode(ids: Uint32Array): string | undefined;
  /** Goes on after another source. */
  listen(source: readonly NamedTensor[]): void;
  /** A run towards a context; the logits after it, or `undefined` if there is more to run. */
  advance(context: Uint32Array): Promise<Float32Array | undefined>;
  loseDevice(): boolean;
  /** Bytes on the GPU; `undefined` where the CPU computes. */
  gpuBytes(): number | undefined;
  free(): void;
}

/** Answers that are made step by step, side by side. */
export interface RuntimeGeneration {
  /** One step: the tokens that it made as JSON, `null` where it made none, `undefined` at the end. */
  next(): Promise<string | null | undefined>;
  result(): string;
  free(): void;
}

/** The module's exports. */
export interface Runtime {
  readonly Sha256: new () => Hasher & { free(): void };
  /** `opened` is what another module made of files that this one does not read. */
  loadModel(files: readonly FileSource[], options: string, hooks: RuntimeHooks, opened?: Uint8Array): Promise<RuntimeModel>;
  memoryBytes(): number;
  /** Where and why the module panicked; `undefined` if it did not. */
  lastPanic(): string | undefined;
  /** In the build with threads: the address of a new pool's state. */
  createPool?(): number;
  /** In the build with threads: the memory that its threads share. */
  sharedMemory?(): WebAssembly.Memory;
}

/** The module's glue, before and after it is started. */
interface Glue extends Runtime {
  default(init: { module_or_path: WebAssembly.Module }): Promise<unknown>;
}

/** The module, and what is said about it in `model.info`. */
export interface LoadedRuntime {
  readonly runtime: Runtime;
  readonly variant: Variant;
  /** For the threads, which instantiate the same module. */
  readonly glue: string;
  readonly module: WebAssembly.Module;
}

// One literal URL for each file, as bundlers look for them.
const FILES: Readonly<Record<Variant, () => { glue: URL; wasm: URL }>> = {
  simd: () => ({
    glue: new URL("../wasm/simd/fewbit_runtime.js", import.meta.url),
    wasm: new URL("../wasm/simd/fewbit_runtime_bg.wasm", import.meta.url),
  }),
  relaxed: () => ({
    glue: new URL("../wasm/relaxed/fewbit_runtime.js", import.meta.url),
    wasm: new URL("../wasm/relaxed/fewbit_runtime_bg.wasm", import.meta.url),
  }),
  threads: () => ({
    glue: new URL("../wasm/threads/fewbit_runtime.js", import.meta.url),
    wasm: new URL("../wasm/threads/fewbit_runtime_bg.wasm", import.meta.url),
  }),
  webnn: () => ({
    glue: new URL("../wasm/webnn/fewbit_runtime.js", import.meta.url),
    wasm: new URL("../wasm/webnn/fewbit_runtime_bg.wasm", import.meta.url),
  }),
};

const PROBES: Readonly<Record<"simd" | "relaxed" | "threads", readonly number[]>> = {
  // i8x16.splat, i8x16.popcnt
  simd: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  // i8x16.relaxed_swizzle
  relaxed: [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253,
    128, 2, 11,
  ],
  // a shared memory, i32.atomic.load
  threads: [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26,
    11,
  ],
};

/** What this browser's wasm can do. */
export interface WasmFeatures {
  readonly simd: boolean;
  readonly relaxed: boolean;
  /** Shared memory that can really be posted: cross-origin isolation alone does not tell (WebKitGTK). */
  readonly threads: boolean;
  /** Why there are no threads. */
  readonly threadsReason: string;
}

/** Probes this browser. */
export function wasmFeatures(): WasmFeatures {
  const takes = (probe: keyof typeof PROBES): boolean => {
    try {
      return WebAssembly.validate(new Uint8Array(PROBES[probe]));
    } catch {
      return false;
    }
  };
  const threadsReason = whyNoThreads(takes("threads"));
  return { simd: takes("simd"), relaxed: takes("relaxed"), threads: threadsReason === "", threadsReason };
}

function whyNoThreads(validates: boolean): string {
  if (!validates) return "this browser's wasm has no atomics";
  if (typeof SharedArrayBuffer === "undefined") {
    return globalThis.crossOriginIsolated === false
      ? "no SharedArrayBuffer: the page is not cross-origin isolated (COOP and COEP headers)"
      : "this browser has no SharedArrayBuffer";
  }
  try {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(new SharedArrayBuffer(1));
    port1.close();
    port2.close();
    return "";
  } catch {
    return "SharedArrayBuffer cannot be posted: the page is not cross-origin isolated (COOP and COEP headers)";
  }
}

/** Whether the browser's WebNN computes, if need be with something beside it. */
export function usesWebnn(backend: "auto" | Backend): backend is "webnn" | "webnn+wasm" {
  return backend === "webnn" || backend === "webnn+wasm";
}

/** The builds that this browser takes, best first. */
export function variantsFor(features: WasmFeatures, wanted: Variant | null, threads: number, backend: Backend): Variant[] {
  if (!features.simd) throw new FewbitError("unsupported", "this browser's WebAssembly has no SIMD");
  if (wanted !== null && (wanted === "webnn") !== usesWebnn(backend)) {
    throw new FewbitError("bad_argument", `wasm variant ${wanted} has no back end ${backend}`);
  }
  if (usesWebnn(backend)) return ["webnn"];
  const takes: Variant[] = [];
  if (features.threads && features.relaxed && threads > 1) takes.push("threads");
  if (features.relaxed) takes.push("relaxed");
  takes.push("simd");
  if (wanted === null) return takes;
  const able = wanted === "threads" ? features.threads && features.relaxed : wanted === "relaxed" ? features.relaxed : true;
  if (!able) {
    const why = wanted === "threads" && features.relaxed ? features.threadsReason : "this browser's wasm has no relaxed SIMD";
    throw new FewbitError("unsupported", `wasm variant ${wanted}: ${why}`, { details: { variant: wanted } });
  }
  return [wanted];
}

/** Loads the first of `variants` that is there. */
export async function loadRuntime(
  variants: readonly Variant[],
  assetsUrl: string | null,
  signal: AbortSignal,
  onStep: (step: number) => void,
): Promise<LoadedRuntime> {
  let missing: FewbitError | null = null;
  for (const variant of variants) {
    throwIfAborted(signal);
    const { glue, wasm } = assetsUrl === null ? FILES[variant]() : filesAt(variant, assetsUrl);
    const module = await compile(wasm, signal).catch((error: unknown) => {
      throwIfAborted(signal);
      if (error instanceof FewbitError && error.code === "not_found") {
        missing = error;
        return null;
      }
      throw error;
    });
    // A host may have built only some of them.
    if (module === null) continue;
    onStep(1);
    const exports = (await import(/* @vite-ignore */ /* webpackIgnore: true */ glue.href)) as Glue;
    await exports.default({ module_or_path: module });
    onStep(2);
    return { runtime: exports, variant, glue: glue.href, module };
  }
  throw missing ?? new FewbitError("not_found", "no wasm module was found");
}

function filesAt(variant: Variant, assetsUrl: string): { glue: URL; wasm: URL } {
  const folder = new URL(`wasm/${variant}/`, assetsUrl);
  return { glue: new URL("fewbit_runtime.js", folder), wasm: new URL("fewbit_runtime_bg.wasm", folder) };
}

/** Fetches and compiles a module. */
export async function compile(url: URL, signal: AbortSignal): Promise<WebAssembly.Module> {
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    throw new FewbitError("network", `${url.href}: ${(error as Error).message}`, { details: { url: url.href }, cause: error });
  }
  // A development server answers what it does not have with its front page.
  const isPage = response.headers.get("Content-Type")?.startsWith("text/html") === true;
  if (!response.ok || isPage) {
    await response.body?.cancel();
    throw new FewbitError(response.status === 404 || isPage ? "not_found" : "http", `${url.href} answered ${response.status}`, {
      details: { url: url.href, status: response.status },
    });
  }
  try {
    // Streaming compilation insists on the right type, which not every server gives.
    const typed = response.headers.get("Content-Type")?.startsWith("application/wasm") === true;
    return typed ? await WebAssembly.compileStreaming(response) : await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throwIfAborted(signal);
    const { message } = asFewbitError(error);
    const csp = /unsafe-eval|Content.Security.Policy/i.test(message) ? " (the page's CSP needs script-src 'wasm-unsafe-eval')" : "";
    throw new FewbitError("unsupported", `${url.href} does not compile: ${message}${csp}`, { cause: error });
  }
}
