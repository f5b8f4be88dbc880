/**
 * The calls of the page, carried out over the wasm module.
 */
import type { Hasher } from "../cache/hash.js";
import { FewbitError, throwIfAborted } from "../error.js";
import type { PlainLoadOptions, Prompt } from "../protocol.js";
import type { Backend, BatchToken, GenerateResult, ModelInfo, Score, TensorData, Variant } from "../types.js";
import { type AdapterFinding, contextInfo, findAdapter } from "./adapter.js";
import { fetchFiles } from "./files.js";
import { Media } from "./media.js";
import { isOnnx, openOnnx } from "./onnx.js";
import { loadRuntime, type LoadedRuntime, type NamedTensor, type Runtime, type RuntimeModel, usesWebnn, variantsFor, type WasmFeatures, wasmFeatures } from "./runtime.js";
import { type CallContext, type Handlers, macrotask, Turnstile } from "./server.js";
import { answer, embed } from "./tasks.js";
import { type Pool, startPool } from "./threads.js";
import { transcribe } from "./transcribe.js";

/** An opened model as bytes, which a part of fewbit of the same version wrote (`OpenModel::to_bytes` in the engine). */
const HANDED_OVER = /\.fbm$/;

/** What `RuntimeModel.info` tells. */
type RuntimeInfo = Pick<
  ModelInfo,
  | "architecture"
  | "blockFormat"
  | "bitsPerWeight"
  | "parameters"
  | "weightBytes"
  | "contextLength"
  | "vocabulary"
  | "tasks"
  | "inputs"
  | "activations"
  | "features"
> & { readonly threads: number; readonly device: string };

/** What `RuntimeGeneration.result` tells of each answer. */
type RuntimeResult = Omit<GenerateResult, "timings">;

interface Loaded {
  readonly runtime: Runtime;
  readonly model: RuntimeModel;
  readonly media: Media;
  /** Of an ONNX file: a graph for these numbers in its inputs. */
  readonly graphFor: ((values: readonly NamedTensor[], signal: AbortSignal) => Promise<Uint8Array>) | null;
}

/** The handlers of one worker, which holds one model. */
export function createHandlers(): Omit<Handlers, "openGraphs" | "buildGraph" | "runGraph" | "dropGraph"> {
  let loaded: Loaded | null = null;
  let loading = false;
  const turnstile = new Turnstile();

  const ready = (): Loaded => {
    if (loaded === null) throw new FewbitError("internal", "no model is loaded");
    return loaded;
  };
  /** One call after the other; the module holds one state. */
  const inTurn = <T>(signal: AbortSignal, task: (loaded: Loaded) => Promise<T>): Promise<T> =>
    turnstile.pass(async () => {
      throwIfAborted(signal);
      const loaded = ready();
      return telling(loaded.runtime, () => task(loaded));
    });

  return {
    async load({ source, options }, context) {
      if (loading) throw new FewbitError("internal", "this worker has a model already");
      loading = true;
      const start = performance.now();
      const [threads, threadsReason] = threadsFor(options);
      const features = wasmFeatures();
      const finding = await findAdapter();
      const [backend, reason] = chooseBackend(options.backend, finding);
      // The GPU needs no threads, and shared memory costs a little everywhere.
      const wanted = backend === "wasm" ? threads : 1;
      const started = startRuntime(variantsFor(features, options.variant, wanted, backend), options, context);
      let runtimeMs = 0;
      const createHasher = async (): Promise<Hasher> => new (await started).runtime.Sha256();
      started.then(
        () => (runtimeMs = performance.now() - start),
        () => {},
      );
      const files = await fetchFiles(source, options, createHasher, context.signal, context.emit);
      const filesMs = performance.now() - start;
      const loadedRuntime = await started;
      const { runtime, variant } = loadedRuntime;
      const pool = await startPool(loadedRuntime, wanted, options.assetsUrl);
      const request = JSON.stringify({
        backend,
        adapterName: finding.adapter?.name ?? null,
        softwareAdapter: finding.adapter?.software ?? null,
        powerPreference: options.webnn.powerPreference,
        accelerated: options.webnn.accelerated,
        contextLength: options.contextLength,
        activations: options.activations,
        pool: pool.address,
        threads: pool.threads,
      });
      const buildStart = performance.now();
      const upload = (bytes: number, total: number): boolean => {
        context.emit({ phase: "upload", loaded: bytes, total });
        return !context.signal.aborted;
      };
      const handed = files.sources.find(({ name }) => HANDED_OVER.test(name));
      const graphFor =
        !handed && isOnnx(files.sources, options.onnx)
          ? (values: readonly NamedTensor[], signal: AbortSignal) =>
              openOnnx(files.sources, options.onnx, values, options.assetsUrl, signal)
          : null;
      const opened = handed ? await handed.read(0, handed.size) : await graphFor?.([], context.signal);
      const model = await telling(runtime, () => runtime.loadModel(files.sources, request, { upload }, opened));
      throwIfAborted(context.signal);
      const built = performance.now();
      const { tasks } = JSON.parse(model.info()) as RuntimeInfo;
      if (backend === "webgpu" && tasks.includes("generate")) {
        context.emit({ phase: "compile", loaded: 2, total: 3 });
        await telling(runtime, () => warmUp(model));
        context.emit({ phase: "compile", loaded: 3, total: 3 });
        throwIfAborted(context.signal);
      }
      loaded = { runtime, model, media: new Media(files.sources, options.assetsUrl), graphFor };
      const end = performance.now();
      const { threads: got, device, ...facts } = JSON.parse(model.info()) as RuntimeInfo;
      return {
        ...facts,
        name: files.name,
        backend,
        reason,
        adapter: usesWebnn(backend) ? await contextInfo(device, options.webnn) : finding.adapter,
        variant,
        threads: { asked: threads, got, reason: got === threads ? threadsReason : whyFewer(backend, variant, pool, features) },
        cache: files.cache,
        memoryBytes: runtime.memoryBytes(),
        timings: { runtime: runtimeMs, files: filesMs, build: built - buildStart, compile: end - built, total: end - start },
      };
    },

    generate: ({ prompts, options, source }, context) =>
      inTurn(context.signal, ({ model }) => {
        const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
        return generate(model, JSON.stringify({ prompts, ...options, seed }), source, context);
      }),

    embed: ({ inputs }, context) =>
      inTurn(context.signal, ({ model, media }) => embed(model, media, inputs, context)),

    transcribe: ({ input, options }, context) =>
      inTurn(context.signal, ({ model, media }) => transcribe(model, media, input, options, context)),

    answer: ({ question, inputs }, context) =>
      inTurn(context.signal, ({ model, media }) => answer(model, media, question, inputs, context)),

    score: ({ input }, { signal }) =>
      inTurn(signal, async ({ model }) => JSON.parse(await model.score(JSON.stringify(input), pauseFor(signal))) as Score),

    forward: ({ tensors, outputs: wanted }, { signal }) =>
      inTurn(signal, async ({ model, graphFor }) => {
        const inputs = named(tensors);
        const run = (): Promise<NamedTensor[]> => model.forward(inputs, wanted, pauseFor(signal));
        const outputs = await run().catch(async (error: unknown) => {
          if (!(error instanceof Error && "code" in error && error.code === "other_numbers")) throw error;
          if (graphFor === null) throw new FewbitError("bad_argument", error.message, { cause: error });
          const names = model.goesBy();
          await model.addGraph(await graphFor(inputs.filter(({ name }) => names.includes(name)), signal));
          return run();
        });
        return Object.fromEntries(outputs.map(({ name, ...tensor }): [string, TensorData] => [name, tensor]));
      }),

    tokenize: ({ prompt }, { signal }) =>
      inTurn(signal, async ({ model }) => [...model.tokenize(JSON.stringify(prompt satisfies Prompt))]),
    memory: async () => {
      const { runtime, model } = ready();
      return { wasm: runtime.memoryBytes(), gpu: model.gpuBytes() ?? null };
    },
    // Between two steps of a running generation, which is the point of it.
    loseDevice: async () => ready().model.loseDevice(),
  };
}

/** Runs `task`; a trap of the module, which itself says only `unreachable`, is told with what the module left of it. */
async function telling<T>(runtime: Runtime, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    const panic = runtime.lastPanic();
    if (panic !== undefined) throw new FewbitError("internal", `the wasm module failed: ${panic}`, { cause: error });
    // Without a panic the allocator has given up.
    const memoryBytes = runtime.memoryBytes();
    const details = { memoryBytes };
    throw new FewbitError("out_of_memory", `the wasm module failed with ${memoryBytes} bytes of memory: ${error.message}`, { details, cause: error });
  }
}

async function startRuntime(
  variants: readonly Variant[],
  options: PlainLoadOptions,
  { emit, signal }: CallContext<"load">,
): Promise<LoadedRuntime> {
  return loadRuntime(variants, options.assetsUrl, signal, (step) => emit({ phase: "compile", loaded: step, total: 2 }));
}

function named(tensors: Readonly<Record<string, TensorData>>): NamedTensor[] {
  return Object.entries(tensors).map(([name, tensor]) => ({ name, ...tensor }));
}

async function generate(
  model: RuntimeModel,
  request: string,
  source: Readonly<Record<string, TensorData>>,
  { emit, signal }: CallContext<"generate">,
): Promise<GenerateResult[]> {
  const start = performance.now();
  const generation = model.generate(request, named(source));
  /** Of each row, when its first and last token were there. */
  const times: { first: number; last: number }[] = [];
  try {
    for (;;) {
      throwIfAborted(signal);
      const tokens = await generation.next();
      if (tokens === undefined) break;
      if (tokens !== null) {
        const now = performance.now();
        for (const token of JSON.parse(tokens) as BatchToken[]) {
          times[token.row] = { first: times[token.row]?.first ?? now, last: now };
          emit(token);
        }
      }
      await macrotask();
    }
    const results = JSON.parse(generation.result()) as RuntimeResult[];
    return results.map((result, row) => {
      const { first, last } = times[row] ?? { first: start, last: start };
      const computed = result.usage.promptTokens - result.usage.cachedTokens;
      const after = result.usage.completionTokens - 1;
      return {
        ...result,
        timings: {
          timeToFirstToken: first - start,
          prefill: first - start,
          decode: last - first,
          prefillTokensPerSecond: first > start ? (computed * 1000) / (first - start) : 0,
          decodeTokensPerSecond: after > 0 && last > first ? (after * 1000) / (last - first) : 0,
        },
      };
    });
  } finally {
    generation.free();
  }
}

/** One token from nothing: pipelines are compiled while the page still shows that it loads, not in the first answer. */
async function warmUp(model: RuntimeModel): Promise<void> {
  const generation = model.generate(JSON.stringify({ prompts: [{ kind: "ids", ids: [0] }], maxTokens: 1, ignoreEos: true }), []);
  try {
    while ((await generation.next()) !== undefined) await macrotask();
  } finally {
    generation.free();
  }
}

/** What the module awaits between its steps: messages come in, and an abort is noticed. */
function pauseFor(signal: AbortSignal): () => Promise<void> {
  return async () => {
    await macrotask();
    throwIfAborted(signal);
  };
}

/** WebGPU where the adapter is hardware, else wasm; what was asked for by name is taken or fails. */
export function chooseBackend(asked: "auto" | Backend, finding: AdapterFinding): [Backend, string] {
  const { adapter } = finding;
  if (asked === "wasm" || usesWebnn(asked)) return [asked, "asked for"];
  if (asked === "webgpu") {
    if (!adapter) throw new FewbitError("unavailable", finding.reason);
    return ["webgpu", adapter.software === true ? "asked for, although the adapter is software" : "asked for"];
  }
  if (!adapter) return ["wasm", finding.reason];
  if (adapter.software === false) return ["webgpu", `the adapter (${adapter.name}) is hardware`];
  if (adapter.software === true) {
    return ["wasm", `the adapter (${adapter.name}) is software, which is slower than wasm: ${adapter.softwareReason}`];
  }
  return ["wasm", `nothing tells whether the adapter is hardware: ${adapter.softwareReason}`];
}

function threadsFor({ threads }: PlainLoadOptions): [number, string] {
  if (threads === null) return [Math.min(navigator.hardwareConcurrency || 1, 16), "as many as the machine has, at most 16"];
  if (!Number.isInteger(threads) || threads < 1) throw new FewbitError("bad_argument", `threads: ${threads} is no count`);
  return [threads, "asked for"];
}

function whyFewer(backend: Backend, variant: Variant, pool: Pool, { threadsReason, relaxed }: WasmFeatures): string {
  if (backend === "webgpu") return "the GPU computes";
  if (usesWebnn(backend)) return "the browser's WebNN computes";
  if (variant === "threads") return pool.reason || "the pool is smaller";
  if (threadsReason) return threadsReason;
  return relaxed ? `the ${variant} build has one thread` : "threads come with relaxed SIMD, which this browser has not";
}
