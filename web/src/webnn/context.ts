/**
 * `MLContext`: tensors, and dispatches one after another in a worker.
 */
import type { WorkerClient } from "../client.js";
import { FewbitError } from "../error.js";
import type { TensorData } from "../types.js";
import { alike, byteLength, bytesOf, type Descriptor, descriptorOf, engineTensor } from "./data.js";
import { exception, failed, illegal } from "./exceptions.js";
import { opSupportLimits } from "./limits.js";
import type { BuilderModule, NativeBuilder, NativeGraph } from "./module.js";
import { frozen, MLGraph, MLTensor, OURS } from "./objects.js";

/** `MLContextLostInfo` */
export interface MLContextLostInfo {
  readonly message: string;
}

/** Where graphs are built and run. */
export class MLContext {
  readonly #client: WorkerClient;
  readonly #module: BuilderModule;
  /** Whether 64-bit integers are computed in pairs of words. */
  readonly #inPairs: boolean;
  readonly #accelerated: boolean;
  readonly #tensors = new Set<MLTensor>();
  #lose!: (info: MLContextLostInfo) => void;
  #lostInfo: MLContextLostInfo | null = null;
  /** Ends when all that was asked so far is done. */
  #timeline: Promise<void> = Promise.resolve();
  readonly lost: Promise<MLContextLostInfo>;

  /** @internal */
  constructor(key: typeof OURS, client: WorkerClient, module: BuilderModule, backend: "webgpu" | "wasm") {
    if (key !== OURS) illegal();
    this.#client = client;
    this.#module = module;
    this.#inPairs = backend === "webgpu";
    this.#accelerated = backend === "webgpu";
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
  }

  /** Whether a GPU computes. */
  get accelerated(): boolean {
    return this.#accelerated;
  }

  opSupportLimits(): Record<string, unknown> {
    return opSupportLimits();
  }

  /** Ends the context; `lost` then resolves. */
  destroy(): void {
    this.#end("destroy() was called");
  }

  async createTensor(descriptor: unknown): Promise<MLTensor> {
    this.living("createTensor()");
    const described = descriptorOf(descriptor, "createTensor()");
    const { readable, writable } = descriptor as { readable?: unknown; writable?: unknown };
    const kind = { readable: Boolean(readable), writable: Boolean(writable), constant: false };
    return this.#tensor(described, kind, allocated(described));
  }

  async createConstantTensor(descriptor: unknown, data: unknown): Promise<MLTensor> {
    this.living("createConstantTensor()");
    const described = descriptorOf(descriptor, "createConstantTensor()");
    const bytes = bytesOf(data, "createConstantTensor()");
    const wanted = byteLength(described);
    if (bytes.byteLength !== wanted) throw new TypeError(`createConstantTensor(): the data has ${bytes.byteLength} bytes, the descriptor ${wanted}`);
    return this.#tensor(described, { readable: false, writable: false, constant: true }, bytes.slice());
  }

  /** Copies data into a tensor, after everything that was asked before. */
  writeTensor(tensor: MLTensor, data: AllowSharedBufferSource): void {
    const what = "writeTensor()";
    this.living(what);
    this.#own(tensor, what);
    if (tensor.constant || !tensor.writable) throw new TypeError(`${what}: the tensor is not writable`);
    const bytes = bytesOf(data, what);
    const wanted = byteLength(tensor);
    if (bytes.byteLength !== wanted) throw new TypeError(`${what}: the data has ${bytes.byteLength} bytes, the tensor ${wanted}`);
    const copy = bytes.slice();
    this.#enqueue(async () => {
      tensor.content = copy;
    });
  }

  readTensor(tensor: MLTensor): Promise<ArrayBuffer>;
  readTensor(tensor: MLTensor, into: AllowSharedBufferSource): Promise<undefined>;
  /** What a tensor holds after everything that was asked before: in a new buffer, or in one of the caller's. */
  async readTensor(tensor: MLTensor, into?: AllowSharedBufferSource): Promise<ArrayBuffer | undefined> {
    const what = "readTensor()";
    this.living(what);
    this.#own(tensor, what);
    if (!tensor.readable) throw new TypeError(`${what}: the tensor is not readable`);
    const check = (): Uint8Array | null => {
      if (into === undefined) return null;
      const bytes = bytesOf(into, what);
      const wanted = byteLength(tensor);
      if (bytes.byteLength < wanted) throw new TypeError(`${what}: the buffer has ${bytes.byteLength} bytes, the tensor ${wanted}`);
      return bytes;
    };
    check();
    let content = tensor.content;
    // At its place in the timeline, before whatever is asked next.
    await this.#timeline.then(() => {
      content = tensor.content;
    });
    if (this.#lostInfo) throw exception("InvalidStateError", `${what}: the context is lost: ${this.#lostInfo.message}`);
    // A buffer may have been detached in the meantime.
    const target = check();
    if (target === null) return content.slice().buffer as ArrayBuffer;
    target.set(content);
    return undefined;
  }

  /** Runs a graph after everything that was asked before. */
  dispatch(graph: MLGraph, inputs: Readonly<Record<string, MLTensor>>, outputs: Readonly<Record<string, MLTensor>>): void {
    const what = "dispatch()";
    this.living(what);
    if (!(graph instanceof MLGraph)) throw new TypeError(`${what}: the graph is no MLGraph`);
    const { held } = graph;
    if (held.context !== this) throw new TypeError(`${what}: the graph is another context's`);
    if (held.destroyed) throw exception("InvalidStateError", `${what}: the graph is destroyed`);
    const given = this.#named(inputs, held.inputs, "input");
    const wanted = this.#named(outputs, held.outputs, "output");
    const all = [...given, ...wanted].map(([, tensor]) => tensor);
    const written = wanted.map(([, tensor]) => tensor);
    if (new Set(written).size !== written.length) throw new TypeError(`${what}: a tensor is two outputs`);
    if (given.some(([, tensor]) => written.includes(tensor))) throw new TypeError(`${what}: a tensor is input and output`);
    if (written.some((tensor) => tensor.constant)) throw new TypeError(`${what}: an output is a constant tensor`);
    if (all.some((tensor) => tensor.destroyed)) throw exception("InvalidStateError", `${what}: a tensor is destroyed`);
    this.#enqueue(async () => {
      const tensors: Record<string, TensorData> = {};
      for (const [name, tensor] of given) {
        tensors[name] = engineTensor(tensor, tensor.content, held.pairs) as TensorData;
      }
      const names = wanted.map(([name]) => name);
      const made = await this.#client.call("runGraph", { id: held.id, tensors, outputs: names });
      for (const [name, tensor] of wanted) {
        const result = made[name];
        if (result) tensor.content = result.data;
      }
    });
  }

  /** @internal */
  release(tensor: MLTensor): void {
    if (tensor.destroyed) return;
    tensor.destroyed = true;
    // What was asked before still sees its content.
    this.#enqueue(async () => this.#forget(tensor));
  }

  /** @internal Throws where the context is lost. */
  living(what: string): void {
    if (this.#lostInfo) throw exception("InvalidStateError", `${what}: the context is lost: ${this.#lostInfo.message}`);
  }

  /** @internal */
  get inPairs(): boolean {
    return this.#inPairs;
  }

  /** @internal */
  newBuilder(): NativeBuilder {
    return new this.#module.Builder();
  }

  /** @internal A graph of the module, compiled in the worker. */
  async adopt(made: NativeGraph): Promise<MLGraph> {
    const id = await this.#client.call("buildGraph", { bytes: made.graph }).catch((error: unknown) => {
      throw this.#failure(error);
    });
    this.living("build()");
    const described = (list: NativeGraph["inputs"]): Map<string, Descriptor> =>
      new Map(list.map(([name, dataType, shape]) => [name, { dataType, shape }]));
    const release = (): void => this.#enqueue(async () => this.#client.call("dropGraph", { id }).then(() => {}));
    return new MLGraph(OURS, {
      context: this,
      id,
      inputs: described(made.inputs),
      outputs: described(made.outputs),
      pairs: made.pairs,
      release,
      destroyed: false,
    });
  }

  #tensor(descriptor: Descriptor, kind: ConstructorParameters<typeof MLTensor>[3], content: Uint8Array): MLTensor {
    const tensor = new MLTensor(OURS, this, frozen(descriptor), kind, content);
    this.#tensors.add(tensor);
    return tensor;
  }

  #forget(tensor: MLTensor): void {
    this.#tensors.delete(tensor);
    tensor.content = new Uint8Array(0);
  }

  #own(tensor: unknown, what: string): void {
    if (!(tensor instanceof MLTensor)) throw new TypeError(`${what}: the tensor is no MLTensor`);
    if (tensor.context !== this) throw new TypeError(`${what}: the tensor is another context's`);
    if (tensor.destroyed) throw exception("InvalidStateError", `${what}: the tensor is destroyed`);
  }

  /** The tensors of a dispatch, which are those that the graph names, of their types and shapes. */
  #named(tensors: Readonly<Record<string, MLTensor>>, wanted: ReadonlyMap<string, Descriptor>, kind: string): [string, MLTensor][] {
    const what = `dispatch(): ${kind}`;
    const given = Object.entries(tensors ?? {});
    if (given.length !== wanted.size) throw new TypeError(`${what}s: ${given.length} are given, the graph has ${wanted.size}`);
    for (const [name, tensor] of given) {
      const descriptor = wanted.get(name);
      if (!descriptor) throw new TypeError(`${what}: the graph has none named ${JSON.stringify(name)}`);
      if (!(tensor instanceof MLTensor)) throw new TypeError(`${what} ${JSON.stringify(name)} is no MLTensor`);
      if (tensor.context !== this) throw new TypeError(`${what} ${JSON.stringify(name)} is another context's tensor`);
      if (!alike(tensor, descriptor)) throw new TypeError(`${what} ${JSON.stringify(name)} has another data type or shape than the graph's`);
    }
    return given;
  }

  #enqueue(step: () => Promise<void>): void {
    this.#timeline = this.#timeline.then(async () => {
      if (this.#lostInfo) return;
      try {
        await step();
      } catch (error) {
        // A dispatch has no one to tell: the context is of no use after it.
        this.#end(this.#failure(error).message);
      }
    });
  }

  #failure(error: unknown): Error {
    const gone = error instanceof FewbitError && ["device_lost", "worker", "disposed"].includes(error.code);
    if (gone) this.#end(error.message);
    return failed(error);
  }

  #end(message: string): void {
    if (this.#lostInfo) return;
    this.#lostInfo = { message };
    for (const tensor of this.#tensors) this.#forget(tensor);
    this.#client.close(new FewbitError("disposed", message));
    this.#lose(this.#lostInfo);
  }
}

type AllowSharedBufferSource = ArrayBuffer | SharedArrayBuffer | ArrayBufferView;

function allocated(descriptor: Descriptor): Uint8Array {
  try {
    return new Uint8Array(byteLength(descriptor));
  } catch (error) {
    throw exception("QuotaExceededError", `createTensor(): ${(error as Error).message}`);
  }
}
