/**
 * What every place for downloaded files can do. A file is written as a *partial* and gets its final name only
 * by `commit`, after it was verified; a partial that was left behind can be resumed.
 */
import type { CacheKind } from "../types.js";

/** What identifies a version of a file on a server. */
export interface Validator {
  readonly etag: string | null;
  readonly modified: string | null;
}

/** What is known of a stored file. */
export interface FileRecord extends Validator {
  readonly model: string | null;
  readonly file: string;
  readonly url: string;
  /** Bytes of the whole file; `null` while a server has not told. */
  readonly size: number | null;
  readonly sha256: string | null;
  readonly stored: number;
}

/** A file that is being written. One writer at a time: callers hold a lock. */
export interface PartialFile {
  /** What was known when it was begun; `null` for a new one. */
  readonly record: FileRecord | null;
  /** Bytes written so far. */
  readonly size: number;
  /** Remembers what the file is to become, for a later resumption. */
  describe(record: FileRecord): Promise<void>;
  append(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** What was written so far, in pieces. */
  read(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Starts over. */
  truncate(): Promise<void>;
  /** Gives the file its final name. */
  commit(record: FileRecord): Promise<Blob>;
  /** Stops writing; what is there stays for a resumption. */
  close(): Promise<void>;
  /** Stops writing and removes what is there. */
  discard(): Promise<void>;
}

/** A file in a store, as listed. */
export interface StoredFile {
  readonly key: string;
  readonly record: FileRecord;
  readonly bytes: number;
  readonly complete: boolean;
}

/** A place for downloaded files. */
export interface Store {
  readonly kind: CacheKind;
  /** A verified file. */
  get(key: string): Promise<{ readonly record: FileRecord; readonly blob: Blob } | null>;
  /** Opens a file for writing, at the end of what an earlier try left. */
  begin(key: string): Promise<PartialFile>;
  list(): Promise<StoredFile[]>;
  /** Removes a file, verified or partial. */
  delete(key: string): Promise<void>;
  /** Removes everything, also what `list` cannot make sense of. */
  clear(): Promise<void>;
}

/**
 * The name under which a file is stored: its sha256 if that is known, so that one file from several places is stored once;
 * else its URL, made fit for a file name, with a hash because such names are cut.
 */
export function storageKey(url: string, sha256: string | null): string {
  if (sha256 !== null) return `sha256-${sha256.toLowerCase()}`;
  const readable = url.replace(/^[a-z]+:\/\//, "").replace(/[^A-Za-z0-9._-]+/g, "_").slice(-80);
  return `url-${fnv1a(url, 0x811c9dc5)}${fnv1a(url, 0x01000193)}-${readable}`;
}

function fnv1a(text: string, seed: number): string {
  let hash = seed >>> 0;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** A record as it was written as JSON, or `null` if it does not look like one. */
export function parseRecord(json: string): FileRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { model, file, url, size, sha256, stored, etag, modified } = value as Record<string, unknown>;
  const text = (x: unknown): x is string | null => x === null || typeof x === "string";
  const number = (x: unknown): x is number => typeof x === "number" && Number.isFinite(x) && x >= 0;
  if (typeof file !== "string" || typeof url !== "string" || !number(stored)) return null;
  if (!(size === null || number(size)) || !text(model) || !text(sha256) || !text(etag) || !text(modified)) return null;
  return { model, file, url, size, sha256, stored, etag, modified };
}
