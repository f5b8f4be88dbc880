// Cases of WebNN's operators through `navigator.ml` as a page uses it: the browser's own, or fewbit's where `backend` says how
// that is to compute. The runner page loads this for a job `navigator_ml` (`host/src/job.rs`).

const BYTES = { float32: 4, float16: 2, int32: 4, uint32: 4, int64: 8, uint64: 8, int8: 1, uint8: 1 };

let made = null;

/** A context, made once for each way to compute. */
async function contextFor(backend) {
  if (made?.backend !== backend || made.gone) {
    if (backend !== null) {
      const { install } = await import("/fewbit/webnn.js");
      install({ force: true, backend });
    }
    if (!navigator.ml) throw Object.assign(new Error("this browser has no WebNN (navigator.ml)"), { code: "unsupported" });
    const context = await navigator.ml.createContext();
    made = { backend, context, gone: false };
    const own = made;
    context.lost.then(() => (own.gone = true));
  }
  return made.context;
}

/** An answer for each case; one that fails leaves the others alone. */
export async function runCases({ backend, cases }, signal) {
  const answers = [];
  for (const one of cases) {
    signal.throwIfAborted();
    try {
      answers.push({ outputs: await run(await contextFor(backend), one), error: null });
    } catch (error) {
      // A browser refuses types of operators by a TypeError.
      const typed = backend === null && /unsupported data type/i.test(error?.message);
      const unsupported = typed || error?.name === "NotSupportedError" || error?.code === "unsupported";
      const code = unsupported ? "unsupported" : String(error?.name ?? "error");
      answers.push({ outputs: {}, error: { code, message: `${error?.name}: ${error?.message ?? error}` } });
    }
  }
  return { runs: answers };
}

async function run(context, { inputs, operators, outputs }) {
  const builder = new MLGraphBuilder(context);
  const operands = {};
  for (const [name, { data_type: dataType, shape, data, constant }] of Object.entries(inputs)) {
    const descriptor = { dataType, shape };
    operands[name] = constant ? builder.constant(descriptor, bytesOf(data, descriptor).buffer) : builder.input(name, descriptor);
  }
  for (const { name, arguments: given, outputs: names } of operators) {
    if (typeof builder[name] !== "function") {
      throw Object.assign(new Error(`MLGraphBuilder has no ${name}`), { code: "unsupported" });
    }
    const values = given.flatMap((argument) => Object.values(argument).map((value) => valueOf(value, operands)));
    const result = builder[name](...values);
    if (Array.isArray(names)) names.forEach((output, at) => (operands[output] = result[at]));
    else operands[names] = result;
  }
  const graph = await builder.build(Object.fromEntries(outputs.map((name) => [name, operands[name]])));
  const from = {};
  const to = {};
  try {
    for (const [name, { data_type: dataType, shape, data, constant }] of Object.entries(inputs)) {
      if (constant) continue;
      from[name] = await context.createTensor({ dataType, shape, writable: true });
      context.writeTensor(from[name], bytesOf(data, { dataType, shape }).buffer);
    }
    for (const name of outputs) {
      const { dataType, shape } = operands[name];
      to[name] = await context.createTensor({ dataType, shape, readable: true });
    }
    context.dispatch(graph, from, to);
    const found = {};
    for (const [name, tensor] of Object.entries(to)) {
      const data = new Uint8Array(await context.readTensor(tensor));
      const { dataType, shape } = operands[name];
      if (data.length !== shape.reduce((count, size) => count * size, BYTES[dataType])) throw new Error(`${name}: ${data.length} bytes`);
      found[name] = { data_type: dataType, shape: [...shape], data: textOf(data, BYTES[dataType]) };
    }
    return found;
  } finally {
    for (const tensor of [...Object.values(from), ...Object.values(to)]) tensor.destroy();
    graph.destroy?.();
  }
}

/** An argument; a string that names an operand is that operand, and digits with an `n` are a BigInt. */
function valueOf(value, operands) {
  if (typeof value === "string") {
    if (Object.hasOwn(operands, value)) return operands[value];
    if (/^-?\d+n$/.test(value)) return BigInt(value.slice(0, -1));
    return ["Infinity", "-Infinity", "NaN"].includes(value) ? Number(value) : value;
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((part) => valueOf(part, operands));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, valueOf(member, operands)]));
}

/** The bytes of a tensor; one element stands for all. */
function bytesOf(text, { dataType, shape }) {
  const given = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const length = shape.reduce((count, size) => count * size, BYTES[dataType]);
  if (given.length === length || given.length !== BYTES[dataType]) return given;
  const bytes = new Uint8Array(length);
  bytes.set(given);
  for (let filled = given.length; filled < length; filled *= 2) bytes.copyWithin(filled, 0, Math.min(filled, length - filled));
  return bytes;
}

/** Bytes as text; of many elements that are all the same, one. */
function textOf(bytes, size) {
  const same = bytes.length > 1 << 20 && bytes.every((byte, at) => byte === bytes[at % size]);
  let text = "";
  for (const byte of same ? bytes.subarray(0, size) : bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
