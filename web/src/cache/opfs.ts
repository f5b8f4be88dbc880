/**
 * Files in the origin private file system: `fewbit/KEY` with `KEY.json` beside it, while downloading `KEY.partial`
 * with `KEY.partial.json`. Writing takes a synchronous access handle, which only workers have; listing and deleting work anywhere.
 */
import { type FileRecord, type PartialFile, parseRecord, type Store, type StoredFile } from "./store.js";

const FOLDER = "fewbit";
const READ_BYTES = 8 << 20;

/** A synchronous access handle, as far as it is used here. */
interface AccessHandle {
  getSize(): number;
  read(into: Uint8Array<ArrayBuffer>, options: { at: number }): number;
  write(from: Uint8Array<ArrayBuffer>, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

interface WritableHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<AccessHandle>;
  move?(name: string): Promise<void>;
}

/** The store, or `null` where the browser has no such file system or grants none (private windows). */
export async function openOpfs(purpose: "read" | "write"): Promise<Store | null> {
  if (typeof navigator === "undefined" || typeof navigator.storage?.getDirectory !== "function") return null;
  if (purpose === "write" && !("createSyncAccessHandle" in FileSystemFileHandle.prototype)) return null;
  try {
    const root = await navigator.storage.getDirectory();
    return new OpfsStore(await root.getDirectoryHandle(FOLDER, { create: true }));
  } catch {
    return null;
  }
}

class OpfsStore implements Store {
  readonly kind = "opfs";
  readonly #folder: FileSystemDirectoryHandle;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  async get(key: string): Promise<{ record: FileRecord; blob: Blob } | null> {
    const record = await this.#record(`${key}.json`);
    const blob = await this.#file(key);
    if (!record || !blob || (record.size !== null && record.size !== blob.size)) return null;
    return { record, blob };
  }

  async begin(key: string): Promise<PartialFile> {
    const handle = (await this.#folder.getFileHandle(`${key}.partial`, { create: true })) as WritableHandle;
    const access = await handle.createSyncAccessHandle();
    return new OpfsPartial(this.#folder, key, handle, access, await this.#record(`${key}.partial.json`));
  }

  async list(): Promise<StoredFile[]> {
    const files: StoredFile[] = [];
    for await (const name of this.#folder.keys()) {
      if (!name.endsWith(".json")) continue;
      const complete = !name.endsWith(".partial.json");
      const data = name.slice(0, -".json".length);
      const record = await this.#record(name);
      const blob = await this.#file(data);
      if (!record || !blob) continue;
      files.push({ key: complete ? data : data.slice(0, -".partial".length), record, bytes: blob.size, complete });
    }
    return files;
  }

  async delete(key: string): Promise<void> {
    for (const name of [`${key}.json`, key, `${key}.partial.json`, `${key}.partial`]) await removeIfThere(this.#folder, name);
  }

  async clear(): Promise<void> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) names.push(name);
    for (const name of names) await removeIfThere(this.#folder, name);
  }

  async #file(name: string): Promise<File | null> {
    try {
      return await (await this.#folder.getFileHandle(name)).getFile();
    } catch (error) {
      if (isNotFound(error)) return null;
      throw error;
    }
  }

  async #record(name: string): Promise<FileRecord | null> {
    const file = await this.#file(name);
    return file ? parseRecord(await file.text()) : null;
  }
}

class OpfsPartial implements PartialFile {
  readonly record: FileRecord | null;
  readonly #folder: FileSystemDirectoryHandle;
  readonly #key: string;
  readonly #handle: WritableHandle;
  readonly #access: AccessHandle;
  #size: number;
  #closed = false;

  constructor(
    folder: FileSystemDirectoryHandle,
    key: string,
    handle: WritableHandle,
    access: AccessHandle,
    record: FileRecord | null,
  ) {
    this.#folder = folder;
    this.#key = key;
    this.#handle = handle;
    this.#access = access;
    this.record = record;
    this.#size = access.getSize();
  }

  get size(): number {
    return this.#size;
  }

  describe(record: FileRecord): Promise<void> {
    return writeJson(this.#folder, `${this.#key}.partial.json`, record);
  }

  async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const now = this.#access.write(bytes.subarray(written), { at: this.#size });
      // A full disk may show itself as a write of nothing instead of an error.
      if (now === 0) throw new DOMException("the storage is full", "QuotaExceededError");
      written += now;
      this.#size += now;
    }
  }

  async *read(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(READ_BYTES);
    for (let at = 0; at < this.#size; ) {
      const read = this.#access.read(buffer, { at });
      if (read === 0) throw new DOMException(`${this.#key}.partial ends early`, "NotReadableError");
      yield buffer.subarray(0, Math.min(read, this.#size - at));
      at += read;
    }
  }

  async truncate(): Promise<void> {
    this.#access.truncate(0);
    this.#size = 0;
  }

  async commit(record: FileRecord): Promise<Blob> {
    this.#access.flush();
    this.#release();
    await removeIfThere(this.#folder, this.#key);
    if (typeof this.#handle.move === "function") await this.#handle.move(this.#key);
    else await this.#copy();
    // Last: without it the file is not found by `get`.
    await writeJson(this.#folder, `${this.#key}.json`, record);
    await removeIfThere(this.#folder, `${this.#key}.partial.json`);
    return (await this.#folder.getFileHandle(this.#key)).getFile();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#access.flush();
    this.#release();
  }

  async discard(): Promise<void> {
    this.#release();
    await removeIfThere(this.#folder, `${this.#key}.partial.json`);
    await removeIfThere(this.#folder, `${this.#key}.partial`);
  }

  /** For browsers that cannot rename in this file system. */
  async #copy(): Promise<void> {
    const from = await this.#handle.getFile();
    const to = (await this.#folder.getFileHandle(this.#key, { create: true })) as WritableHandle;
    const access = await to.createSyncAccessHandle();
    try {
      for (let at = 0; at < from.size; at += READ_BYTES) {
        const piece = new Uint8Array(await from.slice(at, at + READ_BYTES).arrayBuffer());
        if (access.write(piece, { at }) !== piece.length) throw new DOMException("the storage is full", "QuotaExceededError");
      }
      access.flush();
    } finally {
      access.close();
    }
    await removeIfThere(this.#folder, `${this.#key}.partial`);
  }

  #release(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#access.close();
  }
}

async function writeJson(folder: FileSystemDirectoryHandle, name: string, record: FileRecord): Promise<void> {
  const handle = (await folder.getFileHandle(name, { create: true })) as WritableHandle;
  const access = await handle.createSyncAccessHandle();
  try {
    access.truncate(0);
    access.write(new TextEncoder().encode(JSON.stringify(record)), { at: 0 });
    access.flush();
  } finally {
    access.close();
  }
}

async function removeIfThere(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof DOMException && error.name === "NotFoundError";
}
