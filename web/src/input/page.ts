/**
 * Pictures and sound on the page's side: what only a page has becomes what a message can carry.
 */
import { FewbitError } from "../error.js";
import type { PlainInput } from "../protocol.js";
import type { TaskInput } from "../tasks.js";

/** Inputs as a message carries them, and what of it moves to the worker instead of being copied. */
export interface PlainInputs {
  readonly inputs: readonly PlainInput[];
  readonly transfer: Transferable[];
}

/**
 * The inputs as a message carries them. What the caller gave stays his: it is copied before it moves.
 *
 * @throws {FewbitError} `bad_argument` for what is no input, or a picture that is broken or not there yet
 */
export async function plainInputs(inputs: readonly TaskInput[]): Promise<PlainInputs> {
  const transfer: Transferable[] = [];
  const plain: PlainInput[] = [];
  for (const input of inputs) plain.push(await plainInput(input, transfer));
  return { inputs: plain, transfer };
}

async function plainInput(input: TaskInput, transfer: Transferable[]): Promise<PlainInput> {
  if (typeof input === "string") return { kind: "text", text: input };
  const tag = tagOf(input);
  switch (tag) {
    case "Blob":
    case "File":
      return { kind: "file", data: input as Blob };
    case "URL":
      return { kind: "url", url: (input as URL).href };
    case "ImageData": {
      const { width, height, data, colorSpace } = input as ImageData;
      // Wide colours and floats go by way of a canvas, which converts them.
      if (tagOf(data) !== "Uint8ClampedArray" || colorSpace === "display-p3") break;
      const rgba = new Uint8Array(data);
      transfer.push(rgba.buffer);
      return { kind: "pixels", width, height, rgba };
    }
    case "AudioBuffer": {
      const buffer = input as AudioBuffer;
      const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) => new Float32Array(buffer.getChannelData(channel)));
      return sound(channels, buffer.sampleRate, transfer);
    }
    case "ImageBitmap":
    case "HTMLImageElement":
    case "HTMLCanvasElement":
    case "OffscreenCanvas":
    case "VideoFrame":
      break;
    default: {
      const { samples, sampleRate } = (input ?? {}) as { samples?: unknown; sampleRate?: unknown };
      if (tagOf(samples) === "Float32Array" && typeof sampleRate === "number") {
        return sound([new Float32Array(samples as Float32Array)], sampleRate, transfer);
      }
      throw new FewbitError("bad_argument", `${tag} is neither a text nor a picture nor a sound (samples need their sampleRate)`);
    }
  }
  const bitmap = await toBitmap(input as ImageBitmapSource, tag);
  transfer.push(bitmap);
  return { kind: "bitmap", bitmap };
}

/** The name of its class. Not by `instanceof`: it may be of another frame, and workers lack some of the classes. */
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function sound(channels: Float32Array<ArrayBuffer>[], sampleRate: number, transfer: Transferable[]): PlainInput {
  transfer.push(...channels.map(({ buffer }) => buffer));
  return { kind: "samples", channels, sampleRate };
}

async function toBitmap(source: ImageBitmapSource, tag: string): Promise<ImageBitmap> {
  try {
    if (tag === "HTMLImageElement") await (source as HTMLImageElement).decode();
    return await createImageBitmap(source);
  } catch (error) {
    throw new FewbitError("bad_argument", `the ${tag} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
