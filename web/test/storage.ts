/** A browser's storage in memory, as far as the stores use it: what Node has not. */

/** `Cache`, keyed by URL. */
export class TestCache {
  readonly #entries = new Map<string, Blob>();
  /** Bytes after which `put` fails as a full disk does. */
  quota = Number.POSITIVE_INFINITY;

  async put(url: string, response: Response): Promise<void> {
    const blob = await response.blob();
    const used = [...this.#entries.values()].reduce((sum, { size }) => sum + size, 0);
    if (used + blob.size > this.quota) throw new DOMException("Quota exceeded.", "QuotaExceededError");
    this.#entries.set(url, blob);
  }

  async match(url: string): Promise<Response | undefined> {
    const blob = this.#entries.get(url);
    return blob && new Response(blob);
  }

  async delete(request: string | Request): Promise<boolean> {
    return this.#entries.delete(typeof request === "string" ? request : request.url);
  }

  async keys(): Promise<Request[]> {
    return [...this.#entries.keys()].map((url) => new Request(url));
  }
}

interface TestFile {
  bytes: Uint8Array<ArrayBuffer>;
  open: boolean;
}

/** A folder of the origin private file system; `move` can be left out, as older browsers do. */
export class TestFolder {
  readonly files = new Map<string, TestFile>();
  quota = Number.POSITIVE_INFINITY;
  canMove = true;

  async getDirectoryHandle(): Promise<TestFolder> {
    return this;
  }

  async getFileHandle(name: string, options: { create?: boolean } = {}): Promise<object> {
    if (!this.files.has(name)) {
      if (!options.create) throw new DOMException(name, "NotFoundError");
      this.files.set(name, { bytes: new Uint8Array(), open: false });
    }
    return new TestHandle(this, name);
  }

  async removeEntry(name: string): Promise<void> {
    if (this.files.get(name)?.open) throw new DOMException(name, "NoModificationAllowedError");
    if (!this.files.delete(name)) throw new DOMException(name, "NotFoundError");
  }

  async *keys(): AsyncGenerator<string> {
    yield* [...this.files.keys()];
  }
}

export class TestHandle {
  move?: (name: string) => Promise<void>;
  readonly #folder: TestFolder;
  readonly #name: string;

  constructor(folder: TestFolder, name: string) {
    this.#folder = folder;
    this.#name = name;
    if (folder.canMove) {
      this.move = async (to) => {
        folder.files.set(to, this.#file());
        folder.files.delete(name);
      };
    }
  }

  async getFile(): Promise<File> {
    return new File([this.#file().bytes], this.#name);
  }

  async createSyncAccessHandle(): Promise<object> {
    const file = this.#file();
    if (file.open) throw new DOMException(this.#name, "NoModificationAllowedError");
    file.open = true;
    const folder = this.#folder;
    return {
      getSize: () => file.bytes.length,
      read: (into: Uint8Array, { at }: { at: number }) => {
        const piece = file.bytes.subarray(at, at + into.length);
        into.set(piece);
        return piece.length;
      },
      write: (from: Uint8Array, { at }: { at: number }) => {
        const used = [...folder.files.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
        if (used + from.length > folder.quota) throw new DOMException("Quota exceeded.", "QuotaExceededError");
        const grown = new Uint8Array(Math.max(file.bytes.length, at + from.length));
        grown.set(file.bytes);
        grown.set(from, at);
        file.bytes = grown;
        return from.length;
      },
      truncate: (size: number) => {
        file.bytes = file.bytes.slice(0, size);
      },
      flush: () => {},
      close: () => {
        file.open = false;
      },
    };
  }

  #file(): TestFile {
    const file = this.#folder.files.get(this.#name);
    if (!file) throw new DOMException(this.#name, "NotFoundError");
    return file;
  }
}
