// The message box: Enter sends, Shift and Enter begin a line, the button stops what runs.

import { byId } from "./dom.js";

export class Composer {
  #box = byId("prompt");
  #busy = false;

  constructor({ send, stop }) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#box.value.trim();
      if (this.#busy || text === "") return;
      this.#box.value = "";
      this.fit();
      send(text);
    });
    byId("stop").addEventListener("click", stop);
    this.#box.addEventListener("input", () => this.fit());
    this.#box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("composer").requestSubmit();
    });
  }

  setBusy(state) {
    const generating = state === "generating";
    this.#busy = generating || state === "loading";
    const stopHadFocus = document.activeElement === byId("stop");
    byId("send").hidden = generating;
    byId("send").disabled = this.#busy;
    byId("stop").hidden = !generating;
    if (stopHadFocus && !generating) this.focus();
  }

  /** The line below the box while an answer comes. */
  live(text) {
    byId("live").textContent = text;
  }

  focus() {
    this.#box.focus();
  }

  /** As high as its text. */
  fit() {
    this.#box.style.height = "auto";
    this.#box.style.height = `${Math.min(this.#box.scrollHeight, 200)}px`;
  }
}
