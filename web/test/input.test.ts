import { describe, expect, it } from "vitest";
import { WorkerClient, type WorkerLike } from "../src/client.js";
import { FewbitError } from "../src/error.js";
import { plainInputs } from "../src/input/page.js";
import { Model } from "../src/model.js";
import type { PlainInput } from "../src/protocol.js";
import type { ImageInput, TaskInput } from "../src/tasks.js";
import type { ModelInfo } from "../src/types.js";
import { Media } from "../src/worker/media.js";
import type { FileSource, RuntimeModel } from "../src/worker/runtime.js";
import { type Endpoint, type Handlers, serve } from "../src/worker/server.js";
import { answer, embed } from "../src/worker/tasks.js";

/** Stands for a class that only browsers have. */
function tagged<T>(tag: string, value: object): T {
  return Object.assign(Object.create({ [Symbol.toStringTag]: tag }) as object, value) as T;
}

describe("inputs on the page's side", () => {
  it("carries files and places as they are", async () => {
    const blob = new Blob(["x"]);
    const { inputs, transfer } = await plainInputs(["a text", blob, new URL("https://example.org/a.png")]);
    expect(inputs).toEqual([
      { kind: "text", text: "a text" },
      { kind: "file", data: blob },
      { kind: "url", url: "https://example.org/a.png" },
    ]);
    expect(transfer).toEqual([]);
  });

  it("copies samples before they move, so that the caller's stay", async () => {
    const samples = new Float32Array([0.5, -0.5]);
    const { inputs, transfer } = await plainInputs([{ samples, sampleRate: 8000 }]);
    const [input] = inputs as [Extract<PlainInput, { kind: "samples" }>];
    expect(input).toEqual({ kind: "samples", channels: [samples], sampleRate: 8000 });
    expect(input.channels[0]).not.toBe(samples);
    structuredClone(input, { transfer });
    expect(samples.length).toBe(2);
  });

  it("takes every channel of an AudioBuffer", async () => {
    const channels = [new Float32Array([1, 2]), new Float32Array([3, 4])];
    const buffer = tagged<AudioBuffer>("AudioBuffer", {
      numberOfChannels: 2,
      sampleRate: 44100,
      getChannelData: (channel: number) => channels[channel],
    });
    const { inputs } = await plainInputs([buffer]);
    expect(inputs).toEqual([{ kind: "samples", channels, sampleRate: 44100 }]);
  });

  it("takes the pixels of ImageData, and only its part of a buffer", async () => {
    const bytes = new Uint8ClampedArray([9, 1, 2, 3, 255, 9]).subarray(1, 5);
    const data = tagged<ImageData>("ImageData", { width: 1, height: 1, data: bytes, colorSpace: "srgb" });
    const { inputs, transfer } = await plainInputs([data]);
    expect(inputs).toEqual([{ kind: "pixels", width: 1, height: 1, rgba: new Uint8Array([1, 2, 3, 255]) }]);
    expect((transfer[0] as ArrayBuffer).byteLength).toBe(4);
  });

  it("makes a bitmap of what the page draws, after an <img> is there", async () => {
    const calls: string[] = [];
    const bitmap = tagged<ImageBitmap>("ImageBitmap", { width: 2, height: 3 });
    const scope = globalThis as { createImageBitmap?: unknown };
    scope.createImageBitmap = async (source: object): Promise<ImageBitmap> => {
      calls.push(`bitmap of ${Object.prototype.toString.call(source)}`);
      return bitmap;
    };
    try {
      const image = tagged<HTMLImageElement>("HTMLImageElement", { decode: async () => void calls.push("decode") });
      const { inputs, transfer } = await plainInputs([image]);
      expect(inputs).toEqual([{ kind: "bitmap", bitmap }]);
      expect(transfer).toEqual([bitmap]);
      expect(calls).toEqual(["decode", "bitmap of [object HTMLImageElement]"]);
      const broken = tagged<HTMLImageElement>("HTMLImageElement", { decode: () => Promise.reject(new Error("no picture")) });
      await expect(plainInputs([broken])).rejects.toMatchObject({ code: "bad_argument", message: /no picture/ });
    } finally {
      delete scope.createImageBitmap;
    }
  });

  it("names what is no input", async () => {
    for (const wrong of [null, undefined, 7, {}, new Float32Array(2), { samples: new Float32Array(2) }]) {
      await expect(plainInputs([wrong as unknown as TaskInput])).rejects.toMatchObject({ code: "bad_argument" });
    }
  });
});

/** A model over handlers, without a worker. */
function model(handlers: Partial<Handlers>): { model: Model; close: () => void } {
  const { port1, port2 } = new MessageChannel();
  const worker: WorkerLike = {
    postMessage: (message, transfer) => port1.postMessage(message, transfer ?? []),
    terminate: () => port1.close(),
    onmessage: null,
    onerror: null,
    onmessageerror: null,
  };
  port1.onmessage = (event) => worker.onmessage?.(event);
  const client = new WorkerClient(worker);
  serve(port2 as unknown as Endpoint, handlers as Handlers);
  return { model: new Model(client, { name: "test" } as ModelInfo), close: () => port1.close() };
}

describe("tasks of a model", () => {
  it("gives one answer for one input and an array for an array", async () => {
    const asked: unknown[] = [];
    const { model: classifier, close } = model({
      answer: async ({ question, inputs }, { emit }) => {
        asked.push(question);
        emit({ phase: "compute", loaded: inputs.length, total: inputs.length });
        return inputs.map((input) => [{ label: input.kind === "text" ? input.text : "", score: 1 }]);
      },
    });
    const seen: number[] = [];
    expect(await classifier.classify("a", { topK: 2, onProgress: ({ loaded }) => seen.push(loaded) })).toEqual([{ label: "a", score: 1 }]);
    expect(await classifier.classify(["a", "b"])).toEqual([[{ label: "a", score: 1 }], [{ label: "b", score: 1 }]]);
    expect(await classifier.classify([])).toEqual([]);
    const image = new Blob() satisfies ImageInput;
    await classifier.zeroShot(image, ["x", "y"], { template: "{}!" });
    await classifier.detect([image], { threshold: 0.7 });
    expect(asked).toEqual([
      { task: "classify", topK: 2 },
      { task: "classify" },
      { task: "classify" },
      { task: "zeroShot", labels: ["x", "y"], template: "{}!" },
      { task: "detect", threshold: 0.7 },
    ]);
    expect(seen).toEqual([1]);
    close();
  });

  it("tells a translation's direction apart from its options", async () => {
    let asked: unknown;
    const { model: translator, close } = model({
      generate: async (args) => {
        asked = args;
        return [{ text: "", ids: [], promptIds: [], finishReason: "stop", usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }, timings: { timeToFirstToken: 0, prefill: 0, decode: 0, prefillTokensPerSecond: 0, decodeTokensPerSecond: 0 } }];
      },
    });
    await translator.translate("How old are you?", { from: "en", to: "de", maxTokens: 9 }).result;
    expect(asked).toEqual({
      prompts: [{ kind: "text", text: "How old are you?" }],
      options: { maxTokens: 9, instruct: { task: "translate", from: "en", to: "de" } },
      source: {},
    });
    close();
  });
});

describe("batches in the worker", () => {
  const context = (signal = new AbortController().signal) => {
    const events: unknown[] = [];
    return { events, context: { signal, emit: (event: unknown) => void events.push(event) } };
  };
  const texts = (count: number): PlainInput[] => Array.from({ length: count }, (_, i) => ({ kind: "text", text: `${i}` }));
  const NO_FILES = new Media([], null);

  it("asks for eight texts at a time", async () => {
    const sizes: number[] = [];
    const engine = {
      answer: async (question: string) => {
        const { texts: batch } = JSON.parse(question) as { texts: string[] };
        sizes.push(batch.length);
        return JSON.stringify(batch);
      },
    } as unknown as RuntimeModel;
    const { context: at, events } = context();
    const answers = await answer(engine, NO_FILES, { task: "classify" }, texts(19), at);
    expect(answers).toEqual(texts(19).map((input) => (input as { text: string }).text));
    expect(sizes).toEqual([8, 8, 3]);
    expect(events.at(-1)).toEqual({ phase: "compute", loaded: 19, total: 19 });
  });

  it("stops between batches", async () => {
    const controller = new AbortController();
    let batches = 0;
    const engine = {
      embed: async () => {
        batches += 1;
        controller.abort();
        return { vectors: [], ids: [] };
      },
    } as unknown as RuntimeModel;
    await expect(embed(engine, NO_FILES, texts(9), context(controller.signal).context)).rejects.toMatchObject({ code: "aborted" });
    expect(batches).toBe(1);
  });

  it("does not mix texts with pictures, and says what a model lacks", async () => {
    const engine = {} as RuntimeModel;
    const mixed: PlainInput[] = [...texts(1), { kind: "file", data: new Blob() }];
    await expect(answer(engine, NO_FILES, { task: "classify" }, mixed, context().context)).rejects.toMatchObject({ code: "bad_argument" });
    const file = (name: string, text: string): FileSource => {
      const bytes = new TextEncoder().encode(text);
      return { name, size: bytes.length, read: (offset, length) => bytes.slice(offset, offset + length) };
    };
    const media = new Media([file("config.json", '{"model_type": "vit"}')], null);
    const run = answer(engine, media, { task: "classify" }, mixed.slice(1), context().context);
    await expect(run).rejects.toBeInstanceOf(FewbitError);
    await expect(run).rejects.toMatchObject({ code: "bad_model", message: /preprocessor_config\.json/ });
  });
});
