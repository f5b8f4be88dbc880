/**
 * Transcription: the module of codecs says what the model is to do next, the model computes, and between any two steps an abort
 * is noticed.
 */
import { FewbitError, throwIfAborted } from "../error.js";
import type { PlainInput, PlainTranscribeOptions } from "../protocol.js";
import type { TranscribeResult, TranscriptPart } from "../transcribe.js";
import { type Media, samples } from "./media.js";
import type { NamedTensor, RuntimeModel } from "./runtime.js";
import { type CallContext, macrotask } from "./server.js";

/** What the module asks of the model's tokenizer. */
interface Words {
  id(token: string): number | undefined;
  text(ids: Uint32Array): string;
}

/** Of the module's glue: `media-wasm/src/transcribe.rs`. */
export interface Transcriber {
  readonly rate: number;
  begin(samples: number, options: string): TranscriptionSteps;
  free(): void;
}

export type TranscriberClass = new (
  files: Readonly<Record<string, Uint8Array>>,
  vocabulary: number,
  contextLength: number,
  mels: number,
  frames: number,
  words: Words,
) => Transcriber;

interface TranscriptionSteps {
  /** A {@link Step} as JSON; `undefined` at the end. */
  step(): string | undefined;
  hear(samples: Float32Array): NamedTensor[] | undefined;
  predicted(logits: Float32Array, words: Words): void;
  answered(logits: Float32Array, classes: number): void;
  transcript(): string;
  free(): void;
}

interface Step {
  readonly hear?: readonly [number, number];
  readonly predict?: readonly number[];
  readonly part?: TranscriptPart;
}

const FILES = ["config.json", "generation_config.json", "preprocessor_config.json", "vocab.json", "tokenizer_config.json"];

/** Transcribes a sound; parts and progress are emitted. */
export async function transcribe(
  model: RuntimeModel,
  media: Media,
  input: PlainInput,
  options: PlainTranscribeOptions,
  { signal, emit }: CallContext<"transcribe">,
): Promise<TranscribeResult> {
  const began = performance.now();
  const { tasks, vocabulary, contextLength, architecture } = JSON.parse(model.info()) as {
    readonly tasks: readonly string[];
    readonly vocabulary: number;
    readonly contextLength: number;
    readonly architecture: string;
  };
  if (!tasks.includes("transcribe")) throw new FewbitError("unsupported", `${architecture} is no model to transcribe with`);
  const onProgress = (progress: { phase: "module" | "prepare" | "compute"; loaded: number; total: number }): void => emit({ progress });
  /** The module's own failures are told as such. */
  const heard = <T>(task: () => T): Promise<T> => media.use(signal, onProgress, async () => task());

  const [mels = 0, frames = 0] = model.featureShape();
  const files: Record<string, Uint8Array> = {};
  for (const name of FILES) {
    const bytes = await media.file(name);
    if (bytes) files[name] = bytes;
  }
  const words: Words = { id: (token) => model.tokenId(token), text: (ids) => model.decode(ids) ?? "" };
  const transcriber = await media.use(
    signal,
    onProgress,
    async (glue) => new glue.Transcriber(files, vocabulary, contextLength, mels, frames, words),
  );
  let steps: TranscriptionSteps | null = null;
  try {
    onProgress({ phase: "prepare", loaded: 0, total: 1 });
    const { rate } = transcriber;
    // As they are, where nothing has to be done: hours of samples need not go through the module.
    const ready = input.kind === "samples" && input.sampleRate === rate && input.channels.length === 1 ? input.channels[0] : undefined;
    const sound = ready ?? (await media.use(signal, onProgress, (glue) => samples(glue, input, rate, signal)));
    onProgress({ phase: "prepare", loaded: 1, total: 1 });
    throwIfAborted(signal);
    const prepared = performance.now();
    const total = sound.length / rate;
    const running = await heard(() => transcriber.begin(sound.length, JSON.stringify(options)));
    steps = running;
    for (;;) {
      const text = await heard(() => running.step());
      if (text === undefined) break;
      const { hear, predict, part } = JSON.parse(text) as Step;
      if (part) {
        emit({ part });
        onProgress({ phase: "compute", loaded: part.seconds, total });
      } else if (hear) {
        const input = await heard(() => running.hear(sound.subarray(...hear)));
        if (input && mels > 0) model.listen(input);
        else if (input) await answer(model, running, input, signal);
      } else if (predict) {
        const logits = await model.advance(Uint32Array.from(predict));
        if (logits) await heard(() => running.predicted(logits, words));
      }
      await macrotask();
      throwIfAborted(signal);
    }
    return {
      ...(JSON.parse(running.transcript()) as Omit<TranscribeResult, "seconds" | "timings">),
      seconds: total,
      timings: { prepare: prepared - began, compute: performance.now() - prepared },
    };
  } finally {
    steps?.free();
    transcriber.free();
  }
}

/** A run of a CTC model. */
async function answer(model: RuntimeModel, steps: TranscriptionSteps, input: readonly NamedTensor[], signal: AbortSignal): Promise<void> {
  const outputs = await model.forward(input, [], async () => {
    await macrotask();
    throwIfAborted(signal);
  });
  const logits = outputs.find(({ name }) => name === "logits");
  if (!logits) throw new FewbitError("unsupported", "the model has no head that tells letters");
  const { buffer, byteOffset, byteLength } = logits.data;
  steps.answered(new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)), logits.shape.at(-1) ?? 0);
}
