/**
 * Tasks of many inputs: batch by batch, with a look at the messages in between.
 */
import { FewbitError, throwIfAborted } from "../error.js";
import type { PlainInput, PlainQuestion } from "../protocol.js";
import type { Media } from "./media.js";
import type { NamedTensor, RuntimeModel } from "./runtime.js";
import { type CallContext, macrotask } from "./server.js";

/** Texts of a batch, and pictures of one. Sounds and pictures of any size come one by one: padding could change what is heard or seen. */
const TEXTS = 8;
const PICTURES = 4;

type Context = CallContext<"answer"> | CallContext<"embed">;

/** Inputs of one kind, ready for a run of the model. */
interface Batch {
  readonly texts: readonly string[];
  readonly tensors: readonly NamedTensor[];
  readonly sizes: readonly (readonly [number, number])[];
}

/** An answer for each input. */
export async function answer(
  model: RuntimeModel,
  media: Media,
  question: PlainQuestion,
  inputs: readonly PlainInput[],
  context: Context,
): Promise<unknown[]> {
  const answers: unknown[] = [];
  const pictures = question.task === "detect" ? 1 : PICTURES;
  for await (const { texts, tensors, sizes } of batches(inputs, media, pictures, context)) {
    const request = { ...question, texts, sizes: question.task === "detect" ? sizes : [] };
    answers.push(...(JSON.parse(await model.answer(JSON.stringify(request), tensors)) as unknown[]));
  }
  return answers;
}

/** A vector for each input, and the token ids of texts. */
export async function embed(
  model: RuntimeModel,
  media: Media,
  inputs: readonly PlainInput[],
  context: Context,
): Promise<{ vectors: Float32Array[]; ids: number[][] }> {
  const all: { vectors: Float32Array[]; ids: number[][] } = { vectors: [], ids: [] };
  for await (const { texts, tensors } of batches(inputs, media, PICTURES, context)) {
    if (texts.length > 0) {
      const { vectors, ids } = await model.embed(JSON.stringify({ texts }));
      all.vectors.push(...vectors);
      all.ids.push(...ids.map((list) => [...list]));
    } else all.vectors.push(...(await model.embedTensors(tensors)));
  }
  return all;
}

async function* batches(inputs: readonly PlainInput[], media: Media, pictures: number, { signal, emit }: Context): AsyncGenerator<Batch> {
  const isText = inputs[0]?.kind === "text";
  if (inputs.some(({ kind }) => (kind === "text") !== isText)) {
    throw new FewbitError("bad_argument", "texts together with pictures or sound: give each kind in a call of its own");
  }
  for (let done = 0; done < inputs.length; ) {
    await macrotask();
    throwIfAborted(signal);
    const count = isText ? TEXTS : await media.batchSize(pictures, signal, emit);
    const batch = inputs.slice(done, done + count);
    if (isText) yield { texts: batch.map((input) => (input.kind === "text" ? input.text : "")), tensors: [], sizes: [] };
    else {
      const fed = await media.feed(batch, signal, emit);
      emit({ phase: "prepare", loaded: done + batch.length, total: inputs.length });
      yield { texts: [], ...fed };
    }
    done += batch.length;
    emit({ phase: "compute", loaded: done, total: inputs.length });
  }
}
