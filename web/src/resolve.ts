/**
 * From what a caller names to the files that make up the model.
 */
import { FewbitError } from "./error.js";
import { findModel, isRelative, type ManifestModel, parseManifest } from "./manifest.js";
import { MODELS } from "./models.js";
import type { PlainSource } from "./protocol.js";
import type { Wanted } from "./cache/download.js";

/** A file that a folder may have. */
export interface Optional extends Wanted {
  /** The file beside which this one is of no use. */
  readonly unless?: string;
}

/** A model's files, before any is fetched. */
export interface Resolution {
  readonly name: string;
  readonly files: readonly Wanted[];
  /** Files that a folder may have; without one the model still loads. */
  readonly optional: readonly Optional[];
}

const TOKENIZER = "tokenizer.json";
/** What a folder in Hugging Face's layout holds beside `config.json` and the weights. */
const OPTIONAL = [
  TOKENIZER,
  "tokenizer_config.json",
  "special_tokens_map.json",
  "generation_config.json",
  "chat_template.jinja",
  "preprocessor_config.json",
  "processor_config.json",
  "modules.json",
  "sentence_bert_config.json",
  "1_Pooling/config.json",
];
/** The tokens of CTC models, which have no tokenizer; beside one it would be megabytes of the same again. */
const LETTERS = "vocab.json";
const SINGLE = /\.(gguf|safetensors|bin|pt|pth|onnx)$/;
/** The index of shards, and the one file where there are none: safetensors, else PyTorch's archives, else CTranslate2's. */
const INDEX = "model.safetensors.index.json";
const SAFETENSORS = "model.safetensors";
const PYTORCH_INDEX = "pytorch_model.bin.index.json";
const PYTORCH = "pytorch_model.bin";
const CTRANSLATE2 = "model.bin";
/** The files of an encoder-decoder: with a cache before without, and in one file before several. */
const ONNX_PARTS: readonly (readonly string[])[] = [
  ["encoder_model", "decoder_model_merged"],
  ["encoder_model", "decoder_with_past_model", "decoder_model"],
  ["encoder_model", "decoder_with_past_model"],
  ["encoder_model", "decoder_model"],
  ["encoder", "decoder"],
];
/**
 * What a folder's ONNX files are called, the first that are there being taken, in a folder `onnx` or beside the config: those of an
 * encoder-decoder, else the whole model, the more exact before the smaller. `fewbit_onnx::open` chooses by the same list.
 */
const ONNX: readonly (readonly string[])[] = [
  ...ONNX_PARTS,
  ...["model", "model_fp16", "model_quantized", "model_int8", "model_q4", "model_q4f16", "decoder_model_merged", "decoder_with_past_model"].map((stem) => [stem]),
  ...["_fp16", "_quantized", "_int8", "_q4", "_q4f16"].flatMap((variant) => ONNX_PARTS.map((stems) => stems.map((stem) => stem + variant))),
];
const ONNX_FOLDERS = ["onnx/", ""];
/** Where the weights of a larger ONNX file are, beside it. */
const ONNX_DATA = ["_data", ".data"];
const MAX_SHARDS = 1000;

/** Whether there is something to download; where nobody can tell, `true`. */
export type Exists = (url: string) => Promise<boolean>;

/** Gets a small text, `null` where there is none (404); used for manifests and indexes. */
export type GetText = (url: string) => Promise<string | null>;

/**
 * The files of a model that is not given as files.
 *
 * @throws {FewbitError} `not_found` naming the models there are, `bad_model` for a damaged manifest or index
 */
export async function resolve(
  source: Exclude<PlainSource, { kind: "files" }>,
  getText: GetText,
  exists: Exists = async () => true,
  onnx: string | null = null,
): Promise<Resolution> {
  switch (source.kind) {
    case "name":
      return byName(source.name, source.baseUrl, getText);
    case "listed":
      return listed(source);
    case "url":
      return byUrl(source.url, getText, exists, onnx);
  }
}

async function byName(name: string, baseUrl: string, getText: GetText): Promise<Resolution> {
  const base = new URL("models/", baseUrl).href;
  const hosted = await hostModels(new URL("manifest.json", base).href, getText);
  const builtIn = parseManifest(MODELS, "the built-in manifest");
  const onHost = findModel(hosted, name);
  const model = onHost ?? findModel(builtIn, name);
  if (!model) {
    const names = [...new Set([...hosted, ...builtIn].map((known) => known.name))].join(", ");
    throw new FewbitError("not_found", `no model is named "${name}"; there are ${names}`, { details: { model: name } });
  }
  const bases = [...(onHost ? [`${base}${encodeURIComponent(model.name)}/`] : []), ...model.bases];
  return { name: model.name, files: model.files.map((file) => wantedOf(model.name, file, bases)), optional: [] };
}

/** The models of a fewbit host, none where there is no such host. */
async function hostModels(url: string, getText: GetText): Promise<ManifestModel[]> {
  const text = await getText(url).catch((error: unknown) => {
    if (error instanceof FewbitError && error.code === "aborted") throw error;
    return null;
  });
  // A site without a host may answer any path with its front page.
  return text?.trimStart().startsWith("{") ? parseManifest(parseJson(text, url), url) : [];
}

function wantedOf(model: string, file: { name: string; bytes: number; sha256: string }, bases: readonly string[]): Wanted {
  return {
    model,
    file: file.name,
    urls: bases.map((base) => new URL(file.name, base).href),
    size: file.bytes,
    sha256: file.sha256,
  };
}

function listed(source: Extract<PlainSource, { kind: "listed" }>): Resolution {
  const files = source.files.map(({ name, bytes, sha256 }): Wanted => {
    if (!isRelative(name)) throw new FewbitError("bad_argument", `bad file name ${JSON.stringify(name)}`);
    return {
      model: source.name,
      file: name,
      urls: [new URL(name, source.baseUrl).href],
      size: bytes ?? null,
      sha256: sha256 ?? null,
    };
  });
  return { name: source.name, files, optional: [] };
}

async function byUrl(url: string, getText: GetText, exists: Exists, onnx: string | null): Promise<Resolution> {
  const path = new URL(url).pathname;
  const plain = (file: string, at: string): Wanted => ({ model: null, file, urls: [at], size: null, sha256: null });
  if (SINGLE.test(path)) {
    const file = decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
    if (path.endsWith(".gguf")) return { name: file, files: [plain(file, url)], optional: [] };
    if (path.endsWith(".onnx")) {
      // Its tokenizer is beside it, or in the folder above a folder `onnx`.
      const [above, inside] = path.split("/").at(-2) === "onnx" ? ["../", `onnx/${file}`] : ["./", file];
      const found = inFolder(new URL(above, url).href, [], [inside], file);
      return { ...found, files: [plain(inside, url)] };
    }
    throw new FewbitError("bad_argument", `${url}: such weights need their config.json; give the URL of the folder, with a / at its end`);
  }
  const folder = url.endsWith("/") ? url : `${url}/`;
  const name = decodeURIComponent(folder.split("/").at(-2) ?? "") || folder;
  const weights = onnx === null ? await weightsOf(folder, getText, exists) : [onnx];
  return weights[0]?.endsWith(".onnx") ? inFolder(folder, [], weights, name) : inFolder(folder, ["config.json"], weights, name);
}

/** Weights and the files beside them, of which those `needed` must be there. */
function inFolder(folder: string, needed: readonly string[], weights: readonly string[], name: string): Resolution {
  const at = (file: string): Wanted => ({ model: null, file, urls: [new URL(file, folder).href], size: null, sha256: null });
  const onnx = weights.filter((file) => file.endsWith(".onnx"));
  const data = onnx.flatMap((file) => ONNX_DATA.map((ending) => file + ending));
  const beside = ["config.json", ...OPTIONAL].filter((file) => !needed.includes(file));
  return {
    name,
    files: [...needed, ...weights].map(at),
    optional: [...data, ...beside].map(at).concat({ ...at(LETTERS), unless: TOKENIZER } as Optional),
  };
}

/** The files of a folder's weights. */
async function weightsOf(folder: string, getText: GetText, exists: Exists): Promise<string[]> {
  const shards = async (name: string): Promise<string[] | null> => {
    const index = await getText(new URL(name, folder).href);
    return index === null ? null : [name, ...shardsOf(name, parseJson(index, name))];
  };
  const sharded = await shards(INDEX);
  if (sharded) return sharded;
  if (await exists(new URL(SAFETENSORS, folder).href)) return [SAFETENSORS];
  const pickled = await shards(PYTORCH_INDEX);
  if (pickled) return pickled;
  for (const single of [PYTORCH, CTRANSLATE2]) {
    if (await exists(new URL(single, folder).href)) return [single];
  }
  const known = new Map<string, Promise<boolean>>();
  const isThere = (file: string) => {
    const asked = known.get(file) ?? exists(new URL(file, folder).href);
    known.set(file, asked);
    return asked;
  };
  for (const stems of ONNX) {
    for (const place of ONNX_FOLDERS) {
      const files = stems.map((stem) => `${place}${stem}.onnx`);
      if (await every(files, isThere)) return files;
    }
  }
  // What is missing is named by what most folders have.
  return [SAFETENSORS];
}

/** Whether `holds` of all, asked one after another until one fails. */
async function every<T>(all: readonly T[], holds: (one: T) => Promise<boolean>): Promise<boolean> {
  for (const one of all) if (!(await holds(one))) return false;
  return true;
}

/** The files that a sharded checkpoint's index, which is called `name`, names. */
function shardsOf(name: string, index: unknown): string[] {
  const map = typeof index === "object" && index !== null ? (index as Record<string, unknown>)["weight_map"] : undefined;
  if (typeof map !== "object" || map === null) throw new FewbitError("bad_model", `${name}: it has no weight_map`);
  const shards = [...new Set(Object.values(map))];
  if (shards.length > MAX_SHARDS) throw new FewbitError("bad_model", `${name}: it names ${shards.length} files`);
  return shards.map((shard: unknown) => {
    if (typeof shard !== "string" || !isRelative(shard)) {
      throw new FewbitError("bad_model", `${name}: bad file name ${JSON.stringify(shard)}`);
    }
    return shard;
  });
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FewbitError("bad_model", `${where} is no JSON: ${(error as Error).message}`, { cause: error });
  }
}
