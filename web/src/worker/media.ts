/**
 * Pictures and sound in the worker: a wasm module of their own decodes them and makes what the model is fed. It is loaded when
 * a task first needs it.
 */
import { asFewbitError, FewbitError, throwIfAborted } from "../error.js";
import type { PlainInput } from "../protocol.js";
import type { TaskProgress } from "../tasks.js";
import { compile, type FileSource, type NamedTensor } from "./runtime.js";
import type { TranscriberClass } from "./transcribe.js";

/** A picture inside the module, which `images` takes over. */
interface Picture {
  readonly width: number;
  readonly height: number;
  free(): void;
}

interface Preprocessor {
  /** Of its clips, in hertz; `undefined` for pictures. */
  readonly rate: number | undefined;
  images(pictures: Picture[]): NamedTensor[];
  clips(clips: Float32Array[], seed: number, whole: boolean): NamedTensor[];
  free(): void;
}

/** The module's glue: what `media-wasm/src/lib.rs` exports. */
export interface MediaGlue {
  default(init: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  readonly Preprocessor: new (config: Uint8Array, modelType?: string) => Preprocessor;
  readonly Transcriber: TranscriberClass;
  readonly Picture: { fromRgba(width: number, height: number, rgba: Uint8Array): Picture };
  decodeImage(file: Uint8Array): Picture;
  decodeAudio(file: Uint8Array, rate: number): Float32Array;
  mixAudio(channels: Float32Array[], from: number, to: number): Float32Array;
}

type OnProgress = (progress: TaskProgress) => void;

/** What a model is fed for some inputs. */
export interface Fed {
  readonly tensors: readonly NamedTensor[];
  /** Width and height of each picture, as it was given; empty for sound. */
  readonly sizes: readonly (readonly [number, number])[];
}

/** A file of pictures or sound has at most as many bytes. */
const MAX_FILE_BYTES = 2 ** 30;
const CONFIGS = ["preprocessor_config.json", "processor_config.json"];

/** What stands before one model. */
export class Media {
  readonly #files: readonly FileSource[];
  readonly #assetsUrl: string | null;
  #module: WebAssembly.Module | null = null;
  #glue: MediaGlue | null = null;
  #preprocessor: Preprocessor | null = null;
  #starts = 0;

  constructor(files: readonly FileSource[], assetsUrl: string | null) {
    this.#files = files;
    this.#assetsUrl = assetsUrl;
  }

  /** A small file of the model; `undefined` if there is none of this name. */
  async file(name: string): Promise<Uint8Array | undefined> {
    const file = this.#files.find((known) => known.name === name);
    return file && (await file.read(0, file.size));
  }

  /** How many inputs make a batch where `pictures` would: sounds come one by one. */
  async batchSize(pictures: number, signal: AbortSignal, onProgress: OnProgress): Promise<number> {
    return (await this.#start(signal, onProgress)).rate === undefined ? pictures : 1;
  }

  /** Decodes the inputs and makes one batch of them. */
  async feed(inputs: readonly PlainInput[], signal: AbortSignal, onProgress: OnProgress): Promise<Fed> {
    const preprocessor = await this.#start(signal, onProgress);
    return this.use(signal, onProgress, async (glue) => {
      if (preprocessor.rate !== undefined) {
        const clips: Float32Array[] = [];
        for (const input of inputs) clips.push(await samples(glue, input, preprocessor.rate, signal));
        return { tensors: preprocessor.clips(clips, 0, false), sizes: [] };
      }
      const pictures: Picture[] = [];
      for (const input of inputs) pictures.push(await picture(glue, input, signal));
      const sizes = pictures.map(({ width, height }) => [width, height] as const);
      return { tensors: preprocessor.images(pictures), sizes };
    });
  }

  /** Uses the module. A trap leaves it in the midst of something: then the next call makes it anew. */
  async use<T>(signal: AbortSignal, onProgress: OnProgress, task: (glue: MediaGlue) => Promise<T>): Promise<T> {
    const glue = await this.#load(signal, onProgress);
    try {
      return await task(glue);
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      this.#glue = this.#preprocessor = null;
      throw new FewbitError("internal", `the module of codecs failed: ${error.message}`, { cause: error });
    }
  }

  async #start(signal: AbortSignal, onProgress: OnProgress): Promise<Preprocessor> {
    if (this.#preprocessor) return this.#preprocessor;
    const [config, modelType] = await readConfig(this.#files);
    return this.use(signal, onProgress, async (glue) => (this.#preprocessor = new glue.Preprocessor(config, modelType)));
  }

  async #load(signal: AbortSignal, onProgress: OnProgress): Promise<MediaGlue> {
    if (this.#glue) return this.#glue;
    const step = (loaded: number): void => onProgress({ phase: "module", loaded, total: 2 });
    step(0);
    const at = this.#assetsUrl === null ? null : new URL("wasm/media/", this.#assetsUrl);
    // One literal URL for each file, as bundlers look for them.
    const glueUrl = at ? new URL("fewbit_media.js", at) : new URL("../wasm/media/fewbit_media.js", import.meta.url);
    const wasmUrl = at ? new URL("fewbit_media_bg.wasm", at) : new URL("../wasm/media/fewbit_media_bg.wasm", import.meta.url);
    this.#module ??= await compile(wasmUrl, signal);
    step(1);
    // The fragment makes it another module of the same file, with an instance of its own.
    if (this.#starts++ > 0) glueUrl.hash = `${this.#starts}`;
    const glue = (await import(/* @vite-ignore */ /* webpackIgnore: true */ glueUrl.href)) as MediaGlue;
    await glue.default({ module_or_path: this.#module });
    step(2);
    return (this.#glue = glue);
  }
}

/** The preprocessor's config among a model's files, and the `model_type` of its `config.json`. */
async function readConfig(files: readonly FileSource[]): Promise<[Uint8Array, string | undefined]> {
  const read = async (name: string): Promise<Uint8Array | undefined> => {
    const file = files.find((known) => known.name === name);
    return file && (await file.read(0, file.size));
  };
  const config = await read("config.json");
  const facts: unknown = config && JSON.parse(new TextDecoder().decode(config));
  const type = (facts as { model_type?: unknown } | undefined)?.model_type;
  const modelType = typeof type === "string" ? type : undefined;
  for (const name of CONFIGS) {
    const found = await read(name);
    if (found) return [found, modelType];
  }
  // Alone, as `save_pretrained` of the model writes it, its input is always the same.
  if (modelType === "wav2vec2") return [new TextEncoder().encode("{}"), modelType];
  throw new FewbitError("bad_model", "the model has no preprocessor_config.json, which would say what it is fed for pictures or sound");
}

async function picture(glue: MediaGlue, input: PlainInput, signal: AbortSignal): Promise<Picture> {
  switch (input.kind) {
    case "pixels":
      return glue.Picture.fromRgba(input.width, input.height, input.rgba);
    case "bitmap":
      return drawn(glue, input.bitmap);
    case "file":
    case "url": {
      const [blob, name] = await fileOf(input, signal);
      try {
        return glue.decodeImage(await bytesOf(blob));
      } catch (error) {
        const { code, message } = asFewbitError(error);
        if (error instanceof WebAssembly.RuntimeError) throw error;
        // Of a format that only the browser knows, perhaps.
        const bitmap = code === "unsupported" ? await createImageBitmap(blob).catch(() => null) : null;
        if (bitmap) return drawn(glue, bitmap);
        throw new FewbitError(code, `${name}: ${message}`, { cause: error });
      }
    }
    default:
      throw new FewbitError("bad_argument", `the model takes pictures, not ${input.kind === "text" ? "text" : "sound"}`);
  }
}

/** The bitmap's pixels; it is closed. */
function drawn(glue: MediaGlue, bitmap: ImageBitmap): Picture {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!canvas) throw new FewbitError("unsupported", "this browser has no 2D canvas in workers");
  canvas.drawImage(bitmap, 0, 0);
  bitmap.close();
  return glue.Picture.fromRgba(width, height, new Uint8Array(canvas.getImageData(0, 0, width, height).data.buffer));
}

/** A sound as one channel at `rate` hertz. */
export async function samples(glue: MediaGlue, input: PlainInput, rate: number, signal: AbortSignal): Promise<Float32Array> {
  switch (input.kind) {
    case "samples":
      return glue.mixAudio([...input.channels], input.sampleRate, rate);
    case "file":
    case "url": {
      const [blob, name] = await fileOf(input, signal);
      try {
        return glue.decodeAudio(await bytesOf(blob), rate);
      } catch (error) {
        if (error instanceof WebAssembly.RuntimeError) throw error;
        const { code, message } = asFewbitError(error);
        throw new FewbitError(code, `${name}: ${message}`, { cause: error });
      }
    }
    default:
      throw new FewbitError("bad_argument", `the model takes sound, not ${input.kind === "text" ? "text" : "pictures"}`);
  }
}

/** The file, and what to call it in an error. */
async function fileOf(input: Extract<PlainInput, { kind: "file" | "url" }>, signal: AbortSignal): Promise<[Blob, string]> {
  if (input.kind === "file") return [input.data, input.data instanceof File ? input.data.name : "the blob"];
  const { url } = input;
  try {
    const response = await fetch(url, { signal });
    if (response.ok) return [await response.blob(), url];
    await response.body?.cancel();
    throw new FewbitError(response.status === 404 ? "not_found" : "http", `${url} answered ${response.status}`, { details: { url, status: response.status } });
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof FewbitError) throw error;
    throw new FewbitError("network", `${url}: ${(error as Error).message}`, { details: { url }, cause: error });
  }
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  if (blob.size > MAX_FILE_BYTES) throw new FewbitError("bad_argument", `it has ${blob.size} bytes; at most ${MAX_FILE_BYTES} are read`);
  return new Uint8Array(await blob.arrayBuffer());
}
