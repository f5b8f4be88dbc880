/**
 * What goes into and comes out of the public functions.
 */

import type { Task, TaskOptions } from "./tasks.js";

/**
 * Where a model comes from: a name of the manifest, the URL of a file or of a folder that ends in `/`,
 * files that a user chose, or bytes.
 *
 * @example
 * await load("smollm2-135m-instruct");
 * await load("https://example.org/models/minilm/");
 * await load(fileInput.files[0]);
 */
export type ModelSource = string | URL | Blob | ArrayBuffer | readonly NamedFile[] | FileList | ListedModel;

/** A model whose files are known: each is at `baseUrl` + its name. */
export interface ListedModel {
  readonly name: string;
  /** Ends in `/`. */
  readonly baseUrl: string | URL;
  readonly files: readonly ListedFile[];
}

/** A file of a {@link ListedModel}; with `sha256` it is checked, and stored under that. */
export interface ListedFile {
  readonly name: string;
  readonly bytes?: number;
  readonly sha256?: string;
}

/** A file of a model: `File` objects are such, and so is `{ name, data }`. */
export type NamedFile = File | { readonly name: string; readonly data: Blob | ArrayBuffer };

/** Where the model computes; `webnn+wasm` is WebNN, and wasm for the operators that the browser's refuses. */
export type Backend = "webgpu" | "webnn" | "webnn+wasm" | "wasm";

/** Which build of the runtime: plain SIMD, relaxed SIMD, relaxed SIMD with threads, or the one for WebNN. */
export type Variant = "simd" | "relaxed" | "threads" | "webnn";

/** Whether activations stay in floating point beside few-bit weights, or are quantized to 8 bits per block. */
export type Activations = "float" | "q8";

/** Where downloaded files stay. */
export type CacheKind = "opfs" | "cache-api" | "memory";

/**
 * How far loading has come. `download` and `verify` count bytes of the model's files, `upload` bytes of weights
 * given to the back end, `compile` steps of making the runtime and its plans ready.
 *
 * @example
 * onProgress: ({ phase, loaded, total }) => { bar.value = loaded; bar.max = total ?? loaded; }
 */
export interface Progress {
  readonly phase: "download" | "verify" | "upload" | "compile";
  /** Bytes done in this phase (for `compile`: steps). */
  readonly loaded: number;
  /** Bytes of this phase in all, where that is known. */
  readonly total?: number;
  /** The file at hand. */
  readonly file?: string;
  /** For `download`: bytes that were there already, from a cache or an earlier, broken download. */
  readonly cached?: number;
}

/** Options of {@link load}. */
export interface LoadOptions {
  /** `auto` takes WebGPU where the adapter is hardware, else wasm. Default `auto`. */
  readonly backend?: "auto" | Backend;
  /** What WebNN's context is asked for, with the back end `webnn`. */
  readonly webnn?: WebnnOptions;
  /** Called as loading goes on. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops loading. */
  readonly signal?: AbortSignal;
  /** The fewbit host whose `/models/manifest.json` names the models. Default: the page's own origin. */
  readonly baseUrl?: string | URL;
  /** The folder that `worker.js` and `wasm/` are served from. Default: where this module came from. */
  readonly assetsUrl?: string | URL;
  /** Where downloaded files are kept. Default `auto`: OPFS, else the Cache API, else memory. */
  readonly cache?: "auto" | CacheKind;
  /** Threads of the wasm back end. Default: as many as the machine has, where shared memory is there. */
  readonly threads?: number;
  /** Tokens of context to hold at most. Default: what the model was trained for. */
  readonly contextLength?: number;
  /** Precision of activations beside few-bit weights: `auto` lets the back end choose. */
  readonly activations?: "auto" | Activations;
  /** Forces one build of the runtime. Default: the best that the browser takes. */
  readonly variant?: Variant;
  /** Headers for model downloads, such as `Authorization` for a gated repository. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Takes the model's ONNX files even where it has others, and what is known of them beforehand. */
  readonly onnx?: OnnxOptions;
}

/** Options of WebNN's `createContext`, which a browser takes as hints. */
export interface WebnnOptions {
  readonly powerPreference?: "default" | "high-performance" | "low-power";
  readonly accelerated?: boolean;
}

/**
 * What is known beforehand of a model that comes as an ONNX file.
 *
 * @example
 * await load("https://example.org/models/minilm/", { onnx: { file: "onnx/model_quantized.onnx" } });
 * await load(file, { onnx: { sizes: { batch_size: 1 } } });
 */
export interface OnnxOptions {
  /** Which of a folder's ONNX files is the model, by its path in the folder. */
  readonly file?: string;
  /** Sizes for the file's named dimensions; the others are those of each run's inputs. */
  readonly sizes?: Readonly<Record<string, number>>;
  /**
   * Inputs that are the same in every run, and need not be given again. Where the numbers in an input decide a shape, each run
   * goes by its own; where nothing can be made without them, loading fails with `unsupported`, and `details.inputs` has those
   * inputs' names as a JSON list.
   */
  readonly values?: Readonly<Record<string, TensorData>>;
  /** Only the file's graph, for `forward`: without a task, and with the file's own types of inputs and outputs. */
  readonly asItIs?: boolean;
}

/** The graphics adapter in use, or the devices of a WebNN context. */
export interface AdapterInfo {
  /** Vendor, architecture and description, or `unnamed` where the browser does not tell. */
  readonly name: string;
  /** Whether it is known to be a software adapter; `null` where the browser does not tell. */
  readonly software: boolean | null;
  /** How `software` was found out. */
  readonly softwareReason: string;
  /** A hash of limits and features, which tells unnamed adapters apart. */
  readonly fingerprint: string;
  /** Features that the adapter has. */
  readonly features: readonly string[];
}

/** Where a model's bytes are at a moment. */
export interface MemoryUse {
  /** The length of the wasm memory, which never shrinks. */
  readonly wasm: number;
  /** Weights, states and plans on the GPU; `null` where the CPU computes. */
  readonly gpu: number | null;
}

/**
 * What was chosen, and why.
 *
 * @example
 * console.log(model.info.backend, "-", model.info.reason);
 */
export interface ModelInfo {
  /** The model's name, or the URL or file name that it came from. */
  readonly name: string;
  readonly backend: Backend;
  /** Why this back end. */
  readonly reason: string;
  /** The adapter that was found, also when wasm was chosen over it; `null` if there is none. */
  readonly adapter: AdapterInfo | null;
  readonly variant: Variant;
  readonly threads: { readonly asked: number; readonly got: number; readonly reason: string };
  /** Bytes of wasm memory after loading. */
  readonly memoryBytes: number;
  /** The model's architecture, as its files name it. */
  readonly architecture: string;
  /** The block format of most weights, or their data type. */
  readonly blockFormat: string;
  /** How many bits a weight takes on average, scales and zeros included. */
  readonly bitsPerWeight: number;
  /** How many weights there are. */
  readonly parameters: number;
  /** Bytes of weights. */
  readonly weightBytes: number;
  /** The most tokens that fit the context. */
  readonly contextLength: number;
  /** Token ids that there are; 0 for a model that predicts none. */
  readonly vocabulary: number;
  /** What the model can do. */
  readonly tasks: readonly Task[];
  /** What it takes. */
  readonly inputs: readonly ("text" | "image" | "audio")[];
  /** How activations are held beside few-bit weights. */
  readonly activations: Activations;
  /** The kernels' instruction set, or the features of the device in use. */
  readonly features: readonly string[];
  /** Where the files are kept. */
  readonly cache: CacheKind | "none";
  /** Milliseconds that loading took, part by part. */
  readonly timings: LoadTimings;
}

/** Milliseconds of each part of loading; runtime and files are fetched at the same time. */
export interface LoadTimings {
  readonly runtime: number;
  readonly files: number;
  /** Reading headers and giving the weights to the back end. */
  readonly build: number;
  /** A first step, which compiles the pipelines of a GPU. */
  readonly compile: number;
  readonly total: number;
}

/** How tokens are chosen, and when to stop. */
export interface SamplingOptions {
  /** The most tokens to make. Default 256. */
  readonly maxTokens?: number;
  /** 0 takes the likeliest token each time. Default 0 for {@link Model.generate}, 1 for chat. */
  readonly temperature?: number;
  /** Only the k likeliest tokens are drawn from. 0: all. */
  readonly topK?: number;
  /** Only the likeliest tokens that make up this probability are drawn from. */
  readonly topP?: number;
  /** Only tokens at least this likely, relative to the likeliest, are drawn from. */
  readonly minP?: number;
  /** Above 1, tokens that were there already become less likely. */
  readonly repetitionPenalty?: number;
  /** Makes tokens that were generated already less likely, as in OpenAI's API. */
  readonly presencePenalty?: number;
  /** As `presencePenalty`, the more the more often. */
  readonly frequencyPenalty?: number;
  /** The same seed gives the same text. Default: another one each time. */
  readonly seed?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[];
  /** How many of the likeliest tokens to tell with each token; `true` tells its own log-probability only. */
  readonly logprobs?: boolean | number;
  /** Go on over the model's end-of-text tokens, as benchmarks do. */
  readonly ignoreEos?: boolean;
  /** What to do when the context is full. Default `error`. */
  readonly whenFull?: "error" | "drop_oldest";
}

/** Options of {@link Model.generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** Stops generation within one token. */
  readonly signal?: AbortSignal | undefined;
  /** Called with each token: `compute`, tokens made of `maxTokens`. */
  readonly onProgress?: TaskOptions["onProgress"];
  /**
   * What an encoder-decoder reads, by the names of its encoder's inputs, such as `input_features`. The prompt is then
   * what its text begins with; without a source, a model that reads text reads the prompt.
   *
   * @example
   * const answer = model.generate([50257], { source: { input_features: { type: "f32", shape: [1, 80, 3000], data } } });
   */
  readonly source?: Readonly<Record<string, TensorData>>;
}

/** One token of an answer. */
export interface Token {
  /** The text that this token completes: valid Unicode, empty while a character is still incomplete. */
  readonly text: string;
  readonly id: number;
  /** The natural logarithm of the token's probability, if asked for. */
  readonly logprob?: number;
  /** The likeliest tokens at this place, if asked for. */
  readonly topLogprobs?: readonly TokenLogprob[];
}

/** A token that might have stood at a place. */
export interface TokenLogprob {
  readonly id: number;
  readonly text: string;
  readonly logprob: number;
}

/** Why an answer ended: the model or a stop text ended it, `maxTokens` were there, or the context was full. */
export type FinishReason = "stop" | "length" | "context_full";

/** How many tokens went in and came out. */
export interface Usage {
  readonly promptTokens: number;
  /** Of the prompt's tokens, those whose state was still there from an earlier call. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** How long an answer took, in milliseconds. */
export interface GenerateTimings {
  /** From the call to the first token. */
  readonly timeToFirstToken: number;
  /** Reading the prompt. */
  readonly prefill: number;
  /** From the first token to the last. */
  readonly decode: number;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

/** What is known when an answer has ended. */
export interface GenerateResult {
  readonly text: string;
  readonly ids: readonly number[];
  readonly promptIds: readonly number[];
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly timings: GenerateTimings;
}

/**
 * An answer as it is made. Iterate it once for the tokens, await `result` for the whole.
 *
 * @example
 * const answer = model.generate("Once upon a time");
 * for await (const token of answer) show(token.text);
 * console.log((await answer.result).timings.decodeTokensPerSecond);
 */
export interface Generation extends AsyncIterable<Token> {
  /** Settles when the answer has ended, whether or not the tokens are iterated. */
  readonly result: Promise<GenerateResult>;
}

/** A token of one of several answers. */
export interface BatchToken extends Token {
  /** Which of the prompts it goes on from. */
  readonly row: number;
}

/**
 * Several answers as they are made side by side. Iterate it once for the tokens, await `result` for the wholes, in the order of
 * the prompts.
 *
 * @example
 * const answers = model.generateBatch(["Once upon a time", "It was a dark"]);
 * for await (const { row, text } of answers) show(row, text);
 */
export interface BatchGeneration extends AsyncIterable<BatchToken> {
  /** Settles when all answers have ended, whether or not the tokens are iterated. */
  readonly result: Promise<readonly GenerateResult[]>;
}

/** A message of a chat. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool" | "developer";
  readonly content: string;
}

/** Options of {@link Model.embed}. */
export type EmbedOptions = TaskOptions;

/** What {@link Model.score} tells of a token, given those before it. */
export interface TokenScore {
  readonly id: number;
  /** Negative log-likelihood, natural logarithm. */
  readonly nll: number;
  /** The token that the model holds likeliest at this place. */
  readonly best: number;
}

/** What {@link Model.score} tells: an entry for each token but the first. */
export interface Score {
  readonly ids: readonly number[];
  readonly scores: readonly TokenScore[];
  readonly meanNll: number;
}

/** A tensor's element type, by its short name. */
export type TensorType =
  | "f64"
  | "f32"
  | "f16"
  | "bf16"
  | "i64"
  | "i32"
  | "i16"
  | "i8"
  | "u64"
  | "u32"
  | "u16"
  | "u8"
  | "bool";

/** A dense, row-major tensor; `data` holds its elements little-endian. */
export interface TensorData {
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A file in the cache. */
export interface CacheEntry {
  /** The model that it belongs to, if it was loaded by name. */
  readonly model: string | null;
  readonly file: string;
  readonly url: string;
  /** Bytes stored. */
  readonly bytes: number;
  readonly sha256: string | null;
  /** False for a download that broke off and can be resumed. */
  readonly complete: boolean;
  /** When it was stored, in milliseconds since 1970. */
  readonly stored: number;
  readonly kind: CacheKind;
}
