/**
 * A loaded model, as a page sees it.
 */
import { ChatCompletions } from "./chat.js";
import type { WorkerClient } from "./client.js";
import { FewbitError } from "./error.js";
import { plainInputs } from "./input/page.js";
import type { Calls, PlainInput, PlainInstruction, PlainQuestion, Prompt } from "./protocol.js";
import { PushStream } from "./stream.js";
import type {
  AudioInput,
  Classification,
  ClassifyOptions,
  Detection,
  DetectOptions,
  FillMaskOptions,
  ImageInput,
  MaskFill,
  SummarizeOptions,
  TaskInput,
  TaskOptions,
  TranslateOptions,
  ZeroShotOptions,
} from "./tasks.js";
import type { TranscribeOptions, TranscribeResult, Transcription, TranscriptPart } from "./transcribe.js";
import type {
  BatchGeneration,
  BatchToken,
  ChatMessage,
  EmbedOptions,
  GenerateOptions,
  GenerateResult,
  Generation,
  MemoryUse,
  ModelInfo,
  SamplingOptions,
  Score,
  TensorData,
  Token,
} from "./types.js";

/** What a model can be asked to go on from: text, token ids, or a chat. */
export type PromptInput = string | readonly number[] | { readonly messages: readonly ChatMessage[] };

/** Measures for tests; no part of an application. */
export interface ModelDebug {
  /**
   * Destroys the GPU device, as a driver reset would; the next step must recover. Works in the midst of a generation.
   * Resolves to false where no GPU is in use.
   */
  loseDevice(): Promise<boolean>;
}

/**
 * A loaded model. It lives in a worker of its own; {@link Model.dispose} ends that and gives all memory back.
 *
 * @example
 * const model = await load("smollm2-135m-instruct");
 * for await (const token of model.generate("Once upon a time", { maxTokens: 64 })) show(token.text);
 * model.dispose();
 */
export class Model {
  /** What was chosen, and why. */
  readonly info: ModelInfo;
  /** OpenAI's chat API: `model.chat.completions.create({ messages })`. */
  readonly chat: { readonly completions: ChatCompletions };
  /** Measures for tests. */
  readonly debug: ModelDebug;
  readonly #client: WorkerClient;

  /** @internal */
  constructor(client: WorkerClient, info: ModelInfo) {
    this.#client = client;
    this.info = info;
    const start = (messages: readonly ChatMessage[], options: SamplingOptions, signal: AbortSignal): Generation =>
      this.generate({ messages }, { ...options, signal });
    this.chat = { completions: new ChatCompletions(start, info.name) };
    this.debug = { loseDevice: () => this.#client.call("loseDevice", {}) };
  }

  /**
   * Goes on from a prompt, token by token. Leaving the loop stops it; so does `signal`, with an `aborted` error.
   * Several generations at once take turns as whole ones.
   *
   * @example
   * for await (const token of model.generate("Once upon a time", { maxTokens: 64, signal })) show(token.text);
   */
  generate(prompt: PromptInput, options: GenerateOptions = {}): Generation {
    return this.#generate(prompt, options);
  }

  /**
   * Translates a text, token by token, with a model that was trained to (T5). What it is told stands in the model's
   * `config.json` under `task_specific_params`; `from` and `to` choose among that, `prefix` says it outright.
   *
   * @example
   * const { text } = await model.translate("How old are you?", { from: "en", to: "de" }).result;
   */
  translate(text: string, options: TranslateOptions = {}): Generation {
    const { from, to, prefix, ...rest } = options;
    return this.#generate(text, rest, { task: "translate", ...given({ from, to, prefix }) });
  }

  /**
   * Summarizes a text, as {@link Model.translate} translates it.
   *
   * @example
   * for await (const token of model.summarize(article, { maxTokens: 100 })) show(token.text);
   */
  summarize(text: string, options: SummarizeOptions = {}): Generation {
    const { prefix, ...rest } = options;
    return this.#generate(text, rest, { task: "summarize", ...given({ prefix }) });
  }

  /**
   * Goes on from several prompts side by side, which may be of any lengths: each step reads the weights once for all of them. Every
   * answer is the one that its prompt would have by itself, with `seed` plus its number.
   *
   * @example
   * const answers = await model.generateBatch(["One is", "Two is"], { maxTokens: 8 }).result;
   * console.log(answers.map(({ text }) => text));
   */
  generateBatch(prompts: readonly PromptInput[], options: Omit<GenerateOptions, "source"> = {}): BatchGeneration {
    const { result, tokens } = this.#start(prompts, options, (token) => token);
    return { result, [Symbol.asyncIterator]: () => tokens[Symbol.asyncIterator]() };
  }

  #generate(prompt: PromptInput, options: GenerateOptions, instruct?: PlainInstruction): Generation {
    const { result, tokens } = this.#start([prompt], options, ({ row, ...token }): Token => token, instruct);
    const only = result.then(([only]) => only as GenerateResult);
    // Who iterates is told of an error there.
    only.catch(() => {});
    return { result: only, [Symbol.asyncIterator]: () => tokens[Symbol.asyncIterator]() };
  }

  #start<T>(
    prompts: readonly PromptInput[],
    options: GenerateOptions,
    told: (token: BatchToken) => T,
    instruct?: PlainInstruction,
  ): { readonly result: Promise<readonly GenerateResult[]>; readonly tokens: PushStream<T> } {
    const { signal, onProgress, source = {}, ...sampling } = options;
    const total = (options.maxTokens ?? 256) * prompts.length;
    let made = 0;
    const left = new AbortController();
    const either = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const tokens = new PushStream<T>(() => left.abort());
    const result = this.#client.call(
      "generate",
      { prompts: prompts.map(plainPrompt), options: instruct ? { ...sampling, instruct } : sampling, source },
      {
        signal: either,
        onEvent: (token) => {
          tokens.push(told(token));
          onProgress?.({ phase: "compute", loaded: ++made, total });
        },
      },
    );
    result.then(
      () => tokens.finish(),
      (error: unknown) => tokens.fail(error),
    );
    return { result, tokens };
  }

  /**
   * The likeliest labels, the likeliest first: for pictures, sounds or texts, whichever the model was trained on. Of a model that
   * classifies each token of a text, an entry a token ({@link TokenClassification}). An array in gives an array out, here and below.
   *
   * @example
   * const [best] = await model.classify(file);
   * console.log(best.label, best.score);
   */
  classify(input: TaskInput, options?: ClassifyOptions): Promise<readonly Classification[]>;
  classify(inputs: readonly TaskInput[], options?: ClassifyOptions): Promise<readonly (readonly Classification[])[]>;
  classify(
    input: TaskInput | readonly TaskInput[],
    { topK, ...options }: ClassifyOptions = {},
  ): Promise<readonly Classification[] | readonly (readonly Classification[])[]> {
    return this.#answer({ task: "classify", ...given({ topK }) }, input, options);
  }

  /**
   * The objects in a picture, with their places in its pixels.
   *
   * @example
   * for (const { label, score, box } of await model.detect(image, { threshold: 0.7 })) draw(box, label);
   */
  detect(image: ImageInput, options?: DetectOptions): Promise<readonly Detection[]>;
  detect(images: readonly ImageInput[], options?: DetectOptions): Promise<readonly (readonly Detection[])[]>;
  detect(
    image: ImageInput | readonly ImageInput[],
    { threshold, ...options }: DetectOptions = {},
  ): Promise<readonly Detection[] | readonly (readonly Detection[])[]> {
    return this.#answer({ task: "detect", ...given({ threshold }) }, image, options);
  }

  /**
   * How well each of the labels fits a picture (CLIP) or a sound (CLAP), the best first.
   *
   * @example
   * const [best] = await model.zeroShot(image, ["a cat", "a dog"]);
   */
  zeroShot(input: ImageInput | AudioInput, labels: readonly string[], options?: ZeroShotOptions): Promise<readonly Classification[]>;
  zeroShot(
    inputs: readonly (ImageInput | AudioInput)[],
    labels: readonly string[],
    options?: ZeroShotOptions,
  ): Promise<readonly (readonly Classification[])[]>;
  zeroShot(
    input: ImageInput | AudioInput | readonly (ImageInput | AudioInput)[],
    labels: readonly string[],
    { template, ...options }: ZeroShotOptions = {},
  ): Promise<readonly Classification[] | readonly (readonly Classification[])[]> {
    return this.#answer({ task: "zeroShot", labels, ...given({ template }) }, input, options);
  }

  /**
   * What may stand for each mask of a text (`[MASK]` or `<mask>`, as the model's tokenizer has it), the likeliest first.
   *
   * @example
   * const [[best]] = await model.fillMask("Paris is the [MASK] of France.");
   * console.log(best.sequence);
   */
  fillMask(text: string, options?: FillMaskOptions): Promise<readonly (readonly MaskFill[])[]>;
  fillMask(texts: readonly string[], options?: FillMaskOptions): Promise<readonly (readonly (readonly MaskFill[])[])[]>;
  fillMask(
    text: string | readonly string[],
    { topK, ...options }: FillMaskOptions = {},
  ): Promise<readonly (readonly MaskFill[])[] | readonly (readonly (readonly MaskFill[])[])[]> {
    return this.#answer({ task: "fillMask", ...given({ topK }) }, text, options);
  }

  /**
   * A vector for each text, picture or sound. CLIP and CLAP put texts and what they are about into one space, where the dot
   * product tells how well they fit.
   *
   * @example
   * const [a, b] = await model.embed(["first sentence", "second sentence"]);
   * const picture = await model.embed(image);
   */
  embed(input: TaskInput, options?: EmbedOptions): Promise<Float32Array>;
  embed(inputs: readonly TaskInput[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(input: TaskInput | readonly TaskInput[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    const { vectors } = await this.#embed(isList(input) ? input : [input], options);
    return isList(input) ? [...vectors] : (vectors[0] as Float32Array);
  }

  /** As {@link Model.embed}, with the token ids that each text became. */
  embedWithIds(
    texts: readonly string[],
    options: EmbedOptions = {},
  ): Promise<{ readonly vectors: readonly Float32Array[]; readonly ids: readonly (readonly number[])[] }> {
    return this.#embed(texts, options);
  }

  async #embed(list: readonly TaskInput[], { signal, onProgress }: EmbedOptions): Promise<Calls["embed"]["result"]> {
    const { inputs, transfer } = await plainInputs(list);
    return this.#client.call("embed", { inputs }, { signal, onEvent: onProgress, transfer });
  }

  /** One answer for one input, a list for a list; what an answer is, the task decides. */
  async #answer<A>(question: PlainQuestion, input: TaskInput | readonly TaskInput[], { signal, onProgress }: TaskOptions): Promise<A> {
    const { inputs, transfer } = await plainInputs(isList(input) ? input : [input]);
    const answers = await this.#client.call("answer", { question, inputs }, { signal, onEvent: onProgress, transfer });
    return (isList(input) ? answers : answers[0]) as A;
  }

  /**
   * What is said in a sound, and when, as it is understood. Samples without a rate are taken for 16 kHz. Leaving the loop stops it;
   * so does `signal`, with an `aborted` error.
   *
   * @example
   * for await (const { text, tentative } of model.transcribe(file, { signal })) show((said += text) + tentative);
   */
  transcribe(audio: AudioInput | Float32Array, { signal, onProgress, ...options }: TranscribeOptions = {}): Transcription {
    const left = new AbortController();
    const either = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const parts = new PushStream<TranscriptPart>(() => left.abort());
    const sound = audio instanceof Float32Array ? { samples: audio, sampleRate: 16_000 } : audio;
    const start = async (): Promise<TranscribeResult> => {
      const { inputs, transfer } = await plainInputs([sound]);
      return this.#client.call(
        "transcribe",
        { input: inputs[0] as PlainInput, options: given(options) },
        {
          signal: either,
          transfer,
          onEvent: (event) => ("part" in event ? parts.push(event.part) : onProgress?.(event.progress)),
        },
      );
    };
    const result = start();
    result.then(
      () => parts.finish(),
      (error: unknown) => parts.fail(error),
    );
    return { result, [Symbol.asyncIterator]: () => parts[Symbol.asyncIterator]() };
  }

  /** How likely the model holds each token of a text, given those before it. */
  score(input: PromptInput, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Score> {
    return this.#client.call("score", { input: plainPrompt(input) }, { signal });
  }

  /**
   * Runs the model's graph on tensors by name, for verification. Without `outputs`, all of them are computed; of an
   * encoder-decoder, `["encoder_last_hidden_state"]` runs the encoder alone.
   */
  forward(
    tensors: Readonly<Record<string, TensorData>>,
    { outputs = [], signal }: { readonly outputs?: readonly string[]; readonly signal?: AbortSignal } = {},
  ): Promise<Readonly<Record<string, TensorData>>> {
    return this.#client.call("forward", { tensors, outputs: [...outputs] }, { signal });
  }

  /** The token ids of a prompt, as a generation would see them. */
  tokenize(prompt: PromptInput): Promise<readonly number[]> {
    return this.#client.call("tokenize", { prompt: plainPrompt(prompt) });
  }

  /** Bytes of wasm memory at this moment. */
  async memoryBytes(): Promise<number> {
    return (await this.memory()).wasm;
  }

  /** Where this model's bytes are at this moment. */
  memory(): Promise<MemoryUse> {
    return this.#client.call("memory", {});
  }

  /** Ends the worker and gives back all that it holds. Open calls fail with `disposed`. */
  dispose(): void {
    this.#client.close(new FewbitError("disposed", "the model was disposed of"));
  }
}

function plainPrompt(prompt: PromptInput): Prompt {
  if (typeof prompt === "string") return { kind: "text", text: prompt };
  if ("messages" in prompt) {
    return { kind: "chat", messages: prompt.messages.map(({ role, content }) => ({ role, content })) };
  }
  return { kind: "ids", ids: [...prompt] };
}

function isList<T>(input: T | readonly T[]): input is readonly T[] {
  return Array.isArray(input);
}

/** Without what was not given: a message would carry it as `undefined`. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
