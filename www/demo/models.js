// Which models there are for a page's tasks: what the host's manifest lists, well-known ones on Hugging Face, an address, and files
// on this computer.

import { byId, make } from "./dom.js";
import { bytes, count } from "./format.js";
import { HUGGING_FACE } from "./hugging-face.js";

/** What the package knows by itself, where there is no host. */
const FALLBACK = [
  { name: "smollm2-135m-instruct", title: "SmolLM2 135M Instruct, Q4_1", task: "generate", bytes: 98362432, here: null },
  { name: "all-minilm-l6-v2", title: "all-MiniLM-L6-v2", task: "embed", bytes: 91336289, here: null },
];
const FILE = "file";
const FOLDER = "folder";
const HAS_FOLDERS = "webkitdirectory" in HTMLInputElement.prototype;

/** The host's manifest. */
async function listModels() {
  let manifest = null;
  try {
    const response = await fetch("/models/manifest.json");
    if (response.ok) manifest = await response.json();
  } catch {
    // No host: the package knows some models by itself.
  }
  const models = (manifest?.models ?? [])
    .filter((model) => typeof model?.name === "string")
    .map((model) => ({
      name: model.name,
      title: typeof model.title === "string" ? model.title : model.name,
      // As the package names tasks: "zero-shot" is `zeroShot`.
      task: String(model.task ?? "").replace(/[-_](.)/g, (_, letter) => letter.toUpperCase()),
      bytes: Number.isFinite(model.bytes) ? model.bytes : null,
      here: typeof model.here === "boolean" ? model.here : null,
    }));
  return models.length > 0 ? models : FALLBACK;
}

/** The choice of a model, for a page that needs one of `tasks`. */
export class ModelChoice {
  #tasks;
  #select = byId("model");
  #listed = [];
  #elsewhere = [];
  /** Files that the user chose, by the option they belong to. */
  #files = { [FILE]: null, [FOLDER]: null };
  #changed;

  constructor(tasks, changed) {
    this.#tasks = tasks;
    this.#changed = changed;
    byId("folder").webkitdirectory = HAS_FOLDERS;
    byId("file").addEventListener("change", () => this.#take(FILE, [...byId("file").files]));
    byId("folder").addEventListener("change", () => this.#take(FOLDER, modelFiles(byId("folder").files)));
    this.#select.addEventListener("change", () => {
      if (this.#files[this.#select.value] === null) this.#pick();
      this.#show();
    });
  }

  /** Fills the list; `wanted` is a name or an address to choose. */
  async fill(wanted) {
    const isOurs = ({ task }) => this.#tasks.includes(task);
    this.#listed = (await listModels()).filter(isOurs);
    this.#elsewhere = HUGGING_FACE.filter(isOurs);
    const known = this.#listed.map(({ name, title }) => option(name, title));
    const once = this.#elsewhere.filter(({ url }, at, all) => all.findIndex((other) => other.url === url) === at);
    const distant = once.map(({ url, title }) => option(url, title));
    const own = [option(FOLDER, HAS_FOLDERS ? "A model's folder…" : "A model's files…")];
    if (this.#tasks.includes("generate")) own.push(option(FILE, "A GGUF file…"));
    const named = wanted && this.#listed.find((model) => model.name === wanted);
    const address = wanted && !named && /^(https?:|\/|\.)/.test(wanted) ? [option(wanted, nameOf(wanted))] : [];
    this.#select.replaceChildren(
      ...group("By its address", address),
      ...group("Known by name", known),
      ...group("From Hugging Face", distant),
      ...group("On this computer", own),
    );
    if (named || address.length > 0) this.#select.value = wanted;
    this.#show();
  }

  /**
   * Chooses the first model for `tasks` and `input` where the chosen one is known to be for another; what the user brought stays.
   */
  prefer({ tasks, input }) {
    const fits = (model) => tasks.includes(model.task) && (input === undefined || (model.input ?? input) === input);
    const all = [...this.#listed.map((model) => ({ ...model, value: model.name })), ...this.#elsewhere.map((model) => ({ ...model, value: model.url }))];
    const { value } = this.#select;
    const isKnown = all.some((model) => model.value === value);
    if (!isKnown || all.some((model) => model.value === value && fits(model))) return;
    const better = all.find(fits);
    if (better) this.#select.value = better.value;
    this.#show();
  }

  /** What tells one choice from another. */
  get key() {
    const files = this.#files[this.#select.value];
    return JSON.stringify([this.#select.value, byId("backend").value, files?.map((file) => [file.webkitRelativePath || file.name, file.size, file.lastModified])]);
  }

  /** The choice in a link to another page; files cannot go along. */
  get search() {
    const { value } = this.#select;
    return value in this.#files ? "" : `?model=${encodeURIComponent(value)}`;
  }

  /** What the user knows it by. */
  get name() {
    const files = this.#files[this.#select.value];
    return files ? nameOfFiles(files) : (this.#select.selectedOptions[0]?.textContent.replace(/…$/, "") ?? "");
  }

  /** What `load` takes; where files are still to be chosen, asks for them. `null`: the user chose none. */
  async source() {
    const { value } = this.#select;
    if (!(value in this.#files)) return value;
    if (this.#files[value] === null && !(await this.#pick())) return null;
    const files = this.#files[value];
    return value === FILE ? files[0] : files;
  }

  /** Opens the browser's dialog; resolves to whether something was chosen. */
  #pick() {
    const input = byId(this.#select.value);
    return new Promise((resolve) => {
      const done = (chosen) => () => {
        end.abort();
        resolve(chosen && this.#files[this.#select.value] !== null);
      };
      const end = new AbortController();
      input.addEventListener("change", done(true), { signal: end.signal });
      input.addEventListener("cancel", done(false), { signal: end.signal });
      input.click();
    });
  }

  #take(which, files) {
    this.#files[which] = files.length > 0 ? files : null;
    this.#show();
  }

  /** What there is to know of the chosen model before it is loaded. */
  #show() {
    const { value } = this.#select;
    byId("model-note").textContent = value in this.#files ? this.#filesNote(value) : this.#note(value);
    this.#changed();
  }

  #filesNote(which) {
    const files = this.#files[which];
    if (files === null) {
      if (which === FILE) return "Nothing is uploaded: the file is read where it is.";
      return "A checkpoint as Hugging Face has it: config.json, model.safetensors, tokenizer.json, … Nothing is uploaded: the files are read where they are.";
    }
    const size = bytes(files.reduce((sum, file) => sum + file.size, 0));
    const name = nameOfFiles(files);
    return files.length === 1 ? `${name}, ${size}` : `${name}: ${count(files.length, "file", "files")}, ${size}`;
  }

  #note(value) {
    const chosen = this.#listed.find(({ name }) => name === value);
    const distant = this.#elsewhere.find(({ url }) => url === value);
    if (distant) return `${distant.repository}, downloaded from Hugging Face`;
    if (!chosen) return value;
    const parts = [];
    if (chosen.bytes) parts.push(bytes(chosen.bytes));
    if (chosen.here === true) parts.push("served from this machine");
    if (chosen.here === false) parts.push("downloaded from the internet");
    return parts.join(", ");
  }
}

/** The files of a folder that a model may consist of: no hidden ones, such as a repository's `.git`, and none further down. */
function modelFiles(list) {
  return [...list].filter((file) => {
    const path = (file.webkitRelativePath || file.name).split("/");
    return path.length <= 3 && path.every((part) => !part.startsWith("."));
  });
}

/** The folder's name, or that of the first file. */
function nameOfFiles([first]) {
  return first.webkitRelativePath.split("/")[0] || first.name;
}

function nameOf(address) {
  return decodeURIComponent(address.replace(/\/$/, "").split("/").at(-1)) || address;
}

function option(value, text) {
  const element = make("option", "", text);
  element.value = value;
  return element;
}

function group(label, options) {
  if (options.length === 0) return [];
  const element = make("optgroup", "", ...options);
  element.label = label;
  return [element];
}
