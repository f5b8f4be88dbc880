import { beforeAll, describe, expect, it, vi } from "vitest";
import { alike, byteLength, bytesOf, descriptorOf, engineTensor } from "../src/webnn/data.js";
import { opSupportLimits, OPERATOR_NAMES } from "../src/webnn/limits.js";

describe("a descriptor", () => {
  it("is converted as Web IDL has it", () => {
    expect(descriptorOf({ dataType: "float32", shape: new Uint8Array([2, 3]) }, "x")).toEqual({ dataType: "float32", shape: [2, 3] });
    expect(descriptorOf({ dataType: "int8", shape: ["2", 1.9] }, "x")).toEqual({ dataType: "int8", shape: [2, 1] });
    expect(byteLength({ dataType: "int64", shape: [2, 3] })).toBe(48);
    expect(byteLength({ dataType: "float16", shape: [] })).toBe(2);
  });

  it.each([
    ["no dictionary", null, /no dictionary/],
    ["no such type", { dataType: "int128", shape: [1] }, /int128 is no MLOperandDataType/],
    ["no shape", { dataType: "float32" }, /no sequence/],
    ["a text for a shape", { dataType: "float32", shape: "12" }, /no sequence/],
    ["a size of 0", { dataType: "float32", shape: [1, 0] }, /dimension of 0/],
    ["a size below 0", { dataType: "float32", shape: [-1] }, /-1 is no unsigned long/],
    ["too many dimensions", { dataType: "float32", shape: Array(9).fill(1) }, /rank 9/],
    ["too many bytes", { dataType: "float32", shape: [65536, 65536] }, /more than/],
  ])("is refused: %s", (_what, value, message) => {
    expect(() => descriptorOf(value, "x")).toThrow(TypeError);
    expect(() => descriptorOf(value, "x")).toThrow(message);
  });
});

describe("bytes", () => {
  it("are those of a view, where it is", () => {
    const buffer = Uint8Array.from([0, 1, 2, 3, 4, 5, 6, 7]).buffer;
    expect([...bytesOf(new Int16Array(buffer, 2, 2), "x")]).toEqual([2, 3, 4, 5]);
    expect([...bytesOf(new DataView(buffer, 6), "x")]).toEqual([6, 7]);
    expect(() => bytesOf([1, 2], "x")).toThrow(TypeError);
  });

  it("of 64-bit integers cross in pairs where the device has no others", () => {
    const data = new Uint8Array(16);
    const descriptor = { dataType: "int64", shape: [2] } as const;
    expect(engineTensor(descriptor, data, true)).toEqual({ type: "u32", shape: [2, 2], data });
    expect(engineTensor(descriptor, data, false)).toEqual({ type: "i64", shape: [2], data });
  });
});

describe("opSupportLimits", () => {
  it("has each operator with types and ranks, fresh each time", () => {
    expect(OPERATOR_NAMES).toHaveLength(95);
    const limits = opSupportLimits() as Record<string, Record<string, { dataTypes: string[]; rankRange: { min: number; max: number } }>>;
    for (const name of OPERATOR_NAMES) {
      for (const operand of Object.values(limits[name] ?? {})) {
        expect(operand.dataTypes.length, name).toBeGreaterThan(0);
        expect(operand.rankRange.min, name).toBeLessThanOrEqual(operand.rankRange.max);
      }
    }
    expect(limits["conv2d"]?.["bias"]).toEqual({ dataTypes: ["float32", "float16"], rankRange: { min: 1, max: 1 } });
    limits["conv2d"]?.["bias"]?.dataTypes.pop();
    expect(opSupportLimits()["conv2d"]).toMatchObject({ bias: { dataTypes: ["float32", "float16"] } });
  });
});

describe("navigator.ml", () => {
  let webnn: typeof import("../src/webnn.js");
  beforeAll(async () => {
    // Node has one from version 21 on.
    vi.stubGlobal("navigator", {});
    webnn = await import("../src/webnn.js");
  });

  it("is there once the module is imported, and a second install leaves it alone", () => {
    expect("ml" in navigator).toBe(true);
    const { ml } = navigator as unknown as { ml: object };
    expect(String(ml)).toBe("[object ML]");
    expect(webnn.install()).toBe(false);
    expect((navigator as unknown as { ml: object }).ml).toBe(ml);
    expect(webnn.install({ force: true, backend: "wasm" })).toBe(true);
    expect((navigator as unknown as { ml: object }).ml).not.toBe(ml);
    for (const name of OPERATOR_NAMES) expect(webnn.MLGraphBuilder.prototype).toHaveProperty(name);
  });

  it("refuses what the specification refuses before anything is loaded", async () => {
    const { ml } = navigator as unknown as { ml: { createContext(options?: unknown): Promise<unknown> } };
    await expect(ml.createContext({ powerPreference: "most" })).rejects.toThrow(TypeError);
    await expect(ml.createContext(7)).rejects.toThrow(TypeError);
    expect(() => new (webnn.MLContext as unknown as new () => unknown)()).toThrow("Illegal constructor");
    expect(() => new (webnn.MLTensor as unknown as new () => unknown)()).toThrow("Illegal constructor");
    expect(() => new webnn.MLGraphBuilder({} as never)).toThrow(TypeError);
  });

  it("is unsupported where there are no workers", async () => {
    const { ml } = navigator as unknown as { ml: { createContext(options?: unknown): Promise<unknown> } };
    await expect(ml.createContext()).rejects.toMatchObject({ name: "NotSupportedError" });
  });

  it("tells tensors apart by type and shape", () => {
    expect(alike({ dataType: "int8", shape: [1, 2] }, { dataType: "int8", shape: [1, 2] })).toBe(true);
    expect(alike({ dataType: "int8", shape: [1, 2] }, { dataType: "uint8", shape: [1, 2] })).toBe(false);
    expect(alike({ dataType: "int8", shape: [1, 2] }, { dataType: "int8", shape: [2] })).toBe(false);
  });
});
