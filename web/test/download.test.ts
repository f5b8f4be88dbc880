import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CacheApiStore } from "../src/cache/cache-api.js";
import { type DownloadContext, type FileProgress, obtain, obtainIfThere, type Wanted } from "../src/cache/download.js";
import { MemoryStore } from "../src/cache/memory.js";
import { openOpfs } from "../src/cache/opfs.js";
import { type Store, storageKey } from "../src/cache/store.js";
import { createHasher, noise, sha256, TestServer } from "./server.js";
import { TestCache, TestFolder, TestHandle } from "./storage.js";

const URL_A = "https://a.example/model.gguf";
const URL_B = "https://b.example/model.gguf";
const BYTES = noise(10_500);
const WANTED: Wanted = { model: "m", file: "model.gguf", urls: [URL_A], size: BYTES.length, sha256: sha256(BYTES) };
const UNKNOWN: Wanted = { ...WANTED, size: null, sha256: null };

interface Place {
  store: Store;
  limit(bytes: number): void;
}

function opfs(canMove: boolean): () => Promise<Place> {
  return async () => {
    const folder = new TestFolder();
    folder.canMove = canMove;
    vi.stubGlobal("FileSystemFileHandle", TestHandle);
    vi.stubGlobal("navigator", { storage: { getDirectory: async () => folder } });
    const store = await openOpfs("write");
    if (!store) throw new Error("no OPFS");
    return {
      store,
      limit: (bytes) => {
        folder.quota = bytes;
      },
    };
  };
}

const PLACES: readonly [string, () => Promise<Place>][] = [
  ["OPFS", opfs(true)],
  ["OPFS that cannot rename", opfs(false)],
  [
    "the Cache API",
    async () => {
      const cache = new TestCache();
      const limit = (bytes: number): void => {
        cache.quota = bytes;
      };
      return { store: new CacheApiStore(cache as unknown as Cache), limit };
    },
  ],
  ["memory", async () => ({ store: new MemoryStore(), limit: () => {} })],
];

async function bytesOf(blob: Blob | null): Promise<Uint8Array | null> {
  return blob && new Uint8Array(await blob.arrayBuffer());
}

describe.each(PLACES)("a download into %s", (name, place) => {
  let server: TestServer;
  let store: Store;
  let limit: (bytes: number) => void;
  let progress: FileProgress[];

  const context = (more: Partial<DownloadContext> = {}): DownloadContext => ({
    store,
    fetch: server.fetch,
    createHasher,
    onProgress: (step) => progress.push(step),
    retryMs: [1, 1],
    ...more,
  });
  const listed = async (): Promise<[boolean, number][]> => (await store.list()).map(({ complete, bytes }) => [complete, bytes]);

  beforeEach(async () => {
    server = new TestServer();
    ({ store, limit } = await place());
    progress = [];
  });
  afterEach(() => vi.unstubAllGlobals());

  it("gives the bytes, tells how far it is, and does not go to the network again", async () => {
    server.files.set(URL_A, { bytes: BYTES });
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
    expect(progress.at(-1)).toEqual({ phase: "download", loaded: BYTES.length, total: BYTES.length, cached: 0 });
    expect(progress.length).toBeGreaterThan(5);
    expect(await listed()).toEqual([[true, BYTES.length]]);
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
    expect(server.requests).toHaveLength(1);
    expect(progress.at(-1)).toMatchObject({ cached: BYTES.length });
  });

  it("resumes where the connection broke, again and again", async () => {
    server.files.set(URL_A, { bytes: BYTES, breakAfter: 3000, breaks: 3 });
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
    expect(server.requests.map(({ range }) => range)).toEqual([null, "bytes=3000-", "bytes=6000-", "bytes=9000-"]);
  });

  it("leaves nothing under the final name when it is aborted, and resumes the next time", async () => {
    server.files.set(URL_A, { bytes: BYTES });
    const controller = new AbortController();
    const onProgress = ({ loaded }: FileProgress): void => {
      if (loaded >= 4000) controller.abort();
    };
    const error = await obtain(WANTED, context({ signal: controller.signal, onProgress })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "aborted", name: "AbortError" });
    expect(await store.get(storageKey(URL_A, WANTED.sha256))).toBeNull();
    expect(await listed()).toEqual([[false, 4000]]);
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
    expect(server.requests.at(-1)?.range).toBe("bytes=4000-");
    expect(progress.find(({ phase }) => phase === "verify")).toMatchObject({ total: 4000 });
    expect(progress.at(-1)).toMatchObject({ cached: 4000, loaded: BYTES.length });
    expect(await listed()).toEqual([[true, BYTES.length]]);
  });

  it("refuses a wrong sha256, with nothing left behind", async () => {
    const wrong = BYTES.slice();
    wrong[9999] = (wrong[9999] ?? 0) ^ 1;
    server.files.set(URL_A, { bytes: wrong });
    const error = await obtain(WANTED, context()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "checksum", details: { file: "model.gguf", expected: WANTED.sha256, got: sha256(wrong) } });
    expect(await listed()).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });

  it("starts over when what was left of an earlier try does not fit", async () => {
    server.files.set(URL_A, { bytes: noise(BYTES.length, 2) });
    const controller = new AbortController();
    const stop = ({ loaded }: FileProgress): void => {
      if (loaded >= 4000) controller.abort();
    };
    await obtain(WANTED, context({ signal: controller.signal, onProgress: stop })).catch(() => {});
    server.files.set(URL_A, { bytes: BYTES });
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
    expect(server.requests.map(({ range }) => range)).toEqual([null, "bytes=4000-", null]);
  });

  it("takes the whole file from a server without ranges", async () => {
    server.files.set(URL_A, { bytes: BYTES, noRange: true, breakAfter: 5000 });
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
  });

  it("takes a file whose length nobody knows", async () => {
    server.files.set(URL_A, { bytes: BYTES, noLength: true });
    expect(await bytesOf(await obtain(UNKNOWN, context()))).toEqual(BYTES);
    expect(progress.at(-1)).toMatchObject({ total: null });
  });

  it("does not mix two versions of a file", async () => {
    server.files.set(URL_A, { bytes: noise(BYTES.length, 3), etag: '"1"', breakAfter: 4000 });
    const fetchThen: typeof fetch = async (input, init) => {
      const answer = await server.fetch(input, init);
      if (server.requests.length === 1) server.files.set(URL_A, { bytes: BYTES, etag: '"2"' });
      return answer;
    };
    expect(await bytesOf(await obtain(UNKNOWN, context({ fetch: fetchThen })))).toEqual(BYTES);
  });

  it("asks whether a file without sha256 has changed, and does without the network", async () => {
    server.files.set(URL_A, { bytes: BYTES, etag: '"1"' });
    await obtain(UNKNOWN, context());
    expect(await bytesOf(await obtain(UNKNOWN, context()))).toEqual(BYTES);
    expect(server.requests.map(({ method }) => method)).toEqual(["GET", "HEAD"]);
    server.down.add(URL_A);
    expect(await bytesOf(await obtain(UNKNOWN, context()))).toEqual(BYTES);
    server.down.clear();
    const newer = noise(9000, 4);
    server.files.set(URL_A, { bytes: newer, etag: '"2"' });
    expect(await bytesOf(await obtain(UNKNOWN, context()))).toEqual(newer);
    expect(await listed()).toEqual([[true, 9000]]);
  });

  it("goes to the next source when one does not have it or cannot be reached", async () => {
    server.files.set(URL_B, { bytes: BYTES });
    const both = { ...WANTED, urls: [URL_A, URL_B] };
    expect(await bytesOf(await obtain(both, context()))).toEqual(BYTES);
    await store.clear();
    server.down.add(URL_A);
    expect(await bytesOf(await obtain(both, context()))).toEqual(BYTES);
  });

  it("goes on from another source where the first one broke for good", async () => {
    server.files.set(URL_A, { bytes: BYTES, breakAfter: 4000 });
    server.files.set(URL_B, { bytes: BYTES });
    const fetchThen: typeof fetch = async (input, init) => {
      const answer = await server.fetch(input, init);
      server.down.add(URL_A);
      return answer;
    };
    expect(await bytesOf(await obtain({ ...WANTED, urls: [URL_A, URL_B] }, context({ fetch: fetchThen })))).toEqual(BYTES);
    expect(server.requests.at(-1)).toMatchObject({ url: URL_B, range: "bytes=4000-" });
  });

  it("waits for a server that is busy", async () => {
    server.files.set(URL_A, { bytes: BYTES, statuses: [503, 429] });
    expect(await bytesOf(await obtain(WANTED, context()))).toEqual(BYTES);
  });

  it("says what failed: no file, no access, no network, a server that stops", async () => {
    const code = async (wanted: Wanted, more: Partial<DownloadContext> = {}): Promise<unknown> => {
      const error: unknown = await obtain(wanted, context(more)).catch((thrown: unknown) => thrown);
      return (error as { code: unknown }).code;
    };
    expect(await code(WANTED)).toBe("not_found");
    expect(await obtainIfThere(WANTED, context())).toBeNull();
    server.files.set(URL_A, { bytes: BYTES, status: 403 });
    expect(await code(WANTED)).toBe("http");
    server.down.add(URL_A);
    expect(await code(WANTED)).toBe("network");
    server.down.clear();
    server.files.set(URL_A, { bytes: BYTES, stallAfter: 0 });
    expect(await code(WANTED, { stallMs: 20 })).toBe("network");
    // Half the file, whole to the server.
    server.files.set(URL_A, { bytes: BYTES.slice(0, 5000), noLength: true });
    expect(await code(WANTED)).toBe("checksum");
    expect((await listed()).every(([complete]) => !complete)).toBe(true);
  });

  it("resumes after a server that stopped without closing", async () => {
    server.files.set(URL_A, { bytes: BYTES, stallAfter: 4000 });
    expect(await bytesOf(await obtain(WANTED, context({ stallMs: 30 })))).toEqual(BYTES);
    expect(server.requests.length).toBe(3);
  });

  it("gives up on a server that breaks at the same byte each time", async () => {
    server.files.set(URL_A, { bytes: BYTES, noRange: true, breakAfter: 4000, breaks: 1000 });
    const error = await obtain(WANTED, context()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "network", details: { received: 4000, total: BYTES.length } });
    expect(server.requests.length).toBeLessThan(8);
  });

  it("stops a server that sends more than the file has", async () => {
    server.files.set(URL_A, { bytes: noise(50_000) });
    const error = await obtain(WANTED, context()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "checksum" });
    expect(await listed()).toEqual([]);
  });

  it("names the quota before it starts", async () => {
    server.files.set(URL_A, { bytes: BYTES });
    const error = await obtain(WANTED, context({ available: async () => 1000 })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "quota", details: { file: "model.gguf", needed: BYTES.length, available: 1000 } });
    expect(await listed()).toEqual([]);
  });

  it.skipIf(name === "memory")("names the quota when it runs out on the way, with nothing left behind", async () => {
    server.files.set(URL_A, { bytes: BYTES });
    limit(6000);
    const error = await obtain(WANTED, context()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "quota", details: { file: "model.gguf" } });
    expect(await listed()).toEqual([]);
  });

  it("is made once when two want it at once", async () => {
    server.files.set(URL_A, { bytes: BYTES });
    let last: Promise<unknown> = Promise.resolve();
    const locked: DownloadContext["locked"] = (_name, _signal, task) => {
      const mine = last.then(task);
      last = mine.catch(() => {});
      return mine;
    };
    const [a, b] = await Promise.all([obtain(WANTED, context({ locked })), obtain(WANTED, context({ locked }))]);
    expect(await bytesOf(a)).toEqual(BYTES);
    expect(await bytesOf(b)).toEqual(BYTES);
    expect(server.requests).toHaveLength(1);
  });

  it("can be listed, deleted and cleared", async () => {
    server.files.set(URL_A, { bytes: BYTES });
    server.files.set(URL_B, { bytes: BYTES });
    await obtain(WANTED, context());
    await obtain({ ...UNKNOWN, urls: [URL_B] }, context());
    const files = await store.list();
    expect(files.map(({ record }) => record.url).sort()).toEqual([URL_A, URL_B]);
    await store.delete(files[0]?.key ?? "");
    expect(await store.list()).toHaveLength(1);
    await store.clear();
    expect(await store.list()).toEqual([]);
  });
});
