// Errors: what happened, and what can be done.

import { byId } from "./dom.js";

/** By the `code` of the package's errors. */
const KNOWN = {
  network: ["The download broke off", "What has arrived is kept: try again, and it goes on from there."],
  http: ["The server refused", "Look whether the model's address is right and needs no login."],
  not_found: ["There is no such model", "Choose another one, or have the host fetch it: fewbit models pull NAME."],
  checksum: ["A file is not what it should be", "It was damaged on its way or changed at its source. It was not kept; try again."],
  quota: ["Too little storage", "Remove stored models under the settings, or free space on the disk."],
  cache: ["The browser's storage failed", "A private window often has none. The model can still be loaded in a normal one."],
  bad_model: ["The model's file cannot be read", "It is damaged, or no model that fewbit knows."],
  unsupported: ["Not supported", "The message names what is lacking: another model, back end or browser may have it."],
  unavailable: ["That back end is not there", "Choose Automatic or WebAssembly."],
  context_full: ["The conversation is too long", "Begin a new chat, or ask for fewer tokens."],
  template: ["The model's chat template failed", "The model's files ask for something that this page does not have."],
  out_of_memory: ["Out of memory", "Close other tabs, or choose a smaller model."],
  device_lost: ["The graphics device was lost", "Load the model again; WebAssembly needs no graphics device."],
  worker: ["The engine did not start", "Look whether the page's files are all there: cargo xtask build makes them."],
  bad_argument: ["A setting cannot be used", "Look at what the message names, here or under the settings."],
  disposed: ["The model is no longer loaded", "Load it again."],
};

export class Problem {
  #retry = null;

  constructor() {
    byId("problem-close").addEventListener("click", () => this.hide());
    byId("problem-retry").addEventListener("click", () => {
      const retry = this.#retry;
      this.hide();
      retry?.();
    });
  }

  show(error, retry) {
    const code = typeof error?.code === "string" ? error.code : "";
    const message = String(error?.message ?? error);
    const [title, advice] = KNOWN[code] ?? ["Something went wrong", ""];
    this.#retry = retry ?? null;
    byId("problem-title").textContent = title;
    byId("problem-message").textContent = message;
    byId("problem-advice").textContent = advice;
    byId("problem-code").textContent = code;
    byId("problem-retry").hidden = this.#retry === null;
    byId("problem").dataset.problem = JSON.stringify({ code, message });
    byId("problem").hidden = false;
    byId("problem").scrollIntoView({ block: "nearest" });
  }

  hide() {
    byId("problem").hidden = true;
    delete byId("problem").dataset.problem;
  }
}
