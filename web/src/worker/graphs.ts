/**
 * Graphs that were built call by call (`fewbit/webnn`), over one runtime. Each is a model without weights of its own.
 */
import { FewbitError } from "../error.js";
import type { Backend, TensorData } from "../types.js";
import { findAdapter } from "./adapter.js";
import { chooseBackend } from "./engine.js";
import { loadRuntime, type Runtime, type RuntimeModel, variantsFor, wasmFeatures } from "./runtime.js";
import { type Handlers, macrotask } from "./server.js";

type GraphCalls = Pick<Handlers, "openGraphs" | "buildGraph" | "runGraph" | "dropGraph">;

interface Opened {
  readonly runtime: Runtime;
  readonly request: string;
}

/** Handlers of the calls about graphs. */
export function graphHandlers(): GraphCalls {
  let opened: Opened | null = null;
  const graphs = new Map<number, RuntimeModel>();
  let last = 0;
  const ready = (): Opened => {
    if (opened === null) throw new FewbitError("internal", "no runtime is open");
    return opened;
  };
  const graph = (id: number): RuntimeModel => {
    const found = graphs.get(id);
    if (!found) throw new FewbitError("internal", `there is no graph ${id}`);
    return found;
  };
  return {
    async openGraphs({ backend, assetsUrl }, { signal }) {
      const finding = await findAdapter();
      const [chosen] = chooseBackend(backend, finding) as [Exclude<Backend, "webnn" | "webnn+wasm">, string];
      const { runtime } = await loadRuntime(variantsFor(wasmFeatures(), null, 1, chosen), assetsUrl, signal, () => {});
      const request = JSON.stringify({
        backend: chosen,
        adapterName: finding.adapter?.name ?? null,
        softwareAdapter: finding.adapter?.software ?? null,
        contextLength: null,
        activations: "auto",
        pool: 0,
        threads: 1,
      });
      opened = { runtime, request };
      return chosen;
    },
    async buildGraph({ bytes }) {
      const { runtime, request } = ready();
      const model = await runtime.loadModel([], request, { upload: () => true }, bytes);
      const id = ++last;
      graphs.set(id, model);
      return id;
    },
    async runGraph({ id, tensors, outputs }) {
      const given = Object.entries(tensors).map(([name, tensor]) => ({ name, ...tensor }));
      const made = await graph(id).forward(given, outputs, macrotask);
      return Object.fromEntries(made.map(({ name, ...tensor }): [string, TensorData] => [name, tensor]));
    },
    async dropGraph({ id }) {
      graph(id).free();
      graphs.delete(id);
    },
  };
}
