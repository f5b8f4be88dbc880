/**
 * fewbit: transformer models at few bits per weight, in any browser.
 *
 * @example
 * import { load } from "fewbit";
 * const model = await load("smollm2-135m-instruct");
 * for await (const token of model.generate("Once upon a time", { maxTokens: 64 })) show(token.text);
 * model.dispose();
 *
 * @packageDocumentation
 */
export { cache, type FileCache } from "./cache/index.js";
export type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionLogprobs,
  ChatCompletionMessageParam,
  ChatCompletionParams,
  ChatCompletionStream,
  ChatCompletionTokenLogprob,
  ChatCompletions,
  ChatContentPart,
  CompletionUsage,
} from "./chat.js";
export { type ErrorDetails, FewbitError, type FewbitErrorCode } from "./error.js";
export { load } from "./load.js";
export type { Model, ModelDebug, PromptInput } from "./model.js";
export type * from "./tasks.js";
export type * from "./transcribe.js";
export type * from "./types.js";
