// Runs fewbit and other libraries in one page, on the same files and the same input, each with one thread.
// `bench-peers` calls the functions of `window.peers` in turn; all times are milliseconds of this page's clock, from
// the call to what comes back to the page, so that workers and messages count for everyone.

/** What is loaded: name → { generate(prompt, tokens) | embed(ids), close() }. */
const loaded = {};

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
    const session = await ort.InferenceSession.create(new URL(files[0].name, baseUrl).href, {
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
};

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
  async load({ name, model }) {
    const began = performance.now();
    loaded[name] = await loaders[name]({ model });
    return { ms: performance.now() - began, about: loaded[name].about };
  },
  generate: ({ name, prompt, tokens }) => loaded[name].generate(prompt, tokens),
  embed: ({ name, text, ids }) => loaded[name].embed(text, ids),
  async close({ name }) {
    await loaded[name].close();
    delete loaded[name];
  },
};
