/**
 * What the tasks beyond text generation take and give: pictures and sound in, labels, boxes and vectors out.
 */
import type { SamplingOptions } from "./types.js";

/** What a model can do, as `model.info.tasks` lists it. */
export type Task =
  | "generate"
  | "chat"
  | "embed"
  | "classify"
  | "detect"
  | "transcribe"
  | "translate"
  | "summarize"
  | "zeroShot"
  | "fillMask";

/**
 * A picture. A file (`Blob`, `File`) or what is at a `URL` is decoded as PIL would: PNG, JPEG, WebP, GIF and BMP by this package's own
 * decoders, other formats by the browser if it knows them. The rest is what a page has in memory; it stays the caller's.
 *
 * @example
 * await model.classify(document.querySelector("img"));
 * await model.classify(fileInput.files[0]);
 * await model.classify(new URL("/cat.jpg", location.href));
 */
export type ImageInput =
  | Blob
  | ImageBitmap
  | HTMLImageElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | ImageData
  | VideoFrame
  | URL;

/** Samples of one channel between -1 and 1, and how many of them make a second. */
export interface AudioSamples {
  readonly samples: Float32Array;
  readonly sampleRate: number;
}

/**
 * A sound: a file (`Blob`, `File`) or what is at a `URL` as WAV, FLAC, MP3 or Ogg Vorbis, a decoded `AudioBuffer`, or samples. Any
 * sampling rate and number of channels will do: it is mixed to one channel at the model's rate.
 *
 * @example
 * await model.zeroShot({ samples, sampleRate: 48000 }, ["rain", "a dog"]);
 */
export type AudioInput = Blob | AudioBuffer | AudioSamples | URL;

/** A text, a picture or a sound, whichever the model takes. */
export type TaskInput = string | ImageInput | AudioInput;

/**
 * How far a call has come. `module`: the codecs are being fetched, the first time that they are needed (steps). `prepare`: inputs
 * decoded and made ready. `compute`: inputs that are answered, or tokens made.
 */
export interface TaskProgress {
  readonly phase: "module" | "prepare" | "compute";
  readonly loaded: number;
  readonly total: number;
}

/** What every task takes. */
export interface TaskOptions {
  /** Stops the call, which then fails with `aborted`. It is looked at between inputs. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: TaskProgress) => void) | undefined;
}

/** Options of {@link Model.classify}. */
export interface ClassifyOptions extends TaskOptions {
  /** How many labels to give, the likeliest first. Default 5. */
  readonly topK?: number;
}

/** Options of {@link Model.detect}. */
export interface DetectOptions extends TaskOptions {
  /** Objects less certain than this are left out. Default 0.5. */
  readonly threshold?: number;
}

/** Options of {@link Model.zeroShot}. */
export interface ZeroShotOptions extends TaskOptions {
  /** The sentence in which each label stands in place of `{}`. Default: "a photo of {}", for sound "This is a sound of {}.". */
  readonly template?: string;
}

/** Options of {@link Model.fillMask}. */
export interface FillMaskOptions extends TaskOptions {
  /** How many tokens to give for each mask, the likeliest first. Default 5. */
  readonly topK?: number;
}

/** A label and how likely the model holds it. */
export interface Classification {
  readonly label: string;
  /** The label's number in the model's `config.json`, or among the labels of {@link Model.zeroShot}. */
  readonly class: number;
  /** Between 0 and 1; of a model that estimates a number, that number. */
  readonly score: number;
}

/** What a token is, from a model that classifies each token of a text: one entry a token, in the text's order. */
export interface TokenClassification extends Classification {
  /** The token as the model's tokenizer spells it. */
  readonly token: string;
  readonly id: number;
}

/** A rectangle in pixels of the picture that was given, from its upper left corner. */
export interface Box {
  readonly xmin: number;
  readonly ymin: number;
  readonly xmax: number;
  readonly ymax: number;
}

/** An object in a picture. */
export interface Detection extends Classification {
  readonly box: Box;
}

/** A token that may stand for a mask. */
export interface MaskFill {
  /** The token's text. */
  readonly token: string;
  readonly id: number;
  /** Between 0 and 1. */
  readonly score: number;
  /** The whole text with this token in the mask's place. */
  readonly sequence: string;
}

/** Options of {@link Model.summarize}. */
export interface SummarizeOptions extends SamplingOptions, TaskOptions {
  /** What to put before the text. Default: what the model's `config.json` says under `task_specific_params`. */
  readonly prefix?: string;
}

/** Options of {@link Model.translate}. */
export interface TranslateOptions extends SummarizeOptions {
  /** The language of the text, as the model names it: `en` or `English`. */
  readonly from?: string;
  /** The language to translate to. */
  readonly to?: string;
}
