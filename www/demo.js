// The demo page. It knows the package's published API and nothing behind it.
//
// `?model=…&backend=…&prompt=…&max_tokens=…&temperature=…` fill in the form, and `&run` starts at once. What the page does
// is told to programs that drive it in `window.fewbitDemo` (see demo/report.js).

import { Composer } from "./demo/composer.js";
import { Conversation } from "./demo/conversation.js";
import { byId } from "./demo/dom.js";
import { listModels, showModels } from "./demo/models.js";
import { Problem } from "./demo/problem.js";
import { LoadProgress } from "./demo/progress.js";
import { report } from "./demo/report.js";
import { showRunsOn } from "./demo/runs-on.js";
import { samplingOptions, systemMessage } from "./demo/sampling.js";
import { showSimilarity } from "./demo/similarity.js";
import { watchStorage } from "./demo/storage.js";
import { watchTheme } from "./demo/theme.js";

const root = document.documentElement;
const problem = new Problem();
const conversation = new Conversation();
const progress = new LoadProgress();
let fewbit = null;
let models = [];
let model = null;
/** What stops the download or the answer that is under way. */
let running = null;

const composer = new Composer({ send, stop: () => running?.abort() });

function setState(state) {
  root.dataset.state = state;
  report({ state });
  const busy = state === "loading" || state === "generating";
  byId("load").disabled = busy;
  byId("model").disabled = busy;
  byId("backend").disabled = busy;
  for (const button of document.querySelectorAll(".suggestion")) button.disabled = busy;
  composer.setBusy(state);
}

function say(text) {
  byId("status").textContent = text;
}

/** Runs `work` with a signal, and shows what goes wrong; resolves to whether it went well. */
async function attempt(state, work, retry) {
  problem.hide();
  running = new AbortController();
  setState(state);
  try {
    await work(running.signal);
    setState(model ? "ready" : "idle");
    return true;
  } catch (error) {
    const stopped = error?.code === "aborted" || error?.name === "AbortError";
    setState(stopped ? (model ? "ready" : "idle") : "error");
    if (stopped) say("Stopped.");
    else {
      problem.show(error, retry);
      report({ error: { code: String(error?.code ?? error?.name ?? "error"), message: String(error?.message ?? error) } });
    }
    return false;
  } finally {
    running = null;
  }
}

function chosenSource() {
  const chosen = byId("model").value;
  return chosen === "file" ? byId("file").files[0] : chosen;
}

async function loadModel() {
  const source = chosenSource();
  if (!source) {
    byId("file").click();
    return false;
  }
  model?.dispose();
  model = null;
  byId("runs-on").hidden = true;
  progress.start();
  const went = await attempt(
    "loading",
    async (signal) => {
      model = await fewbit.load(source, {
        backend: byId("backend").value,
        signal,
        onProgress: (event) => report({ stage: progress.update(event) }),
      });
    },
    () => byId("load-form").requestSubmit(),
  );
  progress.hide();
  storage.refresh();
  if (!went) return false;
  showRunsOn(model.info);
  report({ info: model.info });
  const chats = model.info.tasks.includes("chat") || model.info.tasks.includes("generate");
  byId("conversation").hidden = !chats;
  byId("composer").hidden = !chats;
  byId("live").hidden = !chats;
  byId("similarity").hidden = chats;
  byId("load").textContent = "Load again";
  say(`${model.info.name} is ready, computed by ${model.info.backend}.`);
  if (chats) composer.focus();
  problem.hide();
  return true;
}

async function send(text) {
  byId("new-chat").hidden = false;
  conversation.ask(text);
  if (model || (await loadModel())) await answer();
}

/** Answers the conversation's last question. */
async function answer() {
  if (!model.info.tasks.some((task) => task === "chat" || task === "generate")) return;
  const messages = [...systemMessage(), ...conversation.history()];
  report({ text: "", tokens: 0, timings: null, stage: "generating" });
  const went = await attempt(
    "generating",
    async (signal) => {
      const reply = conversation.begin();
      composer.live("Reading the conversation …");
      try {
        const generation = model.generate({ messages }, { ...samplingOptions(), signal });
        for await (const token of generation) {
          reply.push(token.text);
          report(reply.sofar());
          composer.live(reply.speed());
        }
        const result = await generation.result;
        reply.finish(result);
        report({ text: result.text, tokens: result.usage.completionTokens, timings: result.timings });
        say("The answer is complete.");
      } catch (error) {
        reply.stop(error);
        throw error;
      } finally {
        composer.live("");
      }
    },
    () => {
      conversation.takeBackAnswer();
      return answer();
    },
  );
  if (went) report({ state: "done" });
}

byId("load-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  // A question may have waited for the model.
  if ((await loadModel()) && conversation.isWaiting()) await answer();
});
byId("cancel").addEventListener("click", () => running?.abort());
byId("new-chat").addEventListener("click", () => {
  running?.abort();
  conversation.clear();
  byId("new-chat").hidden = true;
  composer.focus();
});
byId("model").addEventListener("change", () => {
  if (byId("model").value === "file") byId("file").click();
  showModels.note(models);
});
byId("file").addEventListener("change", () => showModels.file(byId("file").files[0]));
byId("panel-toggle").addEventListener("click", () => {
  const open = byId("panel").classList.toggle("open");
  byId("panel-toggle").setAttribute("aria-expanded", String(open));
});
byId("similarity-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (model) attempt("generating", (signal) => showSimilarity(model, signal), null);
});
for (const button of document.querySelectorAll(".suggestion")) {
  button.addEventListener("click", () => send(button.textContent));
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) running.abort();
});

watchTheme(byId("theme"));
const storage = watchStorage(() => fewbit?.cache ?? null, (error) => problem.show(error, null));

function fillIn() {
  const wanted = new URLSearchParams(location.search);
  for (const [name, id] of [
    ["backend", "backend"],
    ["prompt", "prompt"],
    ["max_tokens", "max-tokens"],
    ["temperature", "temperature"],
    ["model", "model"],
  ]) {
    const value = wanted.get(name);
    if (value === null) continue;
    const field = byId(id);
    const before = field.value;
    field.value = value;
    if (field.value !== value) field.value = before;
  }
  composer.fit();
  return wanted.has("run");
}

// Nothing can be asked before the package is there.
setState("loading");
try {
  fewbit = await import("/fewbit/index.js");
  models = await listModels();
  showModels(models);
  const run = fillIn();
  showModels.note(models);
  storage.refresh();
  setState("idle");
  if (run) byId("composer").requestSubmit();
} catch (error) {
  setState("error");
  const message = `The package could not be loaded: ${error.message}`;
  problem.show({ code: "worker", message }, () => location.reload());
  report({ error: { code: "worker", message } });
}
