/**
 * `MLOperand`, `MLGraph` and `MLTensor`: what a page holds and cannot look into.
 */
import type { MLContext } from "./context.js";
import type { MLGraphBuilder } from "./builder.js";
import type { DataType, Descriptor } from "./data.js";
import { illegal } from "./exceptions.js";

/** Who has it may make objects that a page gets from methods only. */
export const OURS: unique symbol = Symbol("fewbit");

/** An operand of a builder. */
export class MLOperand {
  /** @internal */
  readonly builder: MLGraphBuilder;
  /** @internal */
  readonly index: number;
  readonly #descriptor: Descriptor;

  /** @internal */
  constructor(key: typeof OURS, builder: MLGraphBuilder, index: number, descriptor: Descriptor) {
    if (key !== OURS) illegal();
    this.builder = builder;
    this.index = index;
    hide(this, "builder", "index");
    this.#descriptor = descriptor;
  }

  get dataType(): DataType {
    return this.#descriptor.dataType;
  }

  /** A frozen array, the same each time. */
  get shape(): readonly number[] {
    return this.#descriptor.shape;
  }
}

/** A built graph. */
export class MLGraph {
  /** @internal */
  readonly held: Held;

  /** @internal */
  constructor(key: typeof OURS, held: Held) {
    if (key !== OURS) illegal();
    this.held = held;
    hide(this, "held");
  }

  /** Lets the graph go; what was dispatched before is still computed. */
  destroy(): void {
    if (this.held.destroyed) return;
    this.held.destroyed = true;
    this.held.release();
  }
}

interface Held {
  readonly context: MLContext;
  readonly id: number;
  readonly inputs: ReadonlyMap<string, Descriptor>;
  readonly outputs: ReadonlyMap<string, Descriptor>;
  readonly pairs: boolean;
  readonly release: () => void;
  destroyed: boolean;
}

/** A tensor of a context. */
export class MLTensor {
  /** @internal */
  readonly context: MLContext;
  /** @internal What it holds when all that was asked so far is done. */
  content: Uint8Array;
  /** @internal */
  destroyed = false;
  readonly #descriptor: Descriptor;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly constant: boolean;

  /** @internal */
  constructor(key: typeof OURS, context: MLContext, descriptor: Descriptor, kind: TensorKind, content: Uint8Array) {
    if (key !== OURS) illegal();
    this.context = context;
    this.content = content;
    hide(this, "context", "content", "destroyed");
    this.#descriptor = descriptor;
    this.readable = kind.readable;
    this.writable = kind.writable;
    this.constant = kind.constant;
  }

  get dataType(): DataType {
    return this.#descriptor.dataType;
  }

  /** A frozen array, the same each time. */
  get shape(): readonly number[] {
    return this.#descriptor.shape;
  }

  /** Lets the memory go; what was dispatched before is still computed. */
  destroy(): void {
    this.context.release(this);
  }
}

interface TensorKind {
  readonly readable: boolean;
  readonly writable: boolean;
  readonly constant: boolean;
}

/** A frozen copy, as the specification's frozen arrays. */
export function frozen({ dataType, shape }: Descriptor): Descriptor {
  return { dataType, shape: Object.freeze([...shape]) };
}

function hide(object: object, ...names: string[]): void {
  for (const name of names) Object.defineProperty(object, name, { enumerable: false });
}
