// Which models there are: what the host's manifest lists, and files on this computer.

import { byId, make } from "./dom.js";
import { bytes } from "./format.js";

const FALLBACK = [{ name: "smollm2-135m-instruct", title: "SmolLM2 135M Instruct, Q4_1", task: "generate", bytes: null, here: null }];

/** The host's manifest; the package's own models where there is no host. */
export async function listModels() {
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
      task: model.task === "embed" ? "embed" : "generate",
      bytes: Number.isFinite(model.bytes) ? model.bytes : null,
      here: typeof model.here === "boolean" ? model.here : null,
    }));
  return models.length > 0 ? models : FALLBACK;
}

/** Fills the list, models that answer first. */
export function showModels(models) {
  const select = byId("model");
  const before = select.value;
  const option = (value, text) => {
    const element = make("option", "", text);
    element.value = value;
    return element;
  };
  const group = (label, list) => {
    const element = make("optgroup", "", ...list.map(({ name, title }) => option(name, title)));
    element.label = label;
    return element;
  };
  const answering = models.filter(({ task }) => task === "generate");
  const embedding = models.filter(({ task }) => task === "embed");
  select.replaceChildren(
    ...(answering.length > 0 ? [group("Answers", answering)] : []),
    ...(embedding.length > 0 ? [group("Compares sentences", embedding)] : []),
    option("file", "A GGUF file on this computer…"),
  );
  if (models.some(({ name }) => name === before)) select.value = before;
}

/** What there is to know of the chosen model before it is loaded. */
showModels.note = (models) => {
  const chosen = models.find(({ name }) => name === byId("model").value);
  const note = byId("model-note");
  if (!chosen) {
    showModels.file(byId("file").files[0]);
    return;
  }
  const parts = [];
  if (chosen.bytes) parts.push(bytes(chosen.bytes));
  if (chosen.here === true) parts.push("served from this machine");
  if (chosen.here === false) parts.push("downloaded from the internet");
  note.textContent = parts.join(", ");
};

showModels.file = (file) => {
  byId("model-note").textContent = file ? `${file.name}, ${bytes(file.size)}` : "Choose a file, then load it.";
};
