// How the model is to answer, from the form.

import { byId } from "./dom.js";

function number(id) {
  const field = byId(id);
  const value = field.valueAsNumber;
  if (field.value.trim() === "") return undefined;
  if (!Number.isFinite(value) || !field.checkValidity()) {
    const name = document.querySelector(`label[for="${id}"]`)?.textContent ?? id;
    byId("sampling").open = true;
    throw Object.assign(new Error(`${name}: ${field.validationMessage || "not a number"}`), { code: "bad_argument" });
  }
  return value;
}

export function samplingOptions() {
  const options = {
    maxTokens: number("max-tokens"),
    temperature: number("temperature"),
    topP: number("top-p"),
    repetitionPenalty: number("repetition"),
    seed: number("seed") ?? crypto.getRandomValues(new Uint32Array(1))[0],
    whenFull: "drop_oldest",
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

export function systemMessage() {
  const content = byId("system").value.trim();
  return content === "" ? [] : [{ role: "system", content }];
}
