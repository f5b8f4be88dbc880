// What was chosen to compute on, and why.

import { byId, make } from "./dom.js";
import { bytes, duration } from "./format.js";

const NAMES = { webgpu: "WebGPU", wasm: "WebAssembly" };
const VARIANTS = { simd: "SIMD", relaxed: "relaxed SIMD", threads: "relaxed SIMD, threads" };

export function showRunsOn(info) {
  byId("runs-on").hidden = false;
  byId("backend-name").textContent = NAMES[info.backend] ?? info.backend;
  byId("backend-reason").textContent = info.reason;
  const badge = byId("adapter-badge");
  const { adapter } = info;
  badge.hidden = info.backend !== "webgpu" || !adapter;
  badge.className = adapter?.software ? "badge software" : "badge";
  badge.textContent = adapter?.software === true ? "software adapter" : adapter?.software === false ? "hardware" : "adapter unknown";

  const facts = [];
  if (adapter) {
    const kind = adapter.software === true ? " (software)" : adapter.software === false ? "" : " (unknown whether hardware)";
    facts.push(["Adapter", `${adapter.name}${kind}`, adapter.softwareReason]);
  } else {
    facts.push(["Adapter", "none"]);
  }
  if (info.backend === "wasm") {
    facts.push(["Build", VARIANTS[info.variant] ?? info.variant]);
    facts.push(["Threads", `${info.threads.got} of ${info.threads.asked}`, info.threads.reason]);
  }
  facts.push(["Architecture", info.architecture]);
  facts.push(["Weights", `${info.blockFormat}, ${info.bitsPerWeight.toLocaleString(undefined, { maximumFractionDigits: 2 })} bits each`]);
  facts.push(["Size", bytes(info.weightBytes)]);
  facts.push(["Activations", info.activations === "q8" ? "8 bits" : "floating point"]);
  // A model of pictures or sound alone has none.
  if (info.contextLength > 0) facts.push(["Context", `${info.contextLength.toLocaleString()} tokens`]);
  facts.push(["Memory", bytes(info.memoryBytes)]);
  facts.push(["Kept in", info.cache]);
  facts.push(["Loaded in", duration(info.timings.total)]);
  byId("facts").replaceChildren(
    ...facts.flatMap(([name, value, why]) => {
      const term = make("dt", "", name);
      const fact = make("dd", "", String(value));
      if (why) fact.title = why;
      return [term, fact];
    }),
  );
}
