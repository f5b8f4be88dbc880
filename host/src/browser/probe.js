// What a browser can do, found by trying. The body of an async function with the argument `input`; returns plain JSON.
// What it returns is read by `probe.rs`.

const within = (promise, seconds) =>
  Promise.race([
    promise,
    new Promise((_, reject) => setTimeout(() => reject(new Error(`no answer within ${seconds} s`)), seconds * 1000)),
  ]);

async function webgpu() {
  if (!navigator.gpu) return { reason: "no navigator.gpu" };
  const adapter = await within(navigator.gpu.requestAdapter({ powerPreference: "high-performance" }), 20);
  if (!adapter) return { reason: "requestAdapter() gave null" };
  const info = adapter.info ?? {};
  const limits = {};
  for (const name in adapter.limits) {
    if (typeof adapter.limits[name] === "number") limits[name] = adapter.limits[name];
  }
  return {
    vendor: info.vendor ?? "",
    architecture: info.architecture ?? "",
    device: info.device ?? "",
    description: info.description ?? "",
    fallback: info.isFallbackAdapter ?? adapter.isFallbackAdapter ?? null,
    features: [...adapter.features].sort(),
    language: [...(navigator.gpu.wgslLanguageFeatures ?? [])].sort(),
    limits,
  };
}

// The devices that a context computes on, as a graph of it tells, and how many operators it has.
async function webnn() {
  if (!navigator.ml) return { reason: "no navigator.ml" };
  const context = await within(navigator.ml.createContext(), 20);
  const builder = new MLGraphBuilder(context);
  const y = builder.relu(builder.input("x", { dataType: "float32", shape: [1] }));
  const graph = await within(builder.build({ y }), 20);
  const devices = graph.devices ? [...graph.devices].join(", ") : "unnamed";
  const { input, constant, output, ...rest } = context.opSupportLimits();
  const operators = Object.values(rest).filter((limit) => typeof limit === "object").length;
  context.destroy?.();
  return { devices, operators };
}

async function opfs() {
  const folder = await within(navigator.storage.getDirectory(), 10);
  const name = `fewbit-probe-${Math.random()}`;
  await within(folder.getFileHandle(name, { create: true }), 10);
  await folder.removeEntry(name);
}

// Why `f` fails; null when it does not.
const failure = async (f) => {
  try {
    await f();
    return null;
  } catch (error) {
    return String(error?.message ?? error);
  }
};

const validates = (bytes) => {
  try {
    return WebAssembly.validate(new Uint8Array(bytes));
  } catch {
    return false;
  }
};

const header = [0, 97, 115, 109, 1, 0, 0, 0];
let gpu = null;
if (input.only !== "webnn") try {
  gpu = await webgpu();
} catch (error) {
  gpu = { reason: String(error?.message ?? error) };
}
if (input.only === "webgpu") return { webgpu: gpu };
let ml;
try {
  ml = await webnn();
} catch (error) {
  ml = { reason: String(error?.message ?? error) };
}
if (input.only === "webnn") return { webnn: ml };
const noOpfs = await failure(opfs);
const noSharedMemory = await failure(() => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  if (!(memory.buffer instanceof SharedArrayBuffer)) throw new Error("a shared memory has no SharedArrayBuffer");
});
return {
  webgpu: gpu,
  user_agent: navigator.userAgent,
  cores: navigator.hardwareConcurrency ?? null,
  secure_context: isSecureContext,
  cross_origin_isolated: Boolean(globalThis.crossOriginIsolated),
  // One v128 function; i8x16.relaxed_swizzle; i32.atomic.load of a shared memory.
  simd: validates([...header, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]),
  relaxed_simd: validates([
    ...header, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
  ]),
  atomics: validates([
    ...header, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11,
  ]),
  shared_memory: noSharedMemory === null,
  shared_memory_reason: noSharedMemory,
  opfs: noOpfs === null,
  opfs_reason: noOpfs,
  webnn: ml,
};
