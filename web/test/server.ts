/** A web server in the place of `fetch`: ranges, validators, and the ways in which servers fail. */
import { createHash } from "node:crypto";
import type { Hasher } from "../src/cache/hash.js";

export interface Served {
  bytes: Uint8Array<ArrayBuffer>;
  etag?: string;
  /** The connection breaks after so many bytes, that many times. */
  breakAfter?: number;
  breaks?: number;
  /** It stops sending after so many bytes without closing. */
  stallAfter?: number;
  /** It takes no ranges. */
  noRange?: boolean;
  /** It tells no length. */
  noLength?: boolean;
  /** It says so many bytes and sends fewer. */
  status?: number;
  statuses?: number[];
}

export class TestServer {
  readonly files = new Map<string, Served>();
  readonly requests: { url: string; method: string; range: string | null }[] = [];
  readonly down = new Set<string>();

  readonly fetch: typeof fetch = async (input, init) => {
    const url = String(input);
    const headers = new Headers(init?.headers);
    const range = headers.get("Range");
    this.requests.push({ url, method: init?.method ?? "GET", range });
    init?.signal?.throwIfAborted();
    if (this.down.has(url)) throw new TypeError("fetch failed");
    const served = this.files.get(url);
    if (!served) return new Response("not here", { status: 404 });
    const status = served.statuses?.shift() ?? served.status;
    if (status !== undefined) return new Response("no", { status });
    const { bytes, etag } = served;
    const from = range !== null && !served.noRange ? Number(/^bytes=(\d+)-$/.exec(range)?.[1]) : 0;
    const answer = new Headers(etag === undefined ? {} : { ETag: etag });
    if (from > 0 && from >= bytes.length) {
      answer.set("Content-Range", `bytes */${bytes.length}`);
      return new Response(null, { status: 416, headers: answer });
    }
    if (!served.noLength) answer.set("Content-Length", String(bytes.length - from));
    if (from > 0) answer.set("Content-Range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    if (init?.method === "HEAD") return new Response(null, { status: 200, headers: answer });
    const body = this.#body(served, from, init?.signal ?? undefined);
    return new Response(body, { status: from > 0 ? 206 : 200, headers: answer });
  };

  #body(served: Served, from: number, signal: AbortSignal | undefined): ReadableStream<Uint8Array> {
    const step = 1000;
    let at = from;
    let sent = 0;
    return new ReadableStream({
      start(controller) {
        signal?.addEventListener("abort", () => {
          try {
            controller.error(new DOMException("aborted", "AbortError"));
          } catch {
            // It was closed already.
          }
        });
      },
      async pull(controller) {
        // As a network does: not all at once.
        await new Promise((resolve) => setTimeout(resolve, 0));
        if (served.stallAfter !== undefined && sent >= served.stallAfter) return new Promise(() => {});
        if (served.breakAfter !== undefined && sent >= served.breakAfter && (served.breaks ?? 1) > 0) {
          served.breaks = (served.breaks ?? 1) - 1;
          controller.error(new TypeError("terminated"));
          return;
        }
        if (at >= served.bytes.length) {
          controller.close();
          return;
        }
        const piece = served.bytes.slice(at, at + step);
        at += piece.length;
        sent += piece.length;
        controller.enqueue(piece);
      },
    });
  }
}

/** Node's own sha256, in the place of the wasm module's. */
export async function createHasher(): Promise<Hasher> {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes that look random and are the same each time. */
export function noise(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
