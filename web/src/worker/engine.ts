/**
 * The calls of the page, carried out over the wasm module.
 */
import type { Hasher } from "../cache/hash.js";
import { FewbitError, throwIfAborted } from "../error.js";
import type { PlainLoadOptions, Prompt } from "../protocol.js";
import type { AdapterInfo, Backend, GenerateResult, ModelInfo, Score, TensorData, Token, Variant } from "../types.js";
import { type AdapterFinding, findAdapter } from "./adapter.js";
import { fetchFiles } from "./files.js";
import { loadRuntime, type Runtime, type RuntimeModel, variantsFor, wasmFeatures } from "./runtime.js";
import { type CallContext, type Handlers, macrotask, Turnstile } from "./server.js";

/** What `RuntimeModel.info` tells. */
type RuntimeInfo = Pick<
  ModelInfo,
  "architecture" | "blockFormat" | "bitsPerWeight" | "weightBytes" | "contextLength" | "tasks" | "activations"
>;

/** What `RuntimeGeneration.result` tells. */
type RuntimeResult = Omit<GenerateResult, "timings">;

interface Loaded {
  readonly runtime: Runtime;
  readonly model: RuntimeModel;
}

/** The handlers of one worker, which holds one model. */
export function createHandlers(): Handlers {
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
      return task(ready());
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
      const started = startRuntime(variantsFor(features, options.variant, threads), options, context);
      let runtimeMs = 0;
      const createHasher = async (): Promise<Hasher> => new (await started).runtime.Sha256();
      started.then(
        () => (runtimeMs = performance.now() - start),
        () => {},
      );
      const files = await fetchFiles(source, options, createHasher, context.signal, context.emit);
      const filesMs = performance.now() - start;
      const { runtime, variant } = await started;
      const request = JSON.stringify({
        backend,
        softwareAdapter: finding.adapter?.software ?? null,
        contextLength: options.contextLength,
        activations: options.activations,
        threads: 1,
      });
      const buildStart = performance.now();
      const model = await runtime.loadModel(files.sources, request, {
        upload: (bytes, total) => context.emit({ phase: "upload", loaded: bytes, total }),
        pause: pauseFor(context.signal),
      });
      throwIfAborted(context.signal);
      loaded = { runtime, model };
      const end = performance.now();
      return infoOf({
        model: JSON.parse(model.info()) as RuntimeInfo,
        name: files.name,
        backend,
        reason,
        adapter: finding.adapter,
        variant,
        threads: threadsInfo(threads, threadsReason, variant, features.threadsReason),
        cache: files.cache,
        memoryBytes: runtime.memoryBytes(),
        timings: { runtime: runtimeMs, files: filesMs, build: end - buildStart, total: end - start },
      });
    },

    generate: ({ prompt, options }, context) =>
      inTurn(context.signal, ({ model }) => generate(model, JSON.stringify({ prompt, ...options }), context)),

    embed: ({ texts, normalize }, { signal }) =>
      inTurn(signal, async ({ model }) => {
        const { vectors, ids } = await model.embed(JSON.stringify({ texts, normalize }), pauseFor(signal));
        return { vectors, ids: ids.map((list) => [...list]) };
      }),

    score: ({ input }, { signal }) =>
      inTurn(signal, async ({ model }) => JSON.parse(await model.score(JSON.stringify(input), pauseFor(signal))) as Score),

    forward: ({ tensors }, { signal }) =>
      inTurn(signal, async ({ model }) => {
        const named = Object.entries(tensors).map(([name, tensor]) => ({ name, ...tensor }));
        const outputs = await model.forward(named);
        return Object.fromEntries(outputs.map(({ name, ...tensor }): [string, TensorData] => [name, tensor]));
      }),

    // Needs no turn: nothing of the model's state is touched.
    tokenize: async ({ prompt }) => [...ready().model.tokenize(JSON.stringify(prompt satisfies Prompt))],
    memory: async () => ready().runtime.memoryBytes(),
    // Between two steps of a running generation, which is the point of it.
    loseDevice: async () => ready().model.loseDevice(),
  };
}

async function startRuntime(
  variants: readonly Variant[],
  options: PlainLoadOptions,
  { emit, signal }: CallContext<"load">,
): Promise<{ runtime: Runtime; variant: Variant }> {
  return loadRuntime(variants, options.assetsUrl, signal, (step) => emit({ phase: "compile", loaded: step, total: 2 }));
}

async function generate(model: RuntimeModel, request: string, { emit, signal }: CallContext<"generate">): Promise<GenerateResult> {
  const start = performance.now();
  const generation = await model.generate(request, pauseFor(signal));
  try {
    let first = start;
    let last = start;
    for (;;) {
      throwIfAborted(signal);
      const token = await generation.next();
      if (token === undefined) break;
      last = performance.now();
      if (first === start) first = last;
      emit(JSON.parse(token) as Token);
      await macrotask();
    }
    const result = JSON.parse(generation.result()) as RuntimeResult;
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
  if (asked === "wasm") return ["wasm", "asked for"];
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

function threadsInfo(asked: number, askedReason: string, variant: Variant, whyNone: string): ModelInfo["threads"] {
  if (asked === 1) return { asked, got: 1, reason: askedReason };
  return { asked, got: 1, reason: whyNone || `the ${variant} build has one thread` };
}

function infoOf({ model, ...rest }: { model: RuntimeInfo; adapter: AdapterInfo | null } & Omit<ModelInfo, keyof RuntimeInfo>): ModelInfo {
  return { ...rest, ...model };
}
