// A page's model and what runs on it: loading, one piece of work at a time, stopping it, and saying plainly what cannot be done.
//
// `?model=NAME|URL&backend=…` choose, and `&run` starts at once. What the page does is told to programs that drive it in
// `window.fewbitDemo` (see report.js).

import { byId, make } from "./dom.js";
import { ModelChoice } from "./models.js";
import { PAGES, VERBS, pageOf } from "./pages.js";
import { Problem } from "./problem.js";
import { LoadProgress } from "./progress.js";
import { report } from "./report.js";
import { showRunsOn } from "./runs-on.js";
import { buildShell, openPanel } from "./shell.js";
import { watchStorage } from "./storage.js";

const NOUNS = { text: "text", image: "pictures", audio: "sound" };
/** What models of an architecture take, for builds of the package that do not tell. */
const TAKES = { vit: ["image"], deit: ["image"], detr: ["image"], clip: ["image"], whisper: ["audio"], wav2vec2: ["audio"], clap: ["audio"] };

export class Page {
  /** The loaded model, `null` before. */
  model = null;
  #needs;
  #changed;
  #fewbit = null;
  #choice;
  #loadedKey = null;
  /** What stops the download or the work that is under way. */
  #running = null;
  #problem;
  #progress;
  #storage;

  /**
   * `needs()` gives what the page is set to: `{ tasks, input }`, of which the model must have one task and take the input (`text`,
   * `image`, `audio`). `changed(state)` is told idle, loading, ready, working (`workState`), error.
   */
  constructor(name, { needs, changed = () => {}, workState = "working" }) {
    buildShell(name);
    this.#needs = needs;
    this.#changed = changed;
    this.workState = workState;
    this.#problem = new Problem();
    this.#progress = new LoadProgress();
    this.#choice = new ModelChoice(PAGES.find((page) => page.name === name).tasks, () => this.#showChoice());
    this.#storage = watchStorage(() => this.#fewbit?.cache ?? null, (error) => this.#problem.show(error, null));
    byId("load-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      if (await this.load()) this.afterLoad();
    });
    byId("backend").addEventListener("change", () => this.#showChoice());
    byId("cancel").addEventListener("click", () => this.stop());
    addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
    });
  }

  /** Called when the user has loaded a model by the button. */
  afterLoad = () => {};

  /** Gets the package and the list of models; `ready(wanted)` may fill in the page from the address. Resolves to whether to run at once. */
  async start(ready = () => {}) {
    this.#setState("loading");
    const wanted = new URLSearchParams(location.search);
    try {
      this.#fewbit = await import("/fewbit/index.js");
      const backend = wanted.get("backend");
      if ([...byId("backend").options].some(({ value }) => value === backend)) byId("backend").value = backend;
      await this.#choice.fill(wanted.get("model"));
      ready(wanted);
      if (!wanted.has("model")) this.#choice.prefer(this.#needs());
      this.#storage.refresh();
      this.#setState("idle");
      return wanted.has("run");
    } catch (error) {
      this.#setState("error");
      const message = `The package could not be loaded: ${error.message}`;
      this.#problem.show({ code: "worker", message }, () => location.reload());
      report({ error: { code: "worker", message } });
      return false;
    }
  }

  get busy() {
    return this.#running !== null || this.#fewbit === null;
  }

  stop() {
    this.#running?.abort();
  }

  /** For people who do not see the page. */
  say(text) {
    byId("status").textContent = text;
  }

  /** The chosen model, loaded if it is not; `null` if that failed or it cannot do what the page is set to. */
  async ready() {
    if (this.model === null || this.#loadedKey !== this.#choice.key) {
      if (!(await this.load())) return null;
    }
    return this.check() ? this.model : null;
  }

  /** Loads what is chosen; resolves to whether it went well. */
  async load() {
    const source = await this.#choice.source();
    if (source === null || this.busy) return false;
    const { key } = this.#choice;
    this.model?.dispose();
    this.model = null;
    byId("runs-on").hidden = true;
    byId("notice").hidden = true;
    openPanel(false);
    this.#progress.start();
    const went = await this.attempt(
      "loading",
      async (signal) => {
        this.model = await this.#fewbit.load(source, {
          backend: byId("backend").value,
          signal,
          onProgress: (event) => report({ stage: this.#progress.update(event) }),
        });
      },
      () => byId("load-form").requestSubmit(),
    );
    this.#progress.hide();
    this.#storage.refresh();
    this.#loadedKey = went ? key : null;
    this.#showChoice();
    if (!went) return false;
    const { info } = this.model;
    showRunsOn(info);
    report({ info });
    this.say(`${this.#choice.name} is ready, computed by ${info.backend}.`);
    this.check();
    return true;
  }

  /** The page was set to something else: another model may be wanted. */
  turned() {
    if (this.model === null || this.#lacks(this.#needs()) !== null) this.#choice.prefer(this.#needs());
    if (this.#loadedKey === this.#choice.key) this.check();
    else byId("notice").hidden = true;
  }

  /** Whether the loaded model can do what the page is set to; says so if not. */
  check() {
    byId("notice").hidden = true;
    if (this.model === null) return true;
    const reason = this.#lacks(this.#needs());
    if (reason === null) return true;
    byId("notice-title").textContent = "Not with this model";
    byId("notice-text").textContent = reason;
    const pages = [...new Set(this.model.info.tasks.map(pageOf).filter((page) => page !== null))];
    byId("notice-links").replaceChildren(
      ...pages
        .filter(({ href }) => href !== location.pathname)
        .map((page) => {
          const link = make("a", "", `Open ${page.title}`);
          link.href = page.href + this.#choice.search;
          return make("li", "", link);
        }),
    );
    byId("notice").hidden = false;
    byId("notice").scrollIntoView({ block: "nearest" });
    report({ notice: reason });
    return false;
  }

  #lacks({ tasks, input }) {
    const { info } = this.model;
    const name = `${this.#choice.name} (${info.architecture})`;
    const task = tasks.find((wanted) => info.tasks.includes(wanted));
    const asked = VERBS[tasks[0]];
    if (task === undefined) {
      const can = info.tasks.map((other) => VERBS[other] ?? other);
      const instead = can.length > 0 ? `It can ${inWords(can)}.` : "Its files name nothing that this package knows as a task.";
      return `${name} cannot ${asked}. ${instead}`;
    }
    const method = task === "chat" ? "generate" : task;
    if (typeof this.model[method] !== "function") return `This build of the package cannot ${asked} yet: it has no ${method}().`;
    const takes = info.inputs ?? TAKES[info.architecture] ?? ["text"];
    if (input !== undefined && !takes.includes(input)) {
      return `${name} takes ${inWords(takes.map((kind) => NOUNS[kind] ?? kind))}, not ${NOUNS[input]}.`;
    }
    return null;
  }

  /** Runs `work` with a signal, and shows what goes wrong; resolves to whether it went well. */
  async attempt(state, work, retry) {
    this.#problem.hide();
    this.#running = new AbortController();
    report({ error: null });
    this.#setState(state);
    try {
      await work(this.#running.signal);
      this.#end(this.model ? "ready" : "idle");
      return true;
    } catch (error) {
      const stopped = error?.code === "aborted" || error?.name === "AbortError";
      this.#end(stopped ? (this.model ? "ready" : "idle") : "error");
      if (stopped) this.say("Stopped.");
      else this.fail(error, retry);
      return false;
    }
  }

  /** Shows an error. */
  fail(error, retry = null) {
    this.#problem.show(error, retry);
    report({ error: { code: String(error?.code ?? error?.name ?? "error"), message: String(error?.message ?? error) } });
  }

  #end(state) {
    this.#running = null;
    this.#setState(state);
  }

  #setState(state) {
    document.documentElement.dataset.state = state;
    report({ state });
    const busy = state === "loading" || state === this.workState;
    for (const id of ["load", "model", "backend"]) byId(id).disabled = busy;
    this.#changed(state);
  }

  #showChoice() {
    const same = this.model !== null && this.#loadedKey === this.#choice.key;
    byId("load").textContent = same ? "Load again" : "Load model";
    byId("load").className = same ? "quiet" : "primary";
    byId("model-line").textContent = `${this.#choice.name}${same ? ", ready" : ""}`;
  }
}

function inWords(list) {
  return list.length < 2 ? list.join("") : `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
}
