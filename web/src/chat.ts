/**
 * OpenAI's shape of chat completions over {@link Model}: `model.chat.completions.create(…)`.
 */
import { FewbitError } from "./error.js";
import type { ChatMessage, FinishReason, GenerateResult, Generation, SamplingOptions, Token, TokenLogprob, Usage } from "./types.js";

/** A piece of a message's content; only text is understood. */
export interface ChatContentPart {
  readonly type: "text";
  readonly text: string;
}

/** A message as OpenAI's API takes it. */
export interface ChatCompletionMessageParam {
  readonly role: ChatMessage["role"];
  readonly content: string | readonly ChatContentPart[] | null;
}

/**
 * The parameters of a chat completion, named as in OpenAI's API; `top_k`, `min_p` and `repetition_penalty` are named as in
 * other servers of that API.
 */
export interface ChatCompletionParams {
  readonly messages: readonly ChatCompletionMessageParam[];
  /** Ignored: the model is the one that is loaded. */
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly temperature?: number | null;
  readonly top_p?: number | null;
  readonly top_k?: number | null;
  readonly min_p?: number | null;
  readonly repetition_penalty?: number | null;
  readonly presence_penalty?: number | null;
  readonly frequency_penalty?: number | null;
  readonly seed?: number | null;
  readonly stop?: string | readonly string[] | null;
  readonly logprobs?: boolean | null;
  readonly top_logprobs?: number | null;
  /** Only 1 is supported. */
  readonly n?: number | null;
  /** What to do when the context is full (fewbit's own). */
  readonly when_full?: SamplingOptions["whenFull"];
  /** Stops the answer within one token (fewbit's own). */
  readonly signal?: AbortSignal;
}

/** A token's log-probability, with those of the likeliest tokens at its place. */
export interface ChatCompletionTokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
  readonly top_logprobs: readonly { readonly token: string; readonly logprob: number; readonly bytes: readonly number[] }[];
}

/** Log-probabilities of an answer or a piece of it. */
export interface ChatCompletionLogprobs {
  readonly content: readonly ChatCompletionTokenLogprob[];
}

/** Token counts, as OpenAI's API names them. */
export interface CompletionUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** A whole answer. */
export interface ChatCompletion {
  readonly id: string;
  readonly object: "chat.completion";
  readonly created: number;
  readonly model: string;
  readonly choices: readonly [
    {
      readonly index: 0;
      readonly message: { readonly role: "assistant"; readonly content: string; readonly refusal: null };
      readonly finish_reason: "stop" | "length";
      readonly logprobs: ChatCompletionLogprobs | null;
    },
  ];
  readonly usage: CompletionUsage;
}

/** A piece of a streamed answer. The last one, with `include_usage`, has `usage` and no choices. */
export interface ChatCompletionChunk {
  readonly id: string;
  readonly object: "chat.completion.chunk";
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: 0;
    readonly delta: { readonly role?: "assistant"; readonly content?: string };
    readonly finish_reason: "stop" | "length" | null;
    readonly logprobs: ChatCompletionLogprobs | null;
  }[];
  readonly usage?: CompletionUsage | null;
}

/** A streamed answer: iterate it for the pieces; `controller` stops it, as in OpenAI's client. */
export interface ChatCompletionStream extends AsyncIterable<ChatCompletionChunk> {
  readonly controller: AbortController;
}

/** What a chat needs of a model. */
export type StartChat = (messages: readonly ChatMessage[], options: SamplingOptions, signal: AbortSignal) => Generation;

/**
 * `model.chat.completions`.
 *
 * @example
 * const stream = await model.chat.completions.create({ messages, stream: true });
 * for await (const chunk of stream) show(chunk.choices[0]?.delta.content ?? "");
 */
export class ChatCompletions {
  readonly #start: StartChat;
  readonly #model: string;

  /** @internal */
  constructor(start: StartChat, model: string) {
    this.#start = start;
    this.#model = model;
  }

  create(params: ChatCompletionParams & { readonly stream: true }): Promise<ChatCompletionStream>;
  create(params: ChatCompletionParams & { readonly stream?: false }): Promise<ChatCompletion>;
  create(params: ChatCompletionParams): Promise<ChatCompletion | ChatCompletionStream>;
  async create(params: ChatCompletionParams): Promise<ChatCompletion | ChatCompletionStream> {
    if (params.n != null && params.n !== 1) throw new FewbitError("unsupported", `n = ${params.n}: one answer a call`);
    const messages = params.messages.map(plainMessage);
    const controller = new AbortController();
    const signal = params.signal ? AbortSignal.any([params.signal, controller.signal]) : controller.signal;
    const generation = this.#start(messages, samplingOf(params), signal);
    const head = {
      id: `chatcmpl-${randomId()}`,
      created: Math.floor(Date.now() / 1000),
      model: this.#model,
    };
    const wantsLogprobs = params.logprobs === true;
    if (!params.stream) return whole(head, generation, wantsLogprobs);
    const chunks = pieces(head, generation, wantsLogprobs, params.stream_options?.include_usage === true);
    return { controller, [Symbol.asyncIterator]: () => chunks };
  }
}

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

async function whole(head: Head, generation: Generation, wantsLogprobs: boolean): Promise<ChatCompletion> {
  const content: ChatCompletionTokenLogprob[] = [];
  for await (const token of generation) if (wantsLogprobs) content.push(...logprobsOf(token));
  const result = await generation.result;
  return {
    ...head,
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: result.text, refusal: null },
        finish_reason: finishReason(result.finishReason),
        logprobs: wantsLogprobs ? { content } : null,
      },
    ],
    usage: usageOf(result.usage),
  };
}

async function* pieces(
  head: Head,
  generation: Generation,
  wantsLogprobs: boolean,
  includeUsage: boolean,
): AsyncGenerator<ChatCompletionChunk, undefined> {
  const chunk = (
    delta: { role?: "assistant"; content?: string },
    finish_reason: "stop" | "length" | null,
    logprobs: ChatCompletionLogprobs | null,
  ): ChatCompletionChunk => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason, logprobs }],
    ...(includeUsage ? { usage: null } : {}),
  });
  yield chunk({ role: "assistant", content: "" }, null, null);
  for await (const token of generation) {
    // A token that completes no character yet says something only through its log-probability.
    if (token.text === "" && !wantsLogprobs) continue;
    yield chunk({ content: token.text }, null, wantsLogprobs ? { content: logprobsOf(token) } : null);
  }
  const result: GenerateResult = await generation.result;
  yield chunk({}, finishReason(result.finishReason), null);
  if (includeUsage) {
    yield { ...head, object: "chat.completion.chunk", choices: [], usage: usageOf(result.usage) };
  }
  return undefined;
}

function plainMessage({ role, content }: ChatCompletionMessageParam, index: number): ChatMessage {
  if (typeof content === "string") return { role, content };
  if (content === null) return { role, content: "" };
  const text = content.map((part) => {
    if (part.type !== "text") {
      throw new FewbitError("unsupported", `messages[${index}]: content of type "${String(part.type)}"; only text is understood`);
    }
    return part.text;
  });
  return { role, content: text.join("") };
}

function samplingOf(params: ChatCompletionParams): SamplingOptions {
  const options: { -readonly [K in keyof SamplingOptions]: SamplingOptions[K] } = { temperature: params.temperature ?? 1 };
  const maxTokens = params.max_completion_tokens ?? params.max_tokens;
  if (maxTokens != null) options.maxTokens = maxTokens;
  if (params.top_p != null) options.topP = params.top_p;
  if (params.top_k != null) options.topK = params.top_k;
  if (params.min_p != null) options.minP = params.min_p;
  if (params.repetition_penalty != null) options.repetitionPenalty = params.repetition_penalty;
  if (params.presence_penalty != null) options.presencePenalty = params.presence_penalty;
  if (params.frequency_penalty != null) options.frequencyPenalty = params.frequency_penalty;
  if (params.seed != null) options.seed = params.seed;
  if (params.stop != null) options.stop = params.stop;
  if (params.logprobs) options.logprobs = params.top_logprobs ?? true;
  if (params.when_full) options.whenFull = params.when_full;
  return options;
}

function logprobsOf(token: Token): ChatCompletionTokenLogprob[] {
  if (token.logprob === undefined) return [];
  return [
    {
      token: token.text,
      logprob: token.logprob,
      bytes: utf8(token.text),
      top_logprobs: (token.topLogprobs ?? []).map(({ text, logprob }: TokenLogprob) => ({
        token: text,
        logprob,
        bytes: utf8(text),
      })),
    },
  ];
}

/** OpenAI's API calls it `length` too when the context is full. */
function finishReason(reason: FinishReason): "stop" | "length" {
  return reason === "stop" ? "stop" : "length";
}

function usageOf(usage: Usage): CompletionUsage {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}

function utf8(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
