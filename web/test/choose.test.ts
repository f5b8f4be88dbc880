import { describe, expect, it } from "vitest";
import type { AdapterInfo } from "../src/types.js";
import type { AdapterFinding } from "../src/worker/adapter.js";
import { chooseBackend } from "../src/worker/engine.js";
import { variantsFor, type WasmFeatures, wasmFeatures } from "../src/worker/runtime.js";

function adapter(software: boolean | null): AdapterFinding {
  const info: AdapterInfo = { name: "acme gpu", software, softwareReason: "told", fingerprint: "0", features: [] };
  return { adapter: info };
}
const NONE: AdapterFinding = { adapter: null, reason: "this browser has no WebGPU" };
const ALL: WasmFeatures = { simd: true, relaxed: true, threads: true, threadsReason: "" };

describe("the back end", () => {
  it.each<[string, Parameters<typeof chooseBackend>, "webgpu" | "webnn" | "wasm", RegExp]>([
    ["hardware", ["auto", adapter(false)], "webgpu", /hardware/],
    ["software", ["auto", adapter(true)], "wasm", /software.*told/],
    ["unknown", ["auto", adapter(null)], "wasm", /nothing tells.*told/],
    ["no adapter", ["auto", NONE], "wasm", /no WebGPU/],
    ["wasm asked for", ["wasm", adapter(false)], "wasm", /asked for/],
    ["WebNN asked for", ["webnn", NONE], "webnn", /asked for/],
    ["WebGPU asked for", ["webgpu", adapter(false)], "webgpu", /asked for/],
    ["WebGPU asked for on software", ["webgpu", adapter(true)], "webgpu", /software/],
  ])("with %s", (_what, args, backend, reason) => {
    const [chosen, why] = chooseBackend(...args);
    expect(chosen).toBe(backend);
    expect(why).toMatch(reason);
  });

  it("is unavailable when WebGPU is asked for and there is none", () => {
    expect(() => chooseBackend("webgpu", NONE)).toThrow(expect.objectContaining({ code: "unavailable" }));
  });
});

describe("the wasm variant", () => {
  it.each<[string, WasmFeatures, number, string[]]>([
    ["everything", ALL, 4, ["threads", "relaxed", "simd"]],
    ["one thread wanted", ALL, 1, ["relaxed", "simd"]],
    ["no shared memory", { ...ALL, threads: false, threadsReason: "none" }, 4, ["relaxed", "simd"]],
    ["no relaxed SIMD", { ...ALL, relaxed: false }, 4, ["simd"]],
  ])("with %s", (_what, features, threads, variants) => {
    expect(variantsFor(features, null, threads, "wasm")).toEqual(variants);
  });

  it("that was asked for is taken or refused, not replaced", () => {
    expect(variantsFor(ALL, "simd", 4, "wasm")).toEqual(["simd"]);
    const without = { ...ALL, relaxed: false, threads: false, threadsReason: "no SharedArrayBuffer" };
    for (const variant of ["relaxed", "threads"] as const) {
      expect(() => variantsFor(without, variant, 1, "wasm")).toThrow(expect.objectContaining({ code: "unsupported" }));
    }
    const noThreads = { ...ALL, threads: false, threadsReason: "no SharedArrayBuffer" };
    expect(() => variantsFor(noThreads, "threads", 2, "wasm")).toThrow(/no SharedArrayBuffer/);
  });

  it("for WebNN is the one that has it, and goes with nothing else", () => {
    expect(variantsFor(ALL, null, 1, "webnn")).toEqual(["webnn"]);
    expect(variantsFor(ALL, "webnn", 1, "webnn")).toEqual(["webnn"]);
    for (const [variant, backend] of [["simd", "webnn"], ["webnn", "wasm"], ["webnn", "webgpu"]] as const) {
      expect(() => variantsFor(ALL, variant, 1, backend)).toThrow(expect.objectContaining({ code: "bad_argument" }));
    }
  });

  it("is none where wasm has no SIMD", () => {
    expect(() => variantsFor({ ...ALL, simd: false }, null, 1, "wasm")).toThrow(expect.objectContaining({ code: "unsupported" }));
  });

  it("is probed: this Node has SIMD and shared memory", () => {
    expect(wasmFeatures()).toMatchObject({ simd: true, threads: true, threadsReason: "" });
  });
});
