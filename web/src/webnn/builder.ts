/**
 * `MLGraphBuilder`: each call is checked by the module on this thread, at once.
 */
import { byteLength, bytesOf, type DataType, dataTypeOf, type Descriptor, descriptorOf } from "./data.js";
import { MLContext } from "./context.js";
import { exception, refused } from "./exceptions.js";
import type { NativeBuilder } from "./module.js";
import { frozen, MLGraph, MLOperand, MLTensor, OURS } from "./objects.js";

/** Builds one graph. */
export class MLGraphBuilder {
  readonly #context: MLContext;
  readonly #native: NativeBuilder;
  #built = false;

  constructor(context: MLContext) {
    if (!(context instanceof MLContext)) throw new TypeError("MLGraphBuilder: the argument is no MLContext");
    context.living("MLGraphBuilder");
    this.#context = context;
    this.#native = context.newBuilder();
  }

  /** An input that each dispatch gives. */
  input(name: string, descriptor: { dataType: DataType; shape: readonly number[] }): MLOperand {
    this.#open("input");
    if (arguments.length < 2) throw new TypeError("input(): 2 arguments are required");
    const { dataType, shape } = descriptorOf(descriptor, "input()");
    return this.#hold(this.#try(() => this.#native.input(String(name), dataType, Float64Array.from(shape))));
  }

  /** A constant: of a descriptor and a buffer, of a data type and a number, or of a constant tensor. */
  constant(first: unknown, second?: unknown): MLOperand {
    this.#open("constant");
    if (first instanceof MLTensor) {
      if (first.context !== this.#context) throw new TypeError("constant(): the tensor is another context's");
      if (!first.constant) throw new TypeError("constant(): the tensor is no constant one");
      if (first.destroyed) throw new TypeError("constant(): the tensor is destroyed");
      return this.#constant(first, first.content);
    }
    if (arguments.length < 2) throw new TypeError("constant(): 2 arguments are required");
    if (typeof first === "object" && first !== null) {
      const descriptor = descriptorOf(first, "constant()");
      const bytes = bytesOf(second, "constant()");
      const wanted = byteLength(descriptor);
      if (bytes.byteLength !== wanted) throw new TypeError(`constant(): the buffer has ${bytes.byteLength} bytes, the descriptor ${wanted}`);
      return this.#constant(descriptor, bytes);
    }
    const dataType = dataTypeOf(first, "constant()");
    const value = typeof second === "bigint" ? second : Number(second);
    return this.#hold(this.#try(() => this.#native.number(dataType, value)));
  }

  /** Makes the graph of these outputs; the builder builds no more. */
  async build(outputs: Readonly<Record<string, MLOperand>>): Promise<MLGraph> {
    this.#open("build");
    const named = Object.entries(outputs ?? {});
    const indices = named.map(([name, operand]) => this.#index(operand, `build(): ${name}`));
    if (named.length === 0) throw new TypeError("build(): there are no outputs");
    this.#built = true;
    const names = named.map(([name]) => name);
    const made = await this.#native.build(names, Uint32Array.from(indices), this.#context.inPairs).catch((thrown: unknown) => {
      throw refused(thrown);
    });
    return this.#context.adopt(made);
  }

  /** @internal Any other method. */
  call(operator: string, args: readonly unknown[]): MLOperand | MLOperand[] {
    this.#open(operator);
    const given = args.map((value) => this.#plain(value, operator, 0));
    const made = this.#try(() => this.#native.call(operator, given));
    const operands = Array.from(made, (index) => this.#hold(index));
    return SEQUENCES.has(operator) ? operands : (operands[0] as MLOperand);
  }

  #constant({ dataType, shape }: Descriptor, bytes: Uint8Array): MLOperand {
    return this.#hold(this.#try(() => this.#native.constant(dataType, Float64Array.from(shape), bytes)));
  }

  #open(method: string): void {
    this.#context.living(`${method}()`);
    if (this.#built) throw exception("InvalidStateError", `${method}(): the builder has built its graph`);
  }

  #try<T>(step: () => T): T {
    try {
      return step();
    } catch (thrown) {
      throw refused(thrown);
    }
  }

  #hold(index: number): MLOperand {
    const descriptor = { dataType: this.#native.dataType(index) as DataType, shape: [...this.#native.shape(index)] };
    return new MLOperand(OURS, this, index, frozen(descriptor));
  }

  #index(operand: unknown, what: string): number {
    if (!(operand instanceof MLOperand)) throw new TypeError(`${what} is no MLOperand`);
    if (operand.builder !== this) throw new TypeError(`${what} is another builder's`);
    return operand.index;
  }

  /** An argument as the module reads it. */
  #plain(value: unknown, operator: string, depth: number): unknown {
    if (value instanceof MLOperand) return { fewbitOperand: this.#index(value, `${operator}(): an operand`) };
    if (typeof value !== "object" || value === null || depth > 3) return value;
    if (Symbol.iterator in value) return Array.from(value as Iterable<unknown>, (part) => this.#plain(part, operator, depth + 1));
    const members: Record<string, unknown> = {};
    // Of its prototypes too, as Web IDL reads a dictionary.
    for (const name in value) members[name] = this.#plain((value as Record<string, unknown>)[name], operator, depth + 1);
    return members;
  }
}

/** Methods that give a sequence. */
const SEQUENCES: ReadonlySet<string> = new Set(["split", "lstm", "lstmCell", "gru"]);

/** Adds a method for each operator. */
export function addOperators(names: readonly string[]): void {
  for (const name of names) {
    const method = {
      [name](this: MLGraphBuilder, ...args: unknown[]): unknown {
        return MLGraphBuilder.prototype.call.call(this, name, args);
      },
    }[name];
    Object.defineProperty(MLGraphBuilder.prototype, name, { value: method, writable: true, configurable: true, enumerable: true });
  }
}
