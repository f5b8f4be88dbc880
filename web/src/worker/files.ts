/**
 * A model's files, ready to be read at random: from the cache, the network, or what the user gave.
 */
import type { CacheKind, Progress } from "../types.js";
import { type DownloadContext, obtain, obtainIfThere, type Wanted } from "../cache/download.js";
import type { Hasher } from "../cache/hash.js";
import { openStore } from "../cache/index.js";
import { FewbitError, throwIfAborted } from "../error.js";
import type { PlainLoadOptions, PlainSource } from "../protocol.js";
import { resolve } from "../resolve.js";
import type { FileSource } from "./runtime.js";

/** The files, and where they are kept. */
export interface ModelFiles {
  readonly name: string;
  readonly sources: readonly FileSource[];
  readonly cache: CacheKind | "none";
}

/** Fetches what `source` names into the cache. */
export async function fetchFiles(
  source: PlainSource,
  options: Pick<PlainLoadOptions, "cache" | "headers" | "onnx">,
  createHasher: () => Promise<Hasher>,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<ModelFiles> {
  if (source.kind === "files") {
    const name = source.files[0]?.name;
    if (name === undefined) throw new FewbitError("bad_argument", "no files were given");
    return { name, sources: source.files.map(({ name: file, data }) => blobSource(file, data)), cache: "none" };
  }
  const getText = (url: string): Promise<string | null> => fetchText(url, options.headers, signal);
  const exists = (url: string): Promise<boolean> => mayExist(url, options.headers, signal);
  const resolution = await resolve(source, getText, exists, options.onnx?.file ?? null);
  const store = await openStore(options.cache);
  const totals = new Totals([...resolution.files, ...resolution.optional], onProgress);
  const context: Omit<DownloadContext, "onProgress"> = {
    store,
    fetch: (input, init) => fetch(input, init),
    createHasher,
    signal,
    headers: options.headers,
    available: () => availableBytes(store.kind),
    ...(typeof navigator !== "undefined" && navigator.locks ? { locked } : {}),
  };
  const sources: FileSource[] = [];
  for (const wanted of resolution.files) {
    const blob = await obtain(wanted, { ...context, onProgress: totals.of(wanted) });
    sources.push(blobSource(wanted.file, blob));
  }
  for (const wanted of resolution.optional) {
    if (sources.some(({ name }) => name === wanted.unless)) continue;
    const blob = await obtainIfThere(wanted, { ...context, onProgress: totals.of(wanted) });
    if (blob) sources.push(blobSource(wanted.file, blob));
  }
  return { name: resolution.name, sources, cache: store.kind };
}

/** One file's progress as part of the whole model's. */
class Totals {
  readonly #total: number | undefined;
  readonly #report: (progress: Progress) => void;
  readonly #done = new Map<string, { loaded: number; cached: number }>();
  #last = 0;

  constructor(wanted: readonly Wanted[], report: (progress: Progress) => void) {
    const sizes = wanted.map(({ size }) => size);
    this.#total = sizes.includes(null) ? undefined : sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
    this.#report = report;
  }

  of({ file }: Wanted): DownloadContext["onProgress"] {
    return ({ phase, loaded, total, cached }) => {
      // A network hands out pieces far faster than anyone can look.
      const now = performance.now();
      const whole = loaded === total;
      if (phase === "download") this.#done.set(file, { loaded, cached });
      if (!whole && now - this.#last < 50) return;
      this.#last = now;
      if (phase === "verify") {
        this.#report({ phase, file, loaded, ...(total === null ? {} : { total }) });
        return;
      }
      const all = [...this.#done.values()];
      const sum = (of: "loaded" | "cached"): number => all.reduce((bytes, done) => bytes + done[of], 0);
      const bytes = this.#total ?? (this.#done.size === 1 ? total : null);
      this.#report({ phase, file, loaded: sum("loaded"), cached: sum("cached"), ...(bytes === null ? {} : { total: bytes }) });
    };
  }
}

function blobSource(name: string, blob: Blob): FileSource {
  return {
    name,
    size: blob.size,
    read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  };
}

async function fetchText(url: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<string | null> {
  let response: Response;
  try {
    response = await fetch(url, { headers: { ...headers }, signal });
  } catch (error) {
    throwIfAborted(signal);
    throw new FewbitError("network", `${url}: ${(error as Error).message}`, { details: { url }, cause: error });
  }
  if (response.ok) return response.text();
  await response.body?.cancel();
  if (response.status === 404 || response.status === 410) return null;
  throw new FewbitError("http", `${url} answered ${response.status}`, { details: { url, status: response.status } });
}

/** `false` where the server says that there is nothing; the download tells whatever else is wrong. */
async function mayExist(url: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<boolean> {
  try {
    const { status } = await fetch(url, { method: "HEAD", headers: { ...headers }, signal });
    return status !== 404 && status !== 410;
  } catch {
    throwIfAborted(signal);
    return true;
  }
}

async function availableBytes(kind: CacheKind): Promise<number | null> {
  if (kind === "memory" || typeof navigator.storage?.estimate !== "function") return null;
  const { usage, quota } = await navigator.storage.estimate();
  return usage === undefined || quota === undefined ? null : Math.max(0, quota - usage);
}

async function locked<T>(name: string, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
  // The lock manager's promise is typed for synchronous tasks too.
  return (await navigator.locks.request(name, signal ? { signal } : {}, task)) as T;
}
