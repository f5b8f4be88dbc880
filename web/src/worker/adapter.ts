/**
 * Which graphics adapter there is, and whether it computes on the CPU: there, wasm is faster.
 */
import type { AdapterInfo, WebnnOptions } from "../types.js";

// The WebGPU types are not part of TypeScript's DOM library; this is what is used of them.
interface GpuAdapter {
  readonly info?: { readonly vendor: string; readonly architecture: string; readonly device: string; readonly description: string; readonly isFallbackAdapter?: boolean };
  readonly isFallbackAdapter?: boolean;
  readonly features: Iterable<string>;
  readonly limits: object;
}

interface NavigatorGpu {
  readonly gpu?: { requestAdapter(options?: { powerPreference?: "high-performance" }): Promise<GpuAdapter | null> };
}

interface NavigatorMl {
  readonly ml?: { createContext(options: WebnnOptions): Promise<{ opSupportLimits(): unknown; destroy?(): void }> };
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b|software/i;

/** What was found: an adapter, or why there is none. */
export type AdapterFinding = { readonly adapter: AdapterInfo } | { readonly adapter: null; readonly reason: string };

/** Looks for an adapter. */
export async function findAdapter(): Promise<AdapterFinding> {
  const { gpu } = navigator as NavigatorGpu;
  if (!gpu) {
    const reason = globalThis.isSecureContext ? "this browser has no WebGPU" : "WebGPU takes a secure context (https or localhost)";
    return { adapter: null, reason };
  }
  let adapter: GpuAdapter | null;
  try {
    adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    return { adapter: null, reason: `WebGPU gave no adapter: ${(error as Error).message}` };
  }
  if (!adapter) return { adapter: null, reason: "WebGPU gave no adapter" };
  return { adapter: describe(adapter) };
}

/** A WebNN context as an adapter: `devices` as the browser names them, a fingerprint of what it supports. */
export async function contextInfo(devices: string, options: WebnnOptions): Promise<AdapterInfo> {
  const context = await (navigator as NavigatorMl).ml?.createContext(options);
  const limits = JSON.stringify(context?.opSupportLimits() ?? null);
  context?.destroy?.();
  const softwareReason = "WebNN has no software adapters; its CPU device is the CPU";
  return { name: devices, software: false, softwareReason, fingerprint: hashOf(limits), features: [] };
}

function describe(adapter: GpuAdapter): AdapterInfo {
  const { vendor = "", architecture = "", device = "", description = "" } = adapter.info ?? {};
  const name = [...new Set([vendor, architecture, device, description])].filter((part) => part !== "").join(" ") || "unnamed";
  const features = [...adapter.features].sort();
  const [software, softwareReason] = isSoftware(adapter, name);
  return { name, software, softwareReason, fingerprint: fingerprintOf(adapter, features), features };
}

function isSoftware(adapter: GpuAdapter, name: string): [boolean | null, string] {
  if (adapter.info?.isFallbackAdapter === true || adapter.isFallbackAdapter === true) return [true, "the browser calls it a fallback adapter"];
  if (SOFTWARE.test(name)) return [true, "its name says so"];
  if (name !== "unnamed") return [false, "its name is of no known software adapter"];
  // Firefox names no WebGPU adapter, but its WebGL tells what it draws with.
  const renderer = webglRenderer();
  if (renderer === null) return [null, "the adapter has no name, and there is no WebGL to ask"];
  if (SOFTWARE.test(renderer)) return [true, `the adapter has no name; WebGL draws with ${renderer}`];
  return [false, `the adapter has no name; WebGL draws with ${renderer}`];
}

function webglRenderer(): string | null {
  try {
    const gl = new OffscreenCanvas(1, 1).getContext("webgl");
    if (!gl) return null;
    const unmasked = gl.getExtension("WEBGL_debug_renderer_info");
    const renderer: unknown = gl.getParameter(unmasked ? unmasked.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return typeof renderer === "string" && renderer !== "" ? renderer : null;
  } catch {
    return null;
  }
}

/** A hash of limits and features, the same for the same adapter in the same browser. */
function fingerprintOf(adapter: GpuAdapter, features: readonly string[]): string {
  const limits: string[] = [];
  // The limits are getters of the prototype.
  for (const key in adapter.limits) {
    const value: unknown = (adapter.limits as Record<string, unknown>)[key];
    if (typeof value === "number") limits.push(`${key}=${value}`);
  }
  return hashOf([...limits.sort(), ...features].join(";"));
}

/** FNV-1a of 64 bits. */
function hashOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}
