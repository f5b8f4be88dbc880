/**
 * `navigator.ml`.
 */
import { WorkerClient } from "../client.js";
import { FewbitError } from "../error.js";
import { spawnWorker } from "../spawn.js";
import { MLContext } from "./context.js";
import { exception, failed, illegal } from "./exceptions.js";
import { loadBuilder } from "./module.js";
import { OURS } from "./objects.js";

/** How contexts compute. */
export interface MLSettings {
  /** `auto` takes WebGPU where the adapter is hardware, else wasm. */
  readonly backend: "auto" | "webgpu" | "wasm";
  readonly assetsUrl: string | null;
}

/** `MLContextOptions` */
export interface MLContextOptions {
  readonly powerPreference?: "default" | "high-performance" | "low-power";
  readonly accelerated?: boolean;
}

const PREFERENCES = ["default", "high-performance", "low-power"];

export class ML {
  readonly #settings: MLSettings;

  /** @internal */
  constructor(key: typeof OURS, settings: MLSettings) {
    if (key !== OURS) illegal();
    this.#settings = settings;
  }

  /** A context. `accelerated: false` takes wasm; a `GPUDevice` is refused, as its buffers cannot be shared. */
  async createContext(options: MLContextOptions | object = {}): Promise<MLContext> {
    if (typeof GPUDevice !== "undefined" && options instanceof GPUDevice) {
      throw exception("NotSupportedError", "createContext(): fewbit has a device of its own; it cannot share a page's GPUDevice");
    }
    if (options === null || (typeof options !== "object" && options !== undefined)) {
      throw new TypeError("createContext(): the options are no dictionary");
    }
    const { powerPreference = "default", accelerated = true } = options as MLContextOptions;
    if (!PREFERENCES.includes(String(powerPreference))) {
      throw new TypeError(`createContext(): ${String(powerPreference)} is no MLPowerPreference`);
    }
    const { backend, assetsUrl } = this.#settings;
    let client: WorkerClient | null = null;
    try {
      client = new WorkerClient(spawnWorker(assetsUrl));
      const opened = client.call("openGraphs", { backend: accelerated ? backend : "wasm", assetsUrl });
      const [module, chosen] = await Promise.all([loadBuilder(assetsUrl), opened]);
      return new MLContext(OURS, client, module, chosen);
    } catch (error) {
      client?.close(new FewbitError("disposed", "the context was not made"));
      throw failed(error);
    }
  }
}

declare const GPUDevice: { new (): object; prototype: object } | undefined;
