/**
 * One file from network to store: streamed, resumed where it broke off, its sha256 checked on the way, and under its final
 * name only when all of that went well. Two tabs that want the same file at once download it once.
 */
import { abortError, asFewbitError, FewbitError, throwIfAborted } from "../error.js";
import type { Hasher } from "./hash.js";
import { type FileRecord, type PartialFile, type Store, storageKey } from "./store.js";

/** A file that a model needs. */
export interface Wanted {
  readonly model: string | null;
  readonly file: string;
  /** Where it is to be had, best first. */
  readonly urls: readonly string[];
  readonly size: number | null;
  readonly sha256: string | null;
}

/** How far one file has come. */
export interface FileProgress {
  readonly phase: "download" | "verify";
  readonly loaded: number;
  readonly total: number | null;
  /** Bytes that were there before this call. */
  readonly cached: number;
}

/** What a download works with. Everything that reaches outside is passed in. */
export interface DownloadContext {
  readonly store: Store;
  readonly fetch: typeof fetch;
  readonly createHasher: () => Promise<Hasher>;
  readonly onProgress: (progress: FileProgress) => void;
  readonly signal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Runs a task alone among all tabs; without it tabs do not know of each other. */
  readonly locked?: <T>(name: string, signal: AbortSignal | undefined, task: () => Promise<T>) => Promise<T>;
  /** Bytes that the store may still grow by, if the browser tells. */
  readonly available?: () => Promise<number | null>;
  /** Milliseconds without a byte after which a connection counts as broken. Default 30,000. */
  readonly stallMs?: number;
  /** Milliseconds before each new try in a row that brought no byte. Default 500, 1000, 2000, 4000. */
  readonly retryMs?: readonly number[];
}

const STALL_MS = 30_000;
const RETRY_MS = [500, 1000, 2000, 4000];
/** Statuses that a server gives for a moment only. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * The file's bytes, from the store if it is there, else downloaded into it.
 *
 * @throws {FewbitError} `not_found`, `http`, `network`, `checksum`, `quota`, `cache`, `aborted`; each names the file.
 */
export async function obtain(wanted: Wanted, context: DownloadContext): Promise<Blob> {
  const [first] = wanted.urls;
  if (first === undefined) throw new FewbitError("not_found", `${wanted.file}: no source is known`);
  const key = storageKey(first, wanted.sha256);
  const locked = context.locked ?? ((_name, _signal, task) => task());
  throwIfAborted(context.signal);
  return locked(`fewbit:${context.store.kind}:${key}`, context.signal, async () => {
    try {
      const stored = await fromStore(key, wanted, context);
      if (stored) return stored;
      return await download(key, wanted, context);
    } catch (error) {
      if (context.signal?.aborted) throw abortError(context.signal);
      throw named(error, wanted);
    }
  });
}

/** As {@link obtain}; `null` if no source has the file. */
export async function obtainIfThere(wanted: Wanted, context: DownloadContext): Promise<Blob | null> {
  try {
    return await obtain(wanted, context);
  } catch (error) {
    if (error instanceof FewbitError && error.code === "not_found") return null;
    throw error;
  }
}

async function fromStore(key: string, wanted: Wanted, context: DownloadContext): Promise<Blob | null> {
  const stored = await context.store.get(key);
  if (!stored) return null;
  const { record, blob } = stored;
  // Two URLs may share a key only by a hash collision.
  const same = wanted.sha256 !== null || wanted.urls.includes(record.url);
  if (!same || (wanted.sha256 === null && (await isOutdated(record, context)))) {
    await context.store.delete(key);
    return null;
  }
  context.onProgress({ phase: "download", loaded: blob.size, total: blob.size, cached: blob.size });
  return blob;
}

/** Whether the server has another version now. Without a network the stored one will do. */
async function isOutdated(record: FileRecord, context: DownloadContext): Promise<boolean> {
  let answer: Response;
  try {
    answer = await context.fetch(record.url, {
      method: "HEAD",
      headers: { ...context.headers },
      cache: "no-cache",
      ...(context.signal ? { signal: context.signal } : {}),
    });
  } catch {
    throwIfAborted(context.signal);
    return false;
  }
  if (answer.status === 404 || answer.status === 410) return true;
  if (!answer.ok) return false;
  const { etag, modified } = validatorOf(answer);
  if (etag !== null && record.etag !== null) return etag !== record.etag;
  return modified !== null && record.modified !== null && modified !== record.modified;
}

async function download(key: string, wanted: Wanted, context: DownloadContext): Promise<Blob> {
  const partial = await context.store.begin(key);
  try {
    const resumed = await resumable(partial, wanted);
    const transfer = new Transfer(partial, wanted, context);
    await transfer.start();
    await transfer.fetchAll();
    let digest = transfer.digest();
    if (resumed && !matches(digest, wanted)) {
      // What was left from an earlier try may have been of another version: once more from the start.
      await transfer.restart();
      await transfer.fetchAll();
      digest = transfer.digest();
    }
    if (!matches(digest, wanted)) {
      throw new FewbitError("checksum", `${wanted.file} from ${transfer.url}: its sha256 is ${digest}, it should be ${wanted.sha256}`, {
        details: { file: wanted.file, url: transfer.url, expected: wanted.sha256, got: digest },
      });
    }
    return await partial.commit({ ...transfer.record(), size: partial.size, stored: Date.now() });
  } catch (error) {
    const { code } = asFewbitError(error);
    // Nothing of a wrong file is of use again, and a full store should not stay full.
    if (code === "checksum" || code === "quota") await partial.discard().catch(() => {});
    else await partial.close().catch(() => {});
    throw error;
  }
}

/** Whether a partial file can be gone on with; if not it is emptied. */
async function resumable(partial: PartialFile, wanted: Wanted): Promise<boolean> {
  if (partial.size === 0) return false;
  const { record } = partial;
  const known = record !== null && (wanted.sha256 !== null || record.etag !== null || record.modified !== null);
  const fits = wanted.size === null || partial.size <= wanted.size;
  const same = record !== null && (wanted.sha256 === null ? wanted.urls.includes(record.url) : record.sha256 === wanted.sha256);
  if (known && fits && same) return true;
  await partial.truncate();
  return false;
}

function matches(digest: string | null, wanted: Wanted): boolean {
  return wanted.sha256 === null || digest === wanted.sha256.toLowerCase();
}

/** A failure after which another try, or another source, may help. */
class Broken extends Error {
  readonly retry: boolean;
  readonly error: FewbitError;

  constructor(error: FewbitError, retry: boolean) {
    super(error.message);
    this.error = error;
    this.retry = retry;
  }
}

/** The state of one file's way into a partial file. */
class Transfer {
  url: string;
  readonly #partial: PartialFile;
  readonly #wanted: Wanted;
  readonly #context: DownloadContext;
  #hasher: Hasher | null = null;
  #total: number | null;
  #etag: string | null;
  #modified: string | null;
  #cached: number;

  constructor(partial: PartialFile, wanted: Wanted, context: DownloadContext) {
    this.#partial = partial;
    this.#wanted = wanted;
    this.#context = context;
    this.url = (partial.size > 0 ? partial.record?.url : undefined) ?? (wanted.urls[0] as string);
    this.#total = wanted.size ?? (partial.size > 0 ? (partial.record?.size ?? null) : null);
    this.#etag = partial.size > 0 ? (partial.record?.etag ?? null) : null;
    this.#modified = partial.size > 0 ? (partial.record?.modified ?? null) : null;
    this.#cached = partial.size;
  }

  /** Hashes what is there already. */
  async start(): Promise<void> {
    if (this.#wanted.sha256 === null) return;
    this.#hasher = await this.#context.createHasher();
    let loaded = 0;
    for await (const bytes of this.#partial.read()) {
      throwIfAborted(this.#context.signal);
      this.#hasher.update(bytes);
      loaded += bytes.length;
      this.#context.onProgress({ phase: "verify", loaded, total: this.#partial.size, cached: this.#cached });
    }
  }

  async restart(): Promise<void> {
    await this.#partial.truncate();
    this.#etag = null;
    this.#modified = null;
    this.#cached = 0;
    this.#total = this.#wanted.size;
    if (this.#wanted.sha256 !== null) this.#hasher = await this.#context.createHasher();
  }

  digest(): string | null {
    const digest = this.#hasher?.digest() ?? null;
    this.#hasher = null;
    return digest;
  }

  record(): FileRecord {
    return {
      model: this.#wanted.model,
      file: this.#wanted.file,
      url: this.url,
      size: this.#total,
      sha256: this.#wanted.sha256,
      stored: Date.now(),
      etag: this.#etag,
      modified: this.#modified,
    };
  }

  /** Brings the rest of the file, source by source, try by try. */
  async fetchAll(): Promise<void> {
    const retryMs = this.#context.retryMs ?? RETRY_MS;
    // Where a resumed file came from goes first.
    const urls = [...new Set([this.url, ...this.#wanted.urls])].filter((url) => this.#wanted.urls.includes(url));
    let last: FewbitError | null = null;
    let allMissing = true;
    // Only a new high counts as progress: a server that sends the same bytes again and again must not keep us here.
    let most = this.#partial.size;
    for (const url of urls) {
      let failures = 0;
      for (;;) {
        try {
          if (this.#total === null || this.#partial.size < this.#total) await this.#fetchOnce(url);
          return;
        } catch (thrown) {
          throwIfAborted(this.#context.signal);
          if (!(thrown instanceof Broken)) throw thrown;
          last = thrown.error;
          if (last.code !== "not_found") allMissing = false;
          if (!thrown.retry) break;
          failures = this.#partial.size > most ? 0 : failures + 1;
          most = Math.max(most, this.#partial.size);
          // A source that never answered is not waited for while there is another.
          const isLast = url === urls[urls.length - 1];
          if (failures > retryMs.length || (!isLast && failures > 0 && this.#partial.size === 0)) break;
          await delay(retryMs[failures - 1] ?? retryMs[0] ?? 0, this.#context.signal);
        }
      }
    }
    if (last === null || (last.code === "not_found" && !allMissing)) {
      throw new FewbitError("network", `${this.#wanted.file}: no source could be reached`, { details: { file: this.#wanted.file } });
    }
    throw last;
  }

  /** One request; its bytes go into the partial file as they come. */
  async #fetchOnce(url: string): Promise<void> {
    const stall = new Stall(this.#context.stallMs ?? STALL_MS, this.#context.signal);
    try {
      const from = this.#partial.size;
      const response = await this.#request(url, from, stall.signal);
      const offset = await this.#accept(url, response, from);
      if (offset === null) return;
      await this.#checkSpace();
      await this.#partial.describe(this.record());
      await this.#drain(response, stall);
    } catch (error) {
      throwIfAborted(this.#context.signal);
      if (stall.fired) throw this.#broken(url, `no byte for ${this.#context.stallMs ?? STALL_MS} ms`, error);
      throw error;
    } finally {
      stall.clear();
    }
    if (this.#total !== null && this.#partial.size < this.#total) {
      throw this.#broken(url, `it ended at byte ${this.#partial.size} of ${this.#total}`);
    }
  }

  async #request(url: string, from: number, signal: AbortSignal): Promise<Response> {
    try {
      return await this.#context.fetch(url, {
        headers: { ...this.#context.headers, ...(from > 0 ? { Range: `bytes=${from}-` } : {}) },
        // The file is kept in our own store; a second copy in the HTTP cache would only take space.
        cache: "no-store",
        signal,
      });
    } catch (error) {
      throw this.#broken(url, "the connection failed", error);
    }
  }

  /** Looks at the answer's head; the offset that its bytes belong to, or `null` if the file is complete already. */
  async #accept(url: string, response: Response, from: number): Promise<number | null> {
    const { status } = response;
    const cancel = (): Promise<void> => response.body?.cancel().catch(() => {}) ?? Promise.resolve();
    if (status === 416 && from > 0) {
      await cancel();
      const total = /^bytes \*\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
      if (total !== undefined && Number(total) === from) {
        this.#checkSize(url, from);
        this.#total = from;
        return null;
      }
      await this.restart();
      throw this.#broken(url, `the server has no byte ${from} of it`);
    }
    if (status !== 200 && status !== 206) {
      await cancel();
      const missing = status === 404 || status === 410;
      const error = new FewbitError(missing ? "not_found" : "http", `${this.#wanted.file}: ${url} answered ${status} ${response.statusText}`.trim(), {
        details: { file: this.#wanted.file, url, status },
      });
      throw new Broken(error, PASSING.has(status));
    }
    const { etag, modified } = validatorOf(response);
    if (status === 206 && from > 0) {
      const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("Content-Range") ?? "");
      const changed = url === this.url && etag !== null && this.#etag !== null && etag !== this.#etag;
      const wrongPlace = range !== null && Number(range[1]) !== from;
      const otherSize = range !== null && range[2] !== "*" && this.#total !== null && Number(range[2]) !== this.#total;
      if (changed || wrongPlace || (otherSize && this.#wanted.size === null)) {
        await cancel();
        await this.restart();
        throw this.#broken(url, "the file has changed on the server");
      }
      if (range && range[2] !== "*") this.#total ??= Number(range[2]);
    } else {
      // The server sends all of it, asked for or not.
      if (from > 0) await this.restart();
      const encoded = response.headers.get("Content-Encoding") ?? "identity";
      const length = response.headers.get("Content-Length");
      if (this.#wanted.size === null) this.#total = length !== null && encoded === "identity" ? Number(length) : null;
    }
    this.url = url;
    this.#etag = etag;
    this.#modified = modified;
    return this.#partial.size;
  }

  /** Refuses a file that is longer or shorter than it should be. */
  #checkSize(url: string, got: number): void {
    const { size, file } = this.#wanted;
    if (size === null || size === got) return;
    throw new FewbitError("checksum", `${file}: ${url} has ${got > size ? "more than the" : `${got} instead of the`} ${size} bytes it should have`, {
      details: { file, url, expected: size, got },
    });
  }

  /** Says beforehand if the store is too small. */
  async #checkSpace(): Promise<void> {
    if (this.#total === null) return;
    const needed = this.#total - this.#partial.size;
    const available = (await this.#context.available?.()) ?? null;
    if (available !== null && available < needed) {
      throw new FewbitError("quota", `${this.#wanted.file} needs ${needed} bytes, the browser grants this site ${available} more`, {
        details: { file: this.#wanted.file, needed, available },
      });
    }
  }

  async #drain(response: Response, stall: Stall): Promise<void> {
    if (!response.body) throw this.#broken(this.url, "an answer without a body");
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await this.#read(reader);
        if (done) return;
        stall.progress();
        throwIfAborted(this.#context.signal);
        const bytes = value as Uint8Array<ArrayBuffer>;
        const size = this.#partial.size + bytes.length;
        if (this.#wanted.size !== null && size > this.#wanted.size) this.#checkSize(this.url, size);
        await this.#partial.append(bytes);
        this.#hasher?.update(bytes);
        this.#context.onProgress({ phase: "download", loaded: this.#partial.size, total: this.#total, cached: this.#cached });
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReadableStreamReadResult<Uint8Array>> {
    try {
      return await reader.read();
    } catch (error) {
      throw this.#broken(this.url, `the connection broke at byte ${this.#partial.size}`, error);
    }
  }

  #broken(url: string, what: string, cause?: unknown): Broken {
    const error = new FewbitError("network", `${this.#wanted.file} from ${url}: ${what}`, {
      details: { file: this.#wanted.file, url, received: this.#partial.size, total: this.#total },
      ...(cause === undefined ? {} : { cause }),
    });
    return new Broken(error, true);
  }
}

/** A signal that fires with another one, or when nothing was heard for some time. */
class Stall {
  fired = false;
  readonly #controller = new AbortController();
  readonly #ms: number;
  readonly #outer: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout>;

  constructor(ms: number, outer: AbortSignal | undefined) {
    this.#ms = ms;
    this.#outer = outer;
    this.#timer = setTimeout(this.#fire, ms);
    if (outer?.aborted) this.#abort();
    outer?.addEventListener("abort", this.#abort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  progress(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#fire, this.#ms);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => this.#controller.abort(this.#outer?.reason);

  readonly #fire = (): void => {
    this.fired = true;
    this.#controller.abort();
  };
}

function validatorOf(response: Response): { etag: string | null; modified: string | null } {
  return { etag: response.headers.get("ETag"), modified: response.headers.get("Last-Modified") };
}

function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop(): void {
      clearTimeout(timer);
      reject(abortError(signal as AbortSignal));
    }
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** An error of the browser's storage, with the file's name; others as they are. */
function named(error: unknown, wanted: Wanted): FewbitError {
  if (error instanceof FewbitError) return error;
  const plain = asFewbitError(error);
  const code = plain.code === "internal" && isDomException(error) ? "cache" : plain.code;
  return new FewbitError(code, `${wanted.file}: ${plain.message}`, {
    details: { file: wanted.file, ...(wanted.size === null ? {} : { needed: wanted.size }) },
    cause: error,
  });
}

function isDomException(error: unknown): boolean {
  return typeof DOMException !== "undefined" && error instanceof DOMException;
}
