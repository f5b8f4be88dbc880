// Runs fewbit and other libraries in one page, on the same files and the same input, each with one thread.
// `bench-peers` calls the functions of `window.peers` in turn; all times are milliseconds of this page's clock, from
// the call to what comes back to the page, so that workers and messages count for everyone.

/** What is loaded: name → { generate(prompt, tokens) | embed(ids) | encode(), close() }. */
const loaded = {};

/** What both ask WebNN's context for. */
const WEBNN = { powerPreference: "default" };

const loaders = {
  // --- language models -----------------------------------------------------------------------------------------------

  async "fewbit:generate"({ model }) {
    const { load } = await import("/fewbit/index.js");
    const fewbit = await load(listed(model), { backend: "wasm", threads: 1 });
    return {
      about: about(fewbit.info),
      async generate(prompt, tokens) {
        const times = [];
        const answer = fewbit.generate(prompt, { maxTokens: tokens, temperature: 0, ignoreEos: true });
        const began = performance.now();
        for await (const _ of answer) times.push(performance.now());
        const { text, promptIds, ids, usage } = await answer.result;
        if (usage.cachedTokens > 1) throw new Error(`${usage.cachedTokens} tokens of the prompt were cached`);
        return { text, promptTokens: promptIds.length, tokens: ids.length, ...rates(began, times, promptIds.length) };
      },
      close: () => fewbit.dispose(),
    };
  },

  async "wllama:generate"({ model }) {
    const { Wllama } = await import("/npm/@wllama/wllama/esm/index.js");
    const quiet = { debug() {}, log() {}, warn() {}, error() {} };
    const wllama = new Wllama({ default: "/npm/@wllama/wllama/esm/wasm/wllama.wasm" }, { logger: quiet, suppressNativeLog: true });
    const { baseUrl, files } = listed(model);
    const blob = await (await fetch(new URL(files[0].name, baseUrl))).blob();
    // No GPU and one thread; one sequence, and a batch that takes the whole prompt at once.
    await wllama.loadModel([blob], { n_threads: 1, n_gpu_layers: 0, n_ctx: 1024, n_batch: 512, n_parallel: 1, warmup: true });
    return {
      about: { threads: wllama.getNumThreads(), multithread: wllama.isMultithread() },
      async generate(prompt, tokens) {
        const times = [];
        let text = "";
        let usage;
        let timings;
        const began = performance.now();
        const stream = await wllama.createCompletion({
          prompt, max_tokens: tokens, temperature: 0, stream: true, cache_prompt: false, ignore_eos: true,
          stream_options: { include_usage: true },
        });
        for await (const chunk of stream) {
          const piece = chunk.choices?.[0];
          if (piece && piece.finish_reason == null) times.push(performance.now());
          text += piece?.text ?? "";
          usage = chunk.usage ?? usage;
          timings = chunk.timings ?? timings;
        }
        const promptTokens = usage?.prompt_tokens ?? timings?.prompt_n ?? null;
        return { text, promptTokens, tokens: times.length, own: timings ?? null, ...rates(began, times, promptTokens) };
      },
      close: () => wllama.exit(),
    };
  },

  // --- sentence embeddings -------------------------------------------------------------------------------------------

  async "fewbit:embed"({ model }) {
    const { load } = await import("/fewbit/index.js");
    const fewbit = await load(listed(model), { backend: "wasm", threads: 1 });
    return {
      about: about(fewbit.info),
      async embed(text) {
        const began = performance.now();
        const { vectors, ids } = await fewbit.embedWithIds([text]);
        return { ms: performance.now() - began, vector: [...vectors[0]], ids: [...ids[0]] };
      },
      close: () => fewbit.dispose(),
    };
  },

  async "onnxruntime-web:embed"({ model }) {
    const ort = await import("/npm/onnxruntime-web/dist/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("/npm/onnxruntime-web/dist/", location.href).href;
    const { baseUrl, files } = listed(model);
    const { name } = files.find((file) => file.name.endsWith(".onnx"));
    const session = await ort.InferenceSession.create(new URL(name, baseUrl).href, {
      executionProviders: ["wasm"], graphOptimizationLevel: "all",
    });
    return {
      about: { inputs: session.inputNames, outputs: session.outputNames },
      async embed(_, ids) {
        const int64 = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
        const given = { input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)), token_type_ids: int64(ids.map(() => 0)) };
        const began = performance.now();
        const inputs = Object.fromEntries(session.inputNames.map((name) => [name, given[name]]));
        const outputs = await session.run(inputs);
        const output = outputs.last_hidden_state ?? outputs[session.outputNames[0]];
        const vector = meanOfUnitLength(output.data, output.dims);
        return { ms: performance.now() - began, vector, ids };
      },
      close: () => session.release(),
    };
  },

  // --- encoders on the same graph ------------------------------------------------------------------------------------

  async "fewbit:encode"({ model, inputs, output, backend }) {
    const tensors = await fetched(inputs);
    const { load } = await import("/fewbit/index.js");
    const fewbit = await load(listed(model), backend === "webnn" ? { backend, webnn: WEBNN } : { backend, threads: 1 });
    return {
      about: about(fewbit.info),
      async encode() {
        const began = performance.now();
        const outputs = await fewbit.forward(tensors, { outputs: [output] });
        const ms = performance.now() - began;
        const { buffer, byteOffset, byteLength } = outputs[output].data;
        this.output = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
        return { ms };
      },
      close: () => fewbit.dispose(),
    };
  },

  async "onnxruntime-web:encode"({ onnx, inputs, output, backend }) {
    const tensors = await fetched(inputs);
    const ort = await import(`/npm/onnxruntime-web/dist/ort.${backend === "webnn" ? "all" : "wasm"}.min.mjs`);
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("/npm/onnxruntime-web/dist/", location.href).href;
    const session = await ort.InferenceSession.create(new URL(onnx, location.href).href, {
      executionProviders: [backend === "webnn" ? { name: "webnn", deviceType: "cpu", ...WEBNN } : "wasm"],
      graphOptimizationLevel: "all",
    });
    // Exported files take integers of 64 bits.
    const types = {
      f32: (buffer) => ["float32", new Float32Array(buffer)],
      i32: (buffer) => ["int64", BigInt64Array.from(new Int32Array(buffer), BigInt)],
    };
    const given = {};
    for (const [name, { type, shape, data }] of Object.entries(tensors)) {
      given[name] = new ort.Tensor(...types[type](data.buffer), shape);
    }
    return {
      about: { version: ort.env.versions.web, inputs: session.inputNames, outputs: session.outputNames },
      async encode() {
        const began = performance.now();
        // All nodes run; only this output is copied out.
        const outputs = await session.run(given, [output]);
        const ms = performance.now() - began;
        this.output = outputs[output].data;
        return { ms };
      },
      close: () => session.release(),
    };
  },
};

/** Tensors that the benchmark serves as raw elements: name → { type, shape, data (bytes) }. */
async function fetched({ base, tensors }) {
  const named = {};
  for (const [name, { type, shape, file }] of Object.entries(tensors)) {
    const answer = await fetch(new URL(file, new URL(base, location.href)));
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    named[name] = { type, shape, data: new Uint8Array(await answer.arrayBuffer()) };
  }
  return named;
}

/** How far two outputs are from each other. */
function distance(ours, theirs) {
  if (ours.length !== theirs.length || ours.length === 0) throw new Error(`${ours.length} and ${theirs.length} elements`);
  let difference = 0;
  let length = 0;
  let largest = 0;
  for (let i = 0; i < ours.length; i++) {
    const off = ours[i] - theirs[i];
    difference += off * off;
    length += theirs[i] * theirs[i];
    if (!(Math.abs(off) <= largest)) largest = Math.abs(off);
  }
  return { elements: ours.length, difference: Math.sqrt(difference / length), largest };
}

/** Mean over the tokens, scaled to length 1. A model that pools by itself gives one vector. */
function meanOfUnitLength(data, dims) {
  const width = dims.at(-1);
  const mean = new Float64Array(width);
  for (let i = 0; i < data.length; i++) mean[i % width] += data[i];
  const length = Math.hypot(...mean);
  return [...mean].map((value) => value / length);
}

/** Tokens per second before and after the first token came. */
function rates(began, times, promptTokens) {
  const toFirst = times[0] - began;
  const decode = times.at(-1) - times[0];
  return {
    timeToFirstToken: toFirst,
    prefillPerSecond: promptTokens ? (promptTokens / toFirst) * 1000 : null,
    decodePerSecond: times.length > 1 ? ((times.length - 1) / decode) * 1000 : null,
  };
}

function listed({ name, base, files }) {
  return { name, baseUrl: new URL(base, location.href), files: files.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })) };
}

function about({ backend, variant, threads, activations }) {
  return { backend, variant, threads: threads.got, activations };
}

window.peers = {
  async load({ name, ...input }) {
    const began = performance.now();
    loaded[name] = await loaders[name](input);
    return { ms: performance.now() - began, about: loaded[name].about };
  },
  generate: ({ name, prompt, tokens }) => loaded[name].generate(prompt, tokens),
  embed: ({ name, text, ids }) => loaded[name].embed(text, ids),
  encode: ({ name }) => loaded[name].encode(),
  compare: ({ name, peer }) => distance(loaded[name].output, loaded[peer].output),
  async close({ name }) {
    await loaded[name].close();
    delete loaded[name];
  },
};
