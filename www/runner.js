// The page that the `fewbit` command drives. Jobs and results are the JSON of `host/src/job.rs`; the command starts a
// job, polls it for events, and may abort it:
//
//   fewbitRunner.start(job)  → id
//   fewbitRunner.poll(id)    → JSON text { events, beat, done: null | { result } | { error }, console }
//   fewbitRunner.abort(id)   → the job then ends with the error code `aborted`
//
// Events are { stage }, { loaded: { bytes, of } } and { token: { text, count } }.

import { load } from "/fewbit/index.js";

const jobs = new Map();
let lastId = 0;
let model = null;

const state = document.getElementById("state");
const output = document.getElementById("output");

/** What the page would have written to its console, for the report of a failure. */
const messages = [];
function remember(level, parts) {
  const text = parts.map((part) => (part instanceof Error ? `${part}\n${part.stack ?? ""}` : String(part))).join(" ");
  messages.push(`${level}: ${text}`.slice(0, 2000));
  if (messages.length > 100) messages.shift();
}
for (const level of ["error", "warn"]) {
  const original = console[level].bind(console);
  console[level] = (...parts) => {
    remember(level, parts);
    original(...parts);
  };
}
addEventListener("error", (event) => remember("uncaught", [event.error ?? event.message]));
addEventListener("unhandledrejection", (event) => remember("unhandled", [event.reason]));
addEventListener("securitypolicyviolation", (event) => {
  remember("blocked", [`${event.violatedDirective} forbids ${event.blockedURI || event.sourceFile}`]);
});

const failure = (code, message) => Object.assign(new Error(message), { code });

function start(job) {
  const id = ++lastId;
  const entry = { events: [], done: null, controller: new AbortController() };
  jobs.set(id, entry);
  state.textContent = `${job.kind} …`;
  const finish = (done) => {
    entry.done = done;
    state.textContent = done.error ? `${job.kind}: ${done.error.code}: ${done.error.message}` : `${job.kind}: done`;
  };
  run(job, entry).then(
    (result) => finish({ result }),
    (error) => {
      remember("job", [error]);
      finish({ error: { code: String(error?.code ?? error?.name ?? "error"), message: String(error?.message ?? error) } });
    },
  );
  return id;
}

function poll(id) {
  const entry = jobs.get(id);
  if (!entry) {
    const error = { code: "no_job", message: `there is no job ${id}: the page was loaded again` };
    return JSON.stringify({ events: [], beat: performance.now(), done: { error }, console: messages });
  }
  const events = entry.events.splice(0);
  if (entry.done) jobs.delete(id);
  return JSON.stringify({ events, beat: performance.now(), done: entry.done, console: entry.done?.error ? messages : [] });
}

function abort(id) {
  jobs.get(id)?.controller.abort();
}

const kinds = { load: loadModel, generate, score, embed, answer, forward, onnx, graph, navigator_ml: navigatorMl, transcribe, dispose };

async function run(job, entry) {
  if (!Object.hasOwn(kinds, job.kind)) throw failure("bad_job", `unknown kind of job: ${job.kind}`);
  return kinds[job.kind](job, entry);
}

function loaded() {
  if (!model) throw failure("no_model", "no model is loaded");
  return model;
}

async function loadModel(job, entry) {
  dispose();
  const options = job.options ?? {};
  const began = performance.now();
  let stage = "";
  model = await load(
    {
      name: job.model.name,
      baseUrl: new URL(job.model.base, location.href),
      files: job.model.files.map(({ name, bytes, sha256 }) => ({ name, bytes, ...(sha256 ? { sha256 } : {}) })),
    },
    {
      backend: job.backend,
      signal: entry.controller.signal,
      ...(options.threads ? { threads: options.threads } : {}),
      ...(options.context ? { contextLength: options.context } : {}),
      ...(options.activations ? { activations: options.activations } : {}),
      ...(options.variant ? { variant: options.variant } : {}),
      onProgress({ phase, loaded, total }) {
        if (phase !== stage) entry.events.push({ stage: (stage = phase) });
        if (phase === "download" || phase === "upload") entry.events.push({ loaded: { bytes: loaded, of: total ?? loaded } });
      },
    },
  );
  const { info } = model;
  const onGpu = info.backend === "webgpu";
  const onWasm = info.backend === "wasm";
  const simd = { simd: ["simd128"], relaxed: ["simd128", "relaxed-simd"], threads: ["simd128", "relaxed-simd", "threads"] };
  return {
    backend: info.backend,
    variant: info.variant,
    adapter: !onWasm && info.adapter ? adapter(info.adapter) : null,
    features: [...(simd[info.variant] ?? info.features), ...(onGpu ? (info.adapter?.features ?? []) : [])],
    threads_asked: !onWasm ? null : info.threads.asked,
    threads: !onWasm ? null : info.threads.got,
    activations: info.activations,
    model: {
      architecture: info.architecture,
      block_format: info.blockFormat,
      bits_per_weight: info.bitsPerWeight,
      parameters: info.parameters,
      context: info.contextLength,
      vocabulary: info.vocabulary,
    },
    load_ms: performance.now() - began,
    // On the CPU nothing is compiled ahead.
    compile_ms: onGpu ? info.timings.compile : null,
    phases: { runtime: info.timings.runtime, files: info.timings.files, build: info.timings.build },
    memory: await model.memory(),
  };
}

function adapter({ name, software, fingerprint }) {
  return { name, vendor: null, driver: null, software, fingerprint };
}

async function generate(job, entry) {
  const { sampling = {} } = job;
  const { task = "generate", ...languages } = job.instruct ?? {};
  const options = {
    ...languages,
    maxTokens: job.max_tokens,
    temperature: sampling.greedy ? 0 : (sampling.temperature ?? 0.8),
    ...(sampling.top_k ? { topK: sampling.top_k } : {}),
    ...(sampling.top_p ? { topP: sampling.top_p } : {}),
    ...(sampling.min_p ? { minP: sampling.min_p } : {}),
    ...(sampling.repetition_penalty ? { repetitionPenalty: sampling.repetition_penalty } : {}),
    ...(sampling.seed != null ? { seed: sampling.seed } : {}),
    stop: job.stop ?? [],
    ignoreEos: Boolean(job.ignore_eos),
    ...(job.instruct ? {} : { source: tensors(job.source ?? {}) }),
    signal: entry.controller.signal,
  };
  if (job.beside?.length) return beside([job.prompt, ...job.beside].map(prompt), options);
  const generation = method(task)(prompt(job.prompt), options);
  let count = 0;
  let text = "";
  for await (const token of generation) {
    count += 1;
    text += token.text;
    output.textContent = text;
    entry.events.push({ token: { text: token.text, count } });
    // A test destroys the GPU device after so many tokens; the text must go on unchanged.
    if (count === job.lose_device_after && !(await loaded().debug.loseDevice())) {
      throw failure("no_device", "there is no device to lose");
    }
  }
  return { ...generated(await generation.result), memory: await loaded().memory() };
}

/** Several at once: the first one's answer, with the numbers of all. */
async function beside(prompts, { source, ...options }) {
  const all = await loaded().generateBatch(prompts, options).result;
  const [own, ...others] = all.map(generated);
  const sum = (count) => all.reduce((sum, one) => sum + count(one), 0);
  const first = Math.max(...all.map(({ timings }) => timings.timeToFirstToken));
  const decode = Math.max(...all.map(({ timings }) => timings.timeToFirstToken + timings.decode)) - first;
  return {
    ...own,
    beside: others.map(({ ids, text }) => ({ ids, text })),
    time_to_first_token_ms: first,
    prefill_ms: first,
    decode_ms: decode,
    prefill_tokens_per_second: finite((sum(({ usage }) => usage.promptTokens - usage.cachedTokens) * 1000) / first),
    decode_tokens_per_second: finite((sum(({ ids }) => Math.max(0, ids.length - 1)) * 1000) / decode),
    memory: await loaded().memory(),
  };
}

function generated(result) {
  const { timings } = result;
  return {
    prompt_ids: result.promptIds,
    ids: result.ids,
    text: result.text,
    finish_reason: result.finishReason,
    cached_tokens: result.usage.cachedTokens,
    time_to_first_token_ms: timings.timeToFirstToken,
    prefill_ms: timings.prefill,
    decode_ms: timings.decode,
    prefill_tokens_per_second: finite(timings.prefillTokensPerSecond),
    decode_tokens_per_second: result.ids.length > 1 ? finite(timings.decodeTokensPerSecond) : null,
  };
}

function prompt({ text, messages: chat, ids }) {
  return ids ?? (chat ? { messages: chat } : text);
}

const finite = (value) => (Number.isFinite(value) ? value : null);

async function score(job, entry) {
  const began = performance.now();
  const { ids, scores, meanNll } = await loaded().score(job.ids ?? job.text, { signal: entry.controller.signal });
  return {
    ids,
    nll: scores.map(({ nll }) => nll),
    best: scores.map(({ best }) => best),
    mean_nll: meanNll,
    elapsed_ms: performance.now() - began,
  };
}

async function embed(job, entry) {
  const began = performance.now();
  const { signal } = entry.controller;
  const embedded = job.files?.length
    ? { vectors: await method("embed")(files(job), { signal }), ids: [] }
    : await loaded().embedWithIds(job.texts, { signal });
  const embeddings = embedded.vectors.map((vector, index) => ({ input_ids: embedded.ids[index] ?? [], embedding: [...vector] }));
  const elapsed_ms = performance.now() - began;
  return { embeddings, elapsed_ms, memory: await loaded().memory() };
}

async function answer(job, entry) {
  const inputs = job.files?.length ? files(job) : job.texts;
  const options = { signal: entry.controller.signal };
  for (const name of ["topK", "threshold", "template"]) {
    if (job[name] != null) options[name] = job[name];
  }
  const began = performance.now();
  const ask = method(job.task);
  const answers = await (job.task === "zeroShot" ? ask(inputs, job.labels ?? [], options) : ask(inputs, options));
  return { answers, elapsed_ms: performance.now() - began };
}

async function transcribe(job, entry) {
  const transcription = method("transcribe")(new File([fromBase64(job.data)], job.name), {
    ...(job.language ? { language: job.language } : {}),
    task: job.translate ? "translate" : "transcribe",
    ...(job.timestamps == null ? {} : { timestamps: job.timestamps }),
    conditionOnPrevious: Boolean(job.condition_on_previous),
    signal: entry.controller.signal,
  });
  let count = 0;
  let said = "";
  for await (const { text, segment, tentative } of transcription) {
    if (segment) count += 1;
    said += text;
    output.textContent = said + tentative;
    entry.events.push({ token: { text, count } });
  }
  const { text, ids, segments, language, seconds, timings } = await transcription.result;
  return {
    text,
    ids,
    segments: segments.map(({ avgLogprob, noSpeechProb, compressionRatio, ...segment }) => ({
      ...segment,
      avg_logprob: avgLogprob,
      no_speech_prob: noSpeechProb,
      compression_ratio: compressionRatio,
    })),
    language,
    seconds,
    elapsed_ms: timings.compute,
    real_time_factor: timings.compute / 1000 / seconds,
    memory: await loaded().memory(),
  };
}

/** Pictures or recordings, to be decoded by the package. */
function files({ files }) {
  return files.map(({ name, data }) => new File([fromBase64(data)], name));
}

/** What the package has for a task. */
function method(task) {
  const model = loaded();
  if (typeof model[task] !== "function") throw failure("unsupported", `the JavaScript API has no ${task}`);
  return model[task].bind(model);
}

async function forward(job, entry) {
  const inputs = tensors(job.inputs);
  const began = performance.now();
  const found = await loaded().forward(inputs, { signal: entry.controller.signal });
  const elapsed_ms = performance.now() - began;
  const wanted = Object.entries(found).filter(([name]) => !job.outputs?.length || job.outputs.includes(name));
  return { outputs: toJson(Object.fromEntries(wanted)), elapsed_ms };
}

/** An ONNX file run once in a worker of its own, which ends with it, whatever it does. */
async function onnx(job, entry) {
  const { signal } = entry.controller;
  const limit = setTimeout(() => entry.controller.abort(), job.limit_ms);
  const file = { name: "model.onnx", data: fromBase64(job.model).buffer };
  const inputs = tensors(job.inputs);
  const values = {};
  let loaded = null;
  try {
    while (!loaded) {
      loaded = await load([file], { backend: job.backend, threads: 1, signal, onnx: { values, asItIs: true } }).catch((error) => {
        // Inputs whose numbers decide a shape are given beforehand.
        const names = JSON.parse(error?.details?.inputs ?? "[]").filter((name) => inputs[name] && !values[name]);
        if (names.length === 0) throw error;
        for (const name of names) values[name] = inputs[name];
        return null;
      });
    }
    const began = performance.now();
    const found = await loaded.forward(inputs, { outputs: job.outputs, signal });
    const elapsed_ms = performance.now() - began;
    return { outputs: toJson(found), elapsed_ms };
  } catch (error) {
    if (error?.code === "aborted") throw failure("timed_out", `took more than ${job.limit_ms} ms`);
    throw error;
  } finally {
    clearTimeout(limit);
    loaded?.dispose();
  }
}

/** Graphs built and run by `navigator.ml`, the browser's own or fewbit's. */
async function navigatorMl(job, entry) {
  const limit = setTimeout(() => entry.controller.abort(), job.limit_ms);
  const late = new Promise((_, reject) => {
    entry.controller.signal.addEventListener("abort", () => reject(failure("timed_out", `took more than ${job.limit_ms} ms`)));
  });
  try {
    const { runCases } = await import("./navigator-ml.js");
    return await Promise.race([runCases(job, entry.controller.signal), late]);
  } finally {
    clearTimeout(limit);
  }
}

/** Parts of a graph run one after another in a worker of their own; a run that fails leaves the others alone. */
async function graph(job, entry) {
  const { signal } = entry.controller;
  const limit = setTimeout(() => entry.controller.abort(), job.limit_ms);
  const file = { name: "graph.fbm", data: fromBase64(job.model).buffer };
  let loaded = null;
  try {
    loaded = await load([file], { backend: job.backend, threads: 1, signal });
    const runs = [];
    for (const { inputs, outputs } of job.runs) {
      try {
        const given = Object.entries(tensors(inputs)).map(([name, tensor]) => [name, spread(tensor)]);
        const found = await loaded.forward(Object.fromEntries(given), { outputs, signal });
        const told = Object.entries(found).map(([name, tensor]) => [name, gathered(tensor)]);
        runs.push({ outputs: toJson(Object.fromEntries(told)), error: null });
      } catch (error) {
        if (error?.code === "aborted") throw error;
        const code = String(error?.code ?? error?.name ?? "error");
        runs.push({ outputs: {}, error: { code, message: String(error?.message ?? error) } });
      }
    }
    return { runs };
  } catch (error) {
    if (error?.code === "aborted") throw failure("timed_out", `took more than ${job.limit_ms} ms`);
    throw error;
  } finally {
    clearTimeout(limit);
    loaded?.dispose();
  }
}

const elementBytes = { f64: 8, i64: 8, u64: 8, f32: 4, i32: 4, u32: 4, f16: 2, bf16: 2, i16: 2, u16: 2 };

/** A tensor whose one element stands for all, with all. */
function spread({ type, shape, data }) {
  const size = elementBytes[type] ?? 1;
  const all = shape.reduce((count, dim) => count * dim, size);
  if (data.length !== size || all === size) return { type, shape, data };
  const bytes = new Uint8Array(all);
  bytes.set(data);
  for (let done = size; done < all; done *= 2) bytes.copyWithin(done, 0, Math.min(done, all - done));
  return { type, shape, data: bytes };
}

/** A large tensor whose elements are all the same, with the first one only: others would take minutes to cross. */
function gathered({ type, shape, data }) {
  const size = elementBytes[type] ?? 1;
  const same = data.length > 1 << 20 && data.every((byte, at) => byte === data[at % size]);
  return { type, shape, data: same ? data.subarray(0, size) : data };
}

function toJson(named) {
  const outputs = {};
  for (const [name, { type, shape, data }] of Object.entries(named)) outputs[name] = { data_type: type, shape: [...shape], data: toBase64(data) };
  return outputs;
}

function tensors(given) {
  const named = {};
  for (const [name, { data_type, shape, data }] of Object.entries(given)) {
    named[name] = { type: data_type, shape, data: fromBase64(data) };
  }
  return named;
}

function dispose() {
  model?.dispose();
  model = null;
  return null;
}

function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function toBase64(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  return btoa(parts.join(""));
}

window.fewbitRunner = { start, poll, abort };
state.textContent = "ready";
