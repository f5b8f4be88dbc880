/**
 * The messages between page and worker. Each call of the page has a number; the worker answers it with any
 * number of events and then one result or error. `abort` names the call that is to stop.
 */
import type { PlainError } from "./error.js";
import type { TaskProgress } from "./tasks.js";
import type { TranscribeOptions, TranscribeResult, TranscriptPart } from "./transcribe.js";
import type {
  Activations,
  Backend,
  BatchToken,
  CacheKind,
  ChatMessage,
  GenerateResult,
  ListedFile,
  MemoryUse,
  ModelInfo,
  Progress,
  SamplingOptions,
  Score,
  TensorData,
  Variant,
  WebnnOptions,
} from "./types.js";

/** A model's source as the worker gets it: URLs are absolute, files have names. */
export type PlainSource =
  | { readonly kind: "name"; readonly name: string; readonly baseUrl: string }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "listed"; readonly name: string; readonly baseUrl: string; readonly files: readonly ListedFile[] }
  | { readonly kind: "files"; readonly files: readonly { readonly name: string; readonly data: Blob }[] };

/** What is known beforehand of an ONNX model. */
export interface PlainOnnxOptions {
  readonly file: string | null;
  readonly sizes: Readonly<Record<string, number>>;
  readonly values: Readonly<Record<string, TensorData>>;
  readonly asItIs: boolean;
}

/** Load options without what a message cannot carry. */
export interface PlainLoadOptions {
  readonly backend: "auto" | Backend;
  readonly webnn: WebnnOptions;
  readonly assetsUrl: string | null;
  readonly cache: "auto" | CacheKind;
  readonly threads: number | null;
  readonly contextLength: number | null;
  readonly activations: "auto" | Activations;
  readonly variant: Variant | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly onnx: PlainOnnxOptions | null;
}

/** What the model is to go on from. */
export type Prompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "ids"; readonly ids: readonly number[] }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** An input of a task: `file` and `url` are pictures or sound, whichever the model takes. */
export type PlainInput =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "file"; readonly data: Blob }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "bitmap"; readonly bitmap: ImageBitmap }
  | { readonly kind: "pixels"; readonly width: number; readonly height: number; readonly rgba: Uint8Array }
  | { readonly kind: "samples"; readonly channels: readonly Float32Array[]; readonly sampleRate: number };

/** What is asked of each input: `Question` of `engine/src/task/answer`, without the inputs. */
export interface PlainQuestion {
  readonly task: "classify" | "detect" | "zeroShot" | "fillMask";
  readonly labels?: readonly string[];
  readonly template?: string;
  readonly threshold?: number;
  readonly topK?: number;
}

/** Before a text that a model is to translate or summarize: `Instruction` of `engine/src/task/instruct.rs`. */
export interface PlainInstruction {
  readonly task: "translate" | "summarize";
  readonly from?: string;
  readonly to?: string;
  readonly prefix?: string;
}

/** How to transcribe, without what a message cannot carry. */
export type PlainTranscribeOptions = Omit<TranscribeOptions, "signal" | "onProgress">;

/** Every call: what it takes, what it tells on the way, what it returns. */
export interface Calls {
  load: {
    args: { readonly source: PlainSource; readonly options: PlainLoadOptions };
    event: Progress;
    result: ModelInfo;
  };
  /** An answer to each prompt, made side by side. */
  generate: {
    args: {
      readonly prompts: readonly Prompt[];
      readonly options: SamplingOptions & { readonly instruct?: PlainInstruction };
      readonly source: Readonly<Record<string, TensorData>>;
    };
    event: BatchToken;
    result: readonly GenerateResult[];
  };
  embed: {
    args: { readonly inputs: readonly PlainInput[] };
    event: TaskProgress;
    result: { readonly vectors: readonly Float32Array[]; readonly ids: readonly (readonly number[])[] };
  };
  /** An answer for each input. */
  answer: {
    args: { readonly question: PlainQuestion; readonly inputs: readonly PlainInput[] };
    event: TaskProgress;
    result: readonly unknown[];
  };
  transcribe: {
    args: { readonly input: PlainInput; readonly options: PlainTranscribeOptions };
    event: { readonly part: TranscriptPart } | { readonly progress: TaskProgress };
    result: TranscribeResult;
  };
  score: { args: { readonly input: Prompt }; event: never; result: Score };
  forward: {
    args: { readonly tensors: Readonly<Record<string, TensorData>>; readonly outputs: readonly string[] };
    event: never;
    result: Readonly<Record<string, TensorData>>;
  };
  tokenize: { args: { readonly prompt: Prompt }; event: never; result: readonly number[] };
  /** A runtime for graphs: which back end it has. */
  openGraphs: {
    args: { readonly backend: "auto" | Exclude<Backend, "webnn" | "webnn+wasm">; readonly assetsUrl: string | null };
    event: never;
    result: Exclude<Backend, "webnn" | "webnn+wasm">;
  };
  /** A graph of its bytes: its number. */
  buildGraph: { args: { readonly bytes: Uint8Array }; event: never; result: number };
  runGraph: {
    args: { readonly id: number; readonly tensors: Readonly<Record<string, TensorData>>; readonly outputs: readonly string[] };
    event: never;
    result: Readonly<Record<string, TensorData>>;
  };
  dropGraph: { args: { readonly id: number }; event: never; result: void };
  memory: { args: Record<string, never>; event: never; result: MemoryUse };
  loseDevice: { args: Record<string, never>; event: never; result: boolean };
}

export type CallName = keyof Calls;

/** From the page to the worker. */
export type Request =
  | { [N in CallName]: { readonly type: "call"; readonly id: number; readonly call: N; readonly args: Calls[N]["args"] } }[CallName]
  | { readonly type: "abort"; readonly id: number };

/** From the worker to the page. Number 0 is the start of the worker itself. */
export type Reply =
  | { readonly type: "ready" }
  | { readonly type: "event"; readonly id: number; readonly event: Calls[CallName]["event"] }
  | { readonly type: "result"; readonly id: number; readonly result: Calls[CallName]["result"] }
  | { readonly type: "error"; readonly id: number; readonly error: PlainError };
