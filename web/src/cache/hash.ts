/** A sha256 that is fed piece by piece; the worker's comes from the wasm module. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest as lower-case hex. The hasher is used up by it. */
  digest(): string;
}
