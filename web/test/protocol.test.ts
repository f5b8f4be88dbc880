import { afterEach, describe, expect, it } from "vitest";
import { WorkerClient, type WorkerLike } from "../src/client.js";
import { FewbitError } from "../src/error.js";
import type { ModelInfo, Token } from "../src/types.js";
import { Model } from "../src/model.js";
import { type Endpoint, type Handlers, macrotask, serve, Turnstile } from "../src/worker/server.js";

const INFO = { name: "test" } as ModelInfo;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const missing = (): Promise<never> => Promise.reject(new FewbitError("internal", "not part of this test"));
const NONE: Handlers = {
  load: missing,
  generate: missing,
  embed: missing,
  answer: missing,
  transcribe: missing,
  score: missing,
  forward: missing,
  tokenize: missing,
  memory: missing,
  openGraphs: missing,
  buildGraph: missing,
  runGraph: missing,
  dropGraph: missing,
  loseDevice: missing,
};

/** A client joined to handlers by a real message channel, as to a worker. */
function connect(handlers: Partial<Handlers>): { client: WorkerClient; terminated: () => boolean } {
  const { port1, port2 } = new MessageChannel();
  let terminated = false;
  const worker: WorkerLike = {
    postMessage: (message, transfer) => port1.postMessage(message, transfer ?? []),
    terminate: () => {
      terminated = true;
      port1.close();
    },
    onmessage: null,
    onerror: null,
    onmessageerror: null,
  };
  port1.onmessage = (event) => worker.onmessage?.(event);
  const client = new WorkerClient(worker);
  serve(port2 as unknown as Endpoint, { ...NONE, ...handlers });
  closers.push(() => {
    port1.close();
    port2.close();
  });
  return { client, terminated: () => terminated };
}

/** A handler that makes tokens until it is stopped. */
function endless(seen: { steps: number; stopped: boolean }): Handlers["generate"] {
  return async (_args, { signal, emit }) => {
    for (;;) {
      if (signal.aborted) {
        seen.stopped = true;
        throw new FewbitError("aborted", "stopped");
      }
      seen.steps += 1;
      emit({ row: 0, id: seen.steps, text: `${seen.steps} ` });
      await macrotask();
    }
  };
}

describe("calls", () => {
  it("carry arguments there and results and events back", async () => {
    const { client } = connect({
      generate: async ({ prompts, options }, { emit }) => {
        prompts.forEach((_, row) => emit({ row, id: 7, text: "a" }));
        prompts.forEach((_, row) => emit({ row, id: 8, text: "b" }));
        return prompts.map((prompt) => ({
          text: "ab",
          ids: [7, 8],
          promptIds: prompt.kind === "ids" ? prompt.ids : [],
          finishReason: "length",
          usage: { promptTokens: 2, cachedTokens: 0, completionTokens: options.maxTokens ?? -1 },
          timings: { timeToFirstToken: 1, prefill: 1, decode: 1, prefillTokensPerSecond: 1, decodeTokensPerSecond: 1 },
        }));
      },
    });
    const model = new Model(client, INFO);
    const generation = model.generate([3, 4], { maxTokens: 2 });
    const tokens: Token[] = [];
    for await (const token of generation) tokens.push(token);
    expect(tokens.map(({ text }) => text).join("")).toBe("ab");
    expect(tokens[0]).toEqual({ id: 7, text: "a" });
    expect(await generation.result).toMatchObject({ promptIds: [3, 4], usage: { completionTokens: 2 } });

    const batch = model.generateBatch([[1], "two"], { maxTokens: 2 });
    const rows: number[] = [];
    for await (const { row } of batch) rows.push(row);
    expect(rows).toEqual([0, 1, 0, 1]);
    expect(await batch.result).toMatchObject([{ promptIds: [1] }, { promptIds: [] }]);
  });

  it("carry errors with code, message and details", async () => {
    const { client } = connect({
      score: () => Promise.reject(new FewbitError("context_full", "too long", { details: { tokens: 9000 } })),
    });
    const model = new Model(client, INFO);
    const error = await model.score("x").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FewbitError);
    expect(error).toMatchObject({ code: "context_full", message: "too long", details: { tokens: 9000 }, name: "FewbitError" });
  });

  it("stop within a step when their signal fires", async () => {
    const seen = { steps: 0, stopped: false };
    const { client } = connect({ generate: endless(seen) });
    const model = new Model(client, INFO);
    const controller = new AbortController();
    const generation = model.generate("go", { signal: controller.signal });
    const error = await (async () => {
      for await (const token of generation) if (token.id === 5) controller.abort();
    })().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "aborted", name: "AbortError" });
    await expect(generation.result).rejects.toMatchObject({ code: "aborted" });
    await expect.poll(() => seen.stopped).toBe(true);
  });

  it("stop when their consumer leaves the loop", async () => {
    const seen = { steps: 0, stopped: false };
    const { client } = connect({ generate: endless(seen) });
    const generation = new Model(client, INFO).generate("go");
    for await (const token of generation) if (token.id === 3) break;
    await expect(generation.result).rejects.toMatchObject({ code: "aborted" });
    await expect.poll(() => seen.stopped).toBe(true);
  });

  it("fail at once with a signal that has fired", async () => {
    const { client } = connect({});
    await expect(client.call("memory", {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });

  it("fail with `disposed` when the model is disposed of, open ones and later ones", async () => {
    const { client, terminated } = connect({ memory: () => new Promise(() => {}) });
    const model = new Model(client, INFO);
    const open = model.memoryBytes();
    model.dispose();
    await expect(open).rejects.toMatchObject({ code: "disposed" });
    await expect(model.memoryBytes()).rejects.toMatchObject({ code: "disposed" });
    expect(terminated()).toBe(true);
  });

  it("fail with `bad_argument` when an argument cannot be sent", async () => {
    const { client } = connect({});
    const bad = { prompts: [{ kind: "text", text: "x" }], options: { stop: (() => {}) as unknown as string }, source: {} } as const;
    await expect(client.call("generate", bad)).rejects.toMatchObject({ code: "bad_argument" });
  });
});

describe("a chat", () => {
  const answer: Handlers["generate"] = async ({ prompts, options }, { emit }) => {
    if (prompts[0]?.kind !== "chat") throw new FewbitError("bad_argument", "no chat");
    const logprob = options.logprobs === undefined ? {} : { logprob: -0.5, topLogprobs: [{ id: 1, text: "Hello", logprob: -0.5 }] };
    emit({ row: 0, id: 1, text: "Hello", ...logprob });
    emit({ row: 0, id: 2, text: "", ...logprob });
    emit({ row: 0, id: 3, text: " é", ...logprob });
    return [
      {
        text: "Hello é",
        ids: [1, 2, 3],
        promptIds: [9],
        finishReason: options.maxTokens === 3 ? "length" : "stop",
        usage: { promptTokens: 11, cachedTokens: 4, completionTokens: 3 },
        timings: { timeToFirstToken: 1, prefill: 1, decode: 1, prefillTokensPerSecond: 1, decodeTokensPerSecond: 1 },
      },
    ];
  };
  const messages = [{ role: "user", content: [{ type: "text", text: "Hi" }] }] as const;

  it("answers in OpenAI's shape", async () => {
    const model = new Model(connect({ generate: answer }).client, INFO);
    const reply = await model.chat.completions.create({ messages, max_tokens: 3, logprobs: true, top_logprobs: 1 });
    expect(reply).toMatchObject({
      object: "chat.completion",
      model: "test",
      choices: [{ index: 0, message: { role: "assistant", content: "Hello é" }, finish_reason: "length" }],
      usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14, prompt_tokens_details: { cached_tokens: 4 } },
    });
    expect(reply.choices[0].logprobs?.content).toHaveLength(3);
    expect(reply.choices[0].logprobs?.content[2]).toMatchObject({ token: " é", logprob: -0.5, bytes: [0x20, 0xc3, 0xa9] });
  });

  it("streams chunks in OpenAI's shape", async () => {
    const model = new Model(connect({ generate: answer }).client, INFO);
    const stream = await model.chat.completions.create({ messages, stream: true, stream_options: { include_usage: true } });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("Hello é");
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 14 } });
  });

  it("refuses what it does not do", async () => {
    const model = new Model(connect({ generate: answer }).client, INFO);
    await expect(model.chat.completions.create({ messages, n: 2 })).rejects.toMatchObject({ code: "unsupported" });
    const image = [{ role: "user", content: [{ type: "image_url" }] }] as unknown as typeof messages;
    await expect(model.chat.completions.create({ messages: image })).rejects.toMatchObject({ code: "unsupported" });
  });

  it("stops by its controller", async () => {
    const seen = { steps: 0, stopped: false };
    const model = new Model(connect({ generate: endless(seen) }).client, INFO);
    const stream = await model.chat.completions.create({ messages, stream: true });
    const error = await (async () => {
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content === "4 ") stream.controller.abort();
    })().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "aborted" });
    await expect.poll(() => seen.stopped).toBe(true);
  });
});

describe("Turnstile", () => {
  it("runs one task at a time, in order, failures too", async () => {
    const turnstile = new Turnstile();
    const log: string[] = [];
    const task = (name: string, fail = false) => async (): Promise<string> => {
      log.push(`${name}+`);
      await macrotask();
      log.push(`${name}-`);
      if (fail) throw new Error(name);
      return name;
    };
    const results = await Promise.allSettled([turnstile.pass(task("a", true)), turnstile.pass(task("b")), turnstile.pass(task("c"))]);
    expect(log).toEqual(["a+", "a-", "b+", "b-", "c+", "c-"]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
  });
});
