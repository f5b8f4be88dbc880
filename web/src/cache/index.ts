/**
 * The cache of downloaded files: choosing a store for the worker, and what a page may do with it.
 */
import { FewbitError } from "../error.js";
import type { CacheEntry, CacheKind } from "../types.js";
import { openCacheApi } from "./cache-api.js";
import { MemoryStore } from "./memory.js";
import { openOpfs } from "./opfs.js";
import type { Store } from "./store.js";

/** The store to download into: what was asked for, or for `auto` the best there is. */
export async function openStore(kind: "auto" | CacheKind): Promise<Store> {
  switch (kind) {
    case "opfs":
      return (await openOpfs("write")) ?? missing("the origin private file system");
    case "cache-api":
      return (await openCacheApi()) ?? missing("the Cache API");
    case "memory":
      return new MemoryStore();
    case "auto":
      return (await openOpfs("write")) ?? (await openCacheApi()) ?? new MemoryStore();
  }
}

function missing(what: string): never {
  throw new FewbitError("unavailable", `this browser has no ${what} here (it takes a secure context and no private window)`);
}

/**
 * The files that were downloaded on this origin.
 *
 * @example
 * for (const { model, file, bytes } of await cache.list()) console.log(model, file, bytes);
 * await cache.delete("smollm2-135m-instruct");
 */
export interface FileCache {
  /** Every stored file, unfinished downloads too. */
  list(): Promise<CacheEntry[]>;
  /** Removes the files of a model by its name, or one file by its URL. Resolves to how many there were. */
  delete(modelOrUrl: string): Promise<number>;
  /** Removes every file. Resolves to how many there were. */
  clear(): Promise<number>;
  /** Asks the browser not to evict this origin's storage. Resolves to whether it agrees. */
  persist(): Promise<boolean>;
  /** Bytes that this origin uses and may use, if the browser tells. */
  estimate(): Promise<{ readonly usage: number; readonly quota: number } | null>;
}

/** The cache of this origin. */
export const cache: FileCache = {
  async list() {
    const entries: CacheEntry[] = [];
    for (const store of await stores()) {
      for (const { record, bytes, complete } of await store.list()) {
        const { model, file, url, sha256, stored } = record;
        entries.push({ model, file, url, bytes, sha256, complete, stored, kind: store.kind });
      }
    }
    return entries;
  },
  delete: (modelOrUrl) => remove((model, url) => model === modelOrUrl || url === modelOrUrl),
  async clear() {
    let removed = 0;
    for (const store of await stores()) {
      removed += (await store.list()).length;
      await store.clear();
    }
    return removed;
  },
  async persist() {
    if (typeof navigator === "undefined" || !navigator.storage?.persist) return false;
    return (await navigator.storage.persisted()) || navigator.storage.persist();
  },
  async estimate() {
    if (typeof navigator === "undefined" || !navigator.storage?.estimate) return null;
    const { usage, quota } = await navigator.storage.estimate();
    return usage === undefined || quota === undefined ? null : { usage, quota };
  },
};

async function stores(): Promise<Store[]> {
  return [await openOpfs("read"), await openCacheApi()].filter((store) => store !== null);
}

async function remove(which: (model: string | null, url: string) => boolean): Promise<number> {
  let removed = 0;
  for (const store of await stores()) {
    for (const { key, record } of await store.list()) {
      if (!which(record.model, record.url)) continue;
      await store.delete(key);
      removed += 1;
    }
  }
  return removed;
}
