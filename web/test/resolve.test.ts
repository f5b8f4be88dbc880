import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { plainSource } from "../src/load.js";
import { findModel, parseManifest } from "../src/manifest.js";
import { MODELS } from "../src/models.js";
import type { PlainSource } from "../src/protocol.js";
import { resolve } from "../src/resolve.js";

const MANIFEST = readFileSync(new URL("../../host/models.json", import.meta.url), "utf8");

function site(files: Record<string, string>): (url: string) => Promise<string | null> {
  return async (url) => files[url] ?? null;
}

describe("the manifest that the package carries", () => {
  it("names models that a browser can load", () => {
    const models = parseManifest(MODELS, "models.ts");
    for (const model of models) expect(model.bases.length).toBeGreaterThan(0);
    expect(findModel(models, "smollm2")?.name).toBe("smollm2-135m-instruct");
  });

  it("says what the host's says of every model that a page can load without a host", () => {
    const models = parseManifest(JSON.parse(MANIFEST), "models.json");
    expect(parseManifest(MODELS, "models.ts")).toEqual(models.filter((model) => model.bases.length > 0));
  });

  it.each([
    ["no object", "[]"],
    ["no models", "{}"],
    ["a model without name", '{"models":[{}]}'],
    ["a model without files", '{"models":[{"name":"a","files":[]}]}'],
    ["a file that leaves its folder", '{"models":[{"name":"a","files":[{"name":"../x","bytes":1,"sha256":"00"}]}]}'],
    ["a file without sha256", '{"models":[{"name":"a","files":[{"name":"x","bytes":1}]}]}'],
    ["a file of no size", '{"models":[{"name":"a","files":[{"name":"x","bytes":-1}]}]}'],
  ])("is refused with %s", (_what, json) => {
    expect(() => parseManifest(JSON.parse(json), "x.json")).toThrow(expect.objectContaining({ code: "bad_model" }));
  });
});

describe("a model", () => {
  it("by name comes from the host first, then from Hugging Face", async () => {
    const files = site({ "https://host.example/models/manifest.json": MANIFEST });
    const { name, files: wanted } = await resolve({ kind: "name", name: "smollm2", baseUrl: "https://host.example/" }, files);
    expect(name).toBe("smollm2-135m-instruct");
    expect(wanted).toHaveLength(1);
    expect(wanted[0]?.urls[0]).toBe("https://host.example/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    expect(wanted[0]?.urls[1]).toMatch(/^https:\/\/huggingface\.co\/.+\/resolve\/.+\.gguf$/);
    expect(wanted[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it("of several places comes from the host alone", async () => {
    const files = site({ "https://host.example/models/manifest.json": MANIFEST });
    const { files: wanted } = await resolve({ kind: "name", name: "minilm-int8", baseUrl: "https://host.example/" }, files);
    expect(wanted.map(({ file }) => file)).toContain("model.onnx");
    for (const { file, urls } of wanted) expect(urls).toEqual([`https://host.example/models/all-minilm-l6-v2-int8/${file}`]);
  });

  it("by name comes from Hugging Face where there is no host, even if the site answers every path", async () => {
    const files = site({ "https://host.example/models/manifest.json": "<!doctype html>" });
    const { files: wanted } = await resolve({ kind: "name", name: "minilm", baseUrl: "https://host.example/" }, files);
    expect(wanted.map(({ file }) => file)).toContain("1_Pooling/config.json");
    expect(wanted.every(({ urls }) => urls.every((url) => url.startsWith("https://huggingface.co/")))).toBe(true);
  });

  it("of an unknown name is refused with the names there are", async () => {
    const source = { kind: "name", name: "gpt-5", baseUrl: "https://host.example/" } as const;
    await expect(resolve(source, site({}))).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("smollm2-135m-instruct") as string,
    });
  });

  it("by the URL of a folder has its shards and its optional files", async () => {
    const index = JSON.stringify({ weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", c: "model-1.safetensors" } });
    const files = site({ "https://x.example/llama/model.safetensors.index.json": index });
    const found = await resolve({ kind: "url", url: "https://x.example/llama/" }, files);
    expect(found.name).toBe("llama");
    expect(found.files.map(({ file }) => file)).toEqual([
      "config.json",
      "model.safetensors.index.json",
      "model-1.safetensors",
      "model-2.safetensors",
    ]);
    expect(found.optional.map(({ file }) => file)).toContain("tokenizer.json");
    expect(found.optional.find(({ file }) => file === "vocab.json")?.unless).toBe("tokenizer.json");
    const single = await resolve({ kind: "url", url: "https://x.example/bert" }, files);
    expect(single.files.map(({ urls }) => urls[0])).toContain("https://x.example/bert/model.safetensors");
  });

  it("by the URL of a folder has PyTorch's archives, or CTranslate2's, where there are no safetensors", async () => {
    const index = JSON.stringify({ weight_map: { a: "pytorch_model-1.bin", b: "pytorch_model-2.bin" } });
    const files = site({ "https://x.example/sharded/pytorch_model.bin.index.json": index });
    const there = ["https://x.example/one/pytorch_model.bin", "https://x.example/both/model.safetensors", "https://x.example/both/pytorch_model.bin", "https://x.example/ct2/model.bin"];
    const weights = async (url: string): Promise<string[]> => {
      const found = await resolve({ kind: "url", url }, files, async (file) => there.includes(file));
      return found.files.map(({ file }) => file).slice(1);
    };
    expect(await weights("https://x.example/sharded")).toEqual(["pytorch_model.bin.index.json", "pytorch_model-1.bin", "pytorch_model-2.bin"]);
    expect(await weights("https://x.example/one/")).toEqual(["pytorch_model.bin"]);
    expect(await weights("https://x.example/both/")).toEqual(["model.safetensors"]);
    expect(await weights("https://x.example/ct2/")).toEqual(["model.bin"]);
    expect(await weights("https://x.example/none/")).toEqual(["model.safetensors"]);
  });

  it("with an index that leaves its folder is refused", async () => {
    const index = JSON.stringify({ weight_map: { a: "../../secret" } });
    const files = site({ "https://x.example/llama/model.safetensors.index.json": index });
    await expect(resolve({ kind: "url", url: "https://x.example/llama/" }, files)).rejects.toMatchObject({ code: "bad_model" });
  });

  it("by the URL of a GGUF file is that file", async () => {
    const { files } = await resolve({ kind: "url", url: "https://x.example/a%20b.gguf?download=1" }, site({}));
    expect(files).toMatchObject([{ file: "a b.gguf", urls: ["https://x.example/a%20b.gguf?download=1"] }]);
  });
});

describe("ONNX files", () => {
  const there = (...files: string[]) => async (url: string) => files.includes(url.replace("https://x.example/", ""));
  const found = async (url: string, onnx: string | null, ...files: string[]) =>
    resolve({ kind: "url", url: `https://x.example/${url}` }, site({}), there(...files), onnx);
  const names = (wanted: readonly { file: string }[]): string[] => wanted.map(({ file }) => file);

  it("of a folder are taken where it has no other weights, the whole model first", async () => {
    expect(names((await found("m/", null, "m/onnx/model.onnx", "m/model.safetensors")).files)).toEqual(["config.json", "model.safetensors"]);
    const { files, optional, name } = await found("m/", null, "m/onnx/model_quantized.onnx", "m/onnx/model.onnx");
    expect([name, names(files)]).toEqual(["m", ["onnx/model.onnx"]]);
    expect(names(optional)).toEqual(expect.arrayContaining(["onnx/model.onnx_data", "config.json", "tokenizer.json", "vocab.json"]));
    expect(names((await found("m/", null, "m/model_quantized.onnx")).files)).toEqual(["model_quantized.onnx"]);
  });

  it("of an encoder-decoder are two", async () => {
    const all = ["t5/onnx/decoder_model_merged.onnx", "t5/onnx/decoder_model.onnx", "t5/onnx/encoder_model.onnx"];
    expect(names((await found("t5/", null, ...all)).files)).toEqual(["onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"]);
    expect(names((await found("t5/", null, ...all.slice(1))).files)).toEqual(["onnx/encoder_model.onnx", "onnx/decoder_model.onnx"]);
    const own = ["t5/onnx/decoder_with_past_model.onnx", "t5/onnx/encoder_model.onnx"];
    expect(names((await found("t5/", null, ...own)).files)).toEqual(["onnx/encoder_model.onnx", "onnx/decoder_with_past_model.onnx"]);
    const both = ["encoder_model_quantized.onnx", "decoder_model_merged_quantized.onnx"];
    expect(names((await found("t5/", null, ...both.map((file) => `t5/onnx/${file}`))).files)).toEqual(both.map((file) => `onnx/${file}`));
    expect(names((await found("llm/", null, "llm/onnx/decoder_model_merged.onnx")).files)).toEqual(["onnx/decoder_model_merged.onnx"]);
  });

  it("are taken before other weights where one is asked for", async () => {
    const { files } = await found("m/", "onnx/model_q4.onnx", "m/model.safetensors");
    expect(names(files)).toEqual(["onnx/model_q4.onnx"]);
  });

  it("by their own URL have what is beside them, or above the folder onnx", async () => {
    const beside = await found("tagger/tagger.onnx?v=2", null);
    expect(beside.files).toMatchObject([{ file: "tagger.onnx", urls: ["https://x.example/tagger/tagger.onnx?v=2"] }]);
    const tokenizer = (of: typeof beside) => of.optional.find(({ file }) => file === "tokenizer.json")?.urls[0];
    expect(tokenizer(beside)).toBe("https://x.example/tagger/tokenizer.json");
    const inside = await found("m/onnx/model_q4.onnx", null);
    expect(names(inside.files)).toEqual(["onnx/model_q4.onnx"]);
    expect(tokenizer(inside)).toBe("https://x.example/m/tokenizer.json");
  });
});

describe("what a caller gives", () => {
  const options = { baseUrl: "https://host.example/app" };
  it.each<[string, Parameters<typeof plainSource>[0], PlainSource]>([
    ["a name", "smollm2", { kind: "name", name: "smollm2", baseUrl: "https://host.example/app/" }],
    ["a URL", "https://x.example/m/", { kind: "url", url: "https://x.example/m/" }],
    ["a URL object", new URL("https://x.example/m.gguf"), { kind: "url", url: "https://x.example/m.gguf" }],
    [
      "a list with a base",
      { name: "n", baseUrl: "https://x.example/n", files: [{ name: "config.json", bytes: 3 }] },
      { kind: "listed", name: "n", baseUrl: "https://x.example/n/", files: [{ name: "config.json", bytes: 3 }] },
    ],
  ])("as %s", (_what, source, plain) => {
    expect(plainSource(source, options)).toEqual(plain);
  });

  it("as files of one folder loses the folder's name", () => {
    const file = (name: string): { name: string; data: ArrayBuffer } => ({ name, data: new ArrayBuffer(1) });
    const plain = plainSource([file("m/config.json"), file("m/1_Pooling/config.json")], options);
    expect(plain.kind === "files" && plain.files.map(({ name }) => name)).toEqual(["config.json", "1_Pooling/config.json"]);
  });

  it.each<[string, Parameters<typeof plainSource>[0]]>([
    ["nothing", ""],
    ["no files", []],
    ["a relative URL without a page", "./m.gguf"],
  ])("as %s is refused", (_what, source) => {
    expect(() => plainSource(source, options)).toThrow(expect.objectContaining({ code: "bad_argument" }));
  });
});
