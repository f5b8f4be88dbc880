/**
 * What {@link Model.transcribe} takes and gives.
 */
import type { TaskOptions } from "./tasks.js";

/** Options of {@link Model.transcribe}. `onProgress` tells seconds of the recording under `compute`. */
export interface TranscribeOptions extends TaskOptions {
  /** A code such as `en`. Default: heard out of the first half minute, where the model knows several languages. */
  readonly language?: string;
  /** Write down what is said, or translate it into English. Default `transcribe`. */
  readonly task?: "transcribe" | "translate";
  /**
   * Whether Whisper says when something is said. Without, a segment is up to half a minute long. Default: where the recording is
   * longer than half a minute.
   */
  readonly timestamps?: boolean;
  /** Whether each half minute goes on from the text before it. Default `false`: an error would be gone on from as well. */
  readonly conditionOnPrevious?: boolean;
  /** For what is drawn, where the likeliest text will not do. Default 0. */
  readonly seed?: number;
}

/** A stretch of speech. */
export interface TranscriptSegment {
  /** Seconds from the beginning. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly ids: readonly number[];
  /** The average natural logarithm of the tokens' probabilities (Whisper, as the next three). */
  readonly avgLogprob?: number;
  /** How likely there is no speech at all. */
  readonly noSpeechProb?: number;
  /** 0 where the likeliest tokens were taken. */
  readonly temperature?: number;
  /** The text's bytes over what compression would leave of them: high where it repeats itself. */
  readonly compressionRatio?: number;
}

/** A part of a transcript. */
export interface TranscriptPart {
  /** What is to be added to the text; may be empty. */
  readonly text: string;
  /** The segment that says it. */
  readonly segment?: TranscriptSegment;
  /** What is being understood at the moment; the next part's takes its place. */
  readonly tentative: string;
  /** Seconds of the recording that are done. */
  readonly seconds: number;
}

/** A whole transcript. */
export interface TranscribeResult {
  readonly text: string;
  /** The ids of the text. */
  readonly ids: readonly number[];
  readonly segments: readonly TranscriptSegment[];
  /** The language's code; `null` for a model that knows one only. */
  readonly language: string | null;
  /** How long the recording is, in seconds. */
  readonly seconds: number;
  /** Milliseconds of decoding the recording, and of transcribing it. */
  readonly timings: { readonly prepare: number; readonly compute: number };
}

/**
 * A transcript as it is made. Iterate it once for the parts, await `result` for the whole.
 *
 * @example
 * const transcription = model.transcribe(file);
 * for await (const { text, tentative } of transcription) show((said += text) + tentative);
 * for (const { start, end, text } of (await transcription.result).segments) list(start, end, text);
 */
export interface Transcription extends AsyncIterable<TranscriptPart> {
  /** Settles when all is transcribed, whether or not the parts are iterated. */
  readonly result: Promise<TranscribeResult>;
}
