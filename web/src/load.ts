/**
 * Loading a model: a worker, a source, and what the caller wants of it.
 */
import { WorkerClient } from "./client.js";
import { asFewbitError, FewbitError, throwIfAborted } from "./error.js";
import { isRelative } from "./manifest.js";
import { Model } from "./model.js";
import type { PlainLoadOptions, PlainOnnxOptions, PlainSource } from "./protocol.js";
import { spawnWorker } from "./spawn.js";
import type { ListedModel, LoadOptions, ModelSource, NamedFile, OnnxOptions } from "./types.js";

/**
 * Loads a model into a worker of its own.
 *
 * @example
 * const model = await load("smollm2-135m-instruct", {
 *   backend: "auto",
 *   onProgress: ({ phase, loaded, total }) => console.log(phase, loaded, total),
 *   signal: controller.signal,
 * });
 *
 * @throws {FewbitError} with a `code`; see {@link FewbitErrorCode}
 */
export async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress } = options;
  throwIfAborted(signal);
  const plain = plainOptions(options);
  const args = { source: plainSource(source, options), options: plain };
  const client = new WorkerClient(spawn(plain.assetsUrl));
  try {
    const info = await client.call("load", args, { signal, onEvent: onProgress });
    return new Model(client, info);
  } catch (error) {
    // A worker without a model is of no use, and its memory would stay.
    client.close(new FewbitError("disposed", "loading failed"));
    throw error;
  }
}

function spawn(assetsUrl: string | null): Worker {
  try {
    return spawnWorker(assetsUrl);
  } catch (error) {
    if (error instanceof FewbitError) throw error;
    const { message } = asFewbitError(error);
    throw new FewbitError("worker", `the worker could not be started: ${message}`, { cause: error });
  }
}

function plainOptions(options: LoadOptions): PlainLoadOptions {
  const count = (name: string, value: number | undefined): number | null => {
    if (value === undefined) return null;
    if (!Number.isSafeInteger(value) || value < 1) throw new FewbitError("bad_argument", `${name}: ${value} is no count`);
    return value;
  };
  return {
    backend: options.backend ?? "auto",
    webnn: { ...options.webnn },
    assetsUrl: options.assetsUrl === undefined ? null : folderUrl(options.assetsUrl),
    cache: options.cache ?? "auto",
    threads: count("threads", options.threads),
    contextLength: count("contextLength", options.contextLength),
    activations: options.activations ?? "auto",
    variant: options.variant ?? null,
    headers: { ...options.headers },
    onnx: options.onnx ? onnxOptions(options.onnx) : null,
  };
}

function onnxOptions({ file, sizes, values, asItIs }: OnnxOptions): PlainOnnxOptions {
  for (const [name, size] of Object.entries(sizes ?? {})) {
    if (!Number.isSafeInteger(size) || size < 0) throw new FewbitError("bad_argument", `onnx.sizes: ${name}: ${size} is no size`);
  }
  if (file !== undefined && !(file.endsWith(".onnx") && isRelative(file))) {
    throw new FewbitError("bad_argument", `onnx.file: ${JSON.stringify(file)} is no path of an ONNX file in the folder`);
  }
  return { file: file ?? null, sizes: { ...sizes }, values: { ...values }, asItIs: asItIs ?? false };
}

/** The source as a message can carry it. */
export function plainSource(source: ModelSource, options: Pick<LoadOptions, "baseUrl">): PlainSource {
  if (typeof source === "string") {
    if (/^[a-z][a-z0-9+.-]*:|^\.{0,2}\//i.test(source)) return { kind: "url", url: absolute(source) };
    if (source === "") throw new FewbitError("bad_argument", "the model has no name");
    return { kind: "name", name: source, baseUrl: folderUrl(options.baseUrl ?? "/") };
  }
  if (source instanceof URL) return { kind: "url", url: source.href };
  if (source instanceof ArrayBuffer) return { kind: "files", files: [{ name: "model.gguf", data: new Blob([source]) }] };
  if (source instanceof Blob) return { kind: "files", files: [{ name: nameOf(source) ?? "model.gguf", data: source }] };
  if (isListed(source)) {
    return { kind: "listed", name: source.name, baseUrl: folderUrl(source.baseUrl), files: source.files.map((file) => ({ ...file })) };
  }
  const files = Array.from(source as ArrayLike<NamedFile>, (file) => {
    if (file instanceof Blob) return { name: nameOf(file) ?? "model.gguf", data: file };
    return { name: file.name, data: file.data instanceof Blob ? file.data : new Blob([file.data]) };
  });
  if (files.length === 0) throw new FewbitError("bad_argument", "no files were given");
  return { kind: "files", files: withoutCommonFolder(files) };
}

function isListed(source: readonly NamedFile[] | FileList | ListedModel): source is ListedModel {
  return "baseUrl" in source;
}

/** A file's path in the folder that a user chose, or its plain name. */
function nameOf(blob: Blob): string | null {
  if (typeof File === "undefined" || !(blob instanceof File)) return null;
  return blob.webkitRelativePath || blob.name;
}

/** `model/config.json`, `model/1_Pooling/config.json` become `config.json`, `1_Pooling/config.json`. */
function withoutCommonFolder(files: { name: string; data: Blob }[]): { name: string; data: Blob }[] {
  const folder = /^[^/]+\//.exec(files[0]?.name ?? "")?.[0];
  if (folder === undefined || !files.every(({ name }) => name.startsWith(folder))) return files;
  return files.map(({ name, data }) => ({ name: name.slice(folder.length), data }));
}

function folderUrl(url: string | URL): string {
  const href = absolute(url);
  return href.endsWith("/") ? href : `${href}/`;
}

function absolute(url: string | URL): string {
  // A page has `document`, a worker that loads models of its own has `location`.
  const base = typeof document === "undefined" ? globalThis.location?.href : document.baseURI;
  try {
    return new URL(url, base).href;
  } catch (error) {
    throw new FewbitError("bad_argument", `${String(url)} is no URL${base ? "" : " (and there is no page to resolve it against)"}`, { cause: error });
  }
}
