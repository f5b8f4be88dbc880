/**
 * A loaded model, as a page sees it.
 */
import { ChatCompletions } from "./chat.js";
import type { WorkerClient } from "./client.js";
import { FewbitError } from "./error.js";
import type { Prompt } from "./protocol.js";
import { PushStream } from "./stream.js";
import type {
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
    const { signal, source = {}, ...sampling } = options;
    const left = new AbortController();
    const either = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const tokens = new PushStream<Token>(() => left.abort());
    const result: Promise<GenerateResult> = this.#client.call(
      "generate",
      { prompt: plainPrompt(prompt), options: sampling, source },
      { signal: either, onEvent: (token) => tokens.push(token) },
    );
    result.then(
      () => tokens.finish(),
      (error: unknown) => tokens.fail(error),
    );
    return { result, [Symbol.asyncIterator]: () => tokens[Symbol.asyncIterator]() };
  }

  /**
   * A vector for each text.
   *
   * @example
   * const [a, b] = await model.embed(["first sentence", "second sentence"]);
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    return [...(await this.embedWithIds(texts, options)).vectors];
  }

  /** As {@link Model.embed}, with the token ids that each text became. */
  embedWithIds(
    texts: readonly string[],
    { signal }: EmbedOptions = {},
  ): Promise<{ readonly vectors: readonly Float32Array[]; readonly ids: readonly (readonly number[])[] }> {
    return this.#client.call("embed", { texts }, { signal });
  }

  /** How likely the model holds each token of a text, given those before it. */
  score(input: PromptInput, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Score> {
    return this.#client.call("score", { input: plainPrompt(input) }, { signal });
  }

  /** Runs the model's graph on tensors by name, for verification. */
  forward(
    tensors: Readonly<Record<string, TensorData>>,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<Readonly<Record<string, TensorData>>> {
    return this.#client.call("forward", { tensors }, { signal });
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
