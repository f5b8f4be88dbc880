/**
 * Files in the Cache API, for browsers without a file system: pieces `…/KEY/0`, `…/KEY/1`, …, and a record under `…/KEY`
 * once the file was verified (`…/KEY/partial` until then). Reading goes through blobs of the pieces, which stay on disk.
 */
import { type FileRecord, type PartialFile, parseRecord, type Store, type StoredFile } from "./store.js";

const CACHE = "fewbit";
/** A reserved name: nothing is ever fetched from it. */
const ROOT = "https://fewbit.invalid/";
const PIECE_BYTES = 8 << 20;

/** The store, or `null` where the browser has none or grants none. */
export async function openCacheApi(): Promise<Store | null> {
  if (typeof caches === "undefined") return null;
  try {
    return new CacheApiStore(await caches.open(CACHE));
  } catch {
    return null;
  }
}

/** A store over any `Cache`. */
export class CacheApiStore implements Store {
  readonly kind = "cache-api";
  readonly #cache: Cache;

  constructor(cache: Cache) {
    this.#cache = cache;
  }

  async get(key: string): Promise<{ record: FileRecord; blob: Blob } | null> {
    const record = await readRecord(this.#cache, key);
    if (!record) return null;
    const blob = new Blob(await readPieces(this.#cache, key));
    return record.size !== null && record.size !== blob.size ? null : { record, blob };
  }

  async begin(key: string): Promise<PartialFile> {
    const pieces = await readPieces(this.#cache, key);
    return new CacheApiPartial(this.#cache, key, await readRecord(this.#cache, `${key}/partial`), pieces);
  }

  async list(): Promise<StoredFile[]> {
    const files: StoredFile[] = [];
    for (const { url } of await this.#cache.keys()) {
      const match = /^https:\/\/fewbit\.invalid\/([^/]+)(\/partial)?$/.exec(url);
      const key = match?.[1];
      if (!match || key === undefined) continue;
      const complete = match[2] === undefined;
      const record = await readRecord(this.#cache, complete ? key : `${key}/partial`);
      if (!record) continue;
      const bytes = (await readPieces(this.#cache, key)).reduce((sum, piece) => sum + piece.size, 0);
      files.push({ key, record, bytes, complete });
    }
    return files;
  }

  async delete(key: string): Promise<void> {
    await removeAll(this.#cache, key);
  }

  async clear(): Promise<void> {
    for (const request of await this.#cache.keys()) await this.#cache.delete(request);
  }
}

class CacheApiPartial implements PartialFile {
  readonly record: FileRecord | null;
  readonly #cache: Cache;
  readonly #key: string;
  readonly #pieces: Blob[];
  /** What does not fill a piece yet. */
  #tail: Uint8Array<ArrayBuffer>[] = [];
  #tailBytes = 0;
  #storedBytes: number;

  constructor(cache: Cache, key: string, record: FileRecord | null, pieces: Blob[]) {
    this.#cache = cache;
    this.#key = key;
    this.record = record;
    this.#pieces = pieces;
    this.#storedBytes = pieces.reduce((sum, piece) => sum + piece.size, 0);
  }

  get size(): number {
    return this.#storedBytes + this.#tailBytes;
  }

  async describe(record: FileRecord): Promise<void> {
    await writeRecord(this.#cache, `${this.#key}/partial`, record);
  }

  async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#tail.push(bytes.slice());
    this.#tailBytes += bytes.length;
    if (this.#tailBytes >= PIECE_BYTES) await this.#flush();
  }

  async *read(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (const piece of this.#pieces) yield new Uint8Array(await piece.arrayBuffer());
    yield* this.#tail;
  }

  async truncate(): Promise<void> {
    this.#pieces.length = 0;
    this.#tail = [];
    this.#tailBytes = 0;
    this.#storedBytes = 0;
    await removeAll(this.#cache, this.#key);
  }

  async commit(record: FileRecord): Promise<Blob> {
    await this.#flush();
    await writeRecord(this.#cache, this.#key, record);
    await this.#cache.delete(`${ROOT}${this.#key}/partial`);
    return new Blob(this.#pieces);
  }

  close(): Promise<void> {
    return this.#flush();
  }

  async discard(): Promise<void> {
    await this.truncate();
  }

  async #flush(): Promise<void> {
    if (this.#tailBytes === 0) return;
    const name = `${ROOT}${this.#key}/${this.#pieces.length}`;
    const piece = new Blob(this.#tail);
    await this.#cache.put(name, new Response(piece));
    // WebKitGTK at times does not find what it has just stored; the file is then complete in memory, and
    // fetched again the next time.
    const stored = await this.#cache.match(name);
    this.#pieces.push(stored ? await stored.blob() : piece);
    this.#storedBytes += this.#tailBytes;
    this.#tail = [];
    this.#tailBytes = 0;
  }
}

async function readPieces(cache: Cache, key: string): Promise<Blob[]> {
  const pieces: Blob[] = [];
  for (;;) {
    const piece = await cache.match(`${ROOT}${key}/${pieces.length}`);
    if (!piece) return pieces;
    pieces.push(await piece.blob());
  }
}

async function readRecord(cache: Cache, name: string): Promise<FileRecord | null> {
  const found = await cache.match(`${ROOT}${name}`);
  return found ? parseRecord(await found.text()) : null;
}

async function writeRecord(cache: Cache, name: string, record: FileRecord): Promise<void> {
  await cache.put(`${ROOT}${name}`, new Response(JSON.stringify(record), { headers: { "Content-Type": "application/json" } }));
}

async function removeAll(cache: Cache, key: string): Promise<void> {
  await cache.delete(`${ROOT}${key}`);
  await cache.delete(`${ROOT}${key}/partial`);
  for (let i = 0; await cache.delete(`${ROOT}${key}/${i}`); i += 1);
}
