import { describe, expect, it } from "vitest";
import { asFewbitError } from "../src/error.js";
import { load } from "../src/load.js";
import { isOnnx, openOnnx } from "../src/worker/onnx.js";
import type { FileSource } from "../src/worker/runtime.js";

const files = (...names: string[]): FileSource[] => names.map((name) => ({ name, size: 0, read: () => new Uint8Array() }));
const NO_OPTIONS = { file: null, sizes: {}, values: {}, asItIs: false };

describe("a model's files", () => {
  it.each<[string, string[], boolean]>([
    ["an ONNX file", ["m.onnx"], true],
    ["an ONNX file with config and tokenizer", ["config.json", "onnx/model.onnx", "tokenizer.json"], true],
    ["safetensors beside it", ["onnx/model.onnx", "model.safetensors"], false],
    ["GGUF beside it", ["a.onnx", "a.gguf"], false],
    ["PyTorch's archive beside it", ["model.onnx", "pytorch_model.bin"], false],
    ["what a trainer leaves beside it", ["model.onnx", "training_args.bin"], true],
    ["no ONNX file", ["model.safetensors"], false],
  ])("with %s", (_what, names, expected) => {
    expect(isOnnx(files(...names), null)).toBe(expected);
  });

  it("are read as ONNX where that is asked for", () => {
    expect(isOnnx(files("model.onnx", "model.safetensors"), NO_OPTIONS)).toBe(true);
    expect(isOnnx(files("model.safetensors"), NO_OPTIONS)).toBe(false);
  });

  it("without the one that is asked for are refused", async () => {
    const opened = openOnnx(files("model.onnx"), { ...NO_OPTIONS, file: "model_q4.onnx" }, [], null, new AbortController().signal);
    await expect(opened).rejects.toMatchObject({ code: "not_found", details: { file: "model_q4.onnx" } });
  });
});

describe("options that cannot be used", () => {
  it.each([
    ["a size", { sizes: { batch: 1.5 } }],
    ["a file that leaves the folder", { file: "../model.onnx" }],
    ["a file of another format", { file: "model.gguf" }],
  ])("are refused: %s", async (_what, onnx) => {
    await expect(load("m", { baseUrl: "https://host.example/", onnx })).rejects.toMatchObject({ code: "bad_argument" });
  });
});

it("an error of a module keeps its details", () => {
  const thrown = Object.assign(new Error("a shape depends on what is in shape"), { code: "unsupported", details: { inputs: '["shape"]' } });
  expect(asFewbitError(thrown)).toMatchObject({ code: "unsupported", details: { inputs: '["shape"]' } });
});
