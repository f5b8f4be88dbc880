/**
 * Files in memory, where a browser stores nothing: they last as long as the worker, and a broken download is still resumed.
 */
import type { FileRecord, PartialFile, Store, StoredFile } from "./store.js";

interface Entry {
  record: FileRecord | null;
  pieces: Uint8Array<ArrayBuffer>[];
  bytes: number;
  /** The verified file. */
  blob: Blob | null;
}

/** A store that forgets. */
export class MemoryStore implements Store {
  readonly kind = "memory";
  readonly #entries = new Map<string, Entry>();

  async get(key: string): Promise<{ record: FileRecord; blob: Blob } | null> {
    const entry = this.#entries.get(key);
    return entry?.blob && entry.record ? { record: entry.record, blob: entry.blob } : null;
  }

  async begin(key: string): Promise<PartialFile> {
    let entry = this.#entries.get(key);
    if (!entry || entry.blob) {
      entry = { record: null, pieces: [], bytes: 0, blob: null };
      this.#entries.set(key, entry);
    }
    return new MemoryPartial(entry, () => this.#entries.delete(key));
  }

  async list(): Promise<StoredFile[]> {
    return [...this.#entries].flatMap(([key, { record, bytes, blob }]) =>
      record ? [{ key, record, bytes, complete: blob !== null }] : [],
    );
  }

  async delete(key: string): Promise<void> {
    this.#entries.delete(key);
  }

  async clear(): Promise<void> {
    this.#entries.clear();
  }
}

class MemoryPartial implements PartialFile {
  readonly record: FileRecord | null;
  readonly #entry: Entry;
  readonly #remove: () => void;

  constructor(entry: Entry, remove: () => void) {
    this.record = entry.record;
    this.#entry = entry;
    this.#remove = remove;
  }

  get size(): number {
    return this.#entry.bytes;
  }

  async describe(record: FileRecord): Promise<void> {
    this.#entry.record = record;
  }

  async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#entry.pieces.push(bytes.slice());
    this.#entry.bytes += bytes.length;
  }

  async *read(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    yield* this.#entry.pieces;
  }

  async truncate(): Promise<void> {
    this.#entry.pieces = [];
    this.#entry.bytes = 0;
  }

  async commit(record: FileRecord): Promise<Blob> {
    const blob = new Blob(this.#entry.pieces);
    // The blob has copied them, and a browser may put it on disk.
    this.#entry.pieces = [];
    this.#entry.record = record;
    this.#entry.blob = blob;
    return blob;
  }

  async close(): Promise<void> {}

  async discard(): Promise<void> {
    this.#remove();
  }
}
