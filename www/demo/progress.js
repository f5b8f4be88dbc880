// What loading does: which step, how many bytes, how fast, how long still.

import { byId } from "./dom.js";
import { bytes, duration } from "./format.js";

const PHASES = ["download", "verify", "upload", "compile"];
const TITLES = {
  download: "Downloading the model",
  verify: "Checking the files",
  upload: "Giving the weights to the back end",
  compile: "Making the model ready",
};

export class LoadProgress {
  #phase = null;
  /** Times and amounts of the last seconds, for the rate. */
  #samples = [];

  start() {
    this.#phase = null;
    byId("progress").hidden = false;
    byId("progress").scrollIntoView({ block: "nearest" });
    byId("progress-title").textContent = "Starting";
    byId("bar").removeAttribute("value");
    this.#text("", "", "");
    this.#mark(-1);
  }

  hide() {
    byId("progress").hidden = true;
  }

  /** Shows an event of the package; gives what is done now, in words. */
  update({ phase, loaded, total, file, cached = 0 }) {
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#samples = [];
      byId("progress-title").textContent = TITLES[phase] ?? phase;
      this.#mark(PHASES.indexOf(phase));
    }
    const bar = byId("bar");
    if (total) {
      bar.max = total;
      bar.value = Math.min(loaded, total);
    } else {
      bar.removeAttribute("value");
    }
    if (phase === "compile") {
      this.#text(total ? `Step ${Math.min(loaded, total)} of ${total}` : "", "", "");
      return TITLES[phase];
    }
    const amount = total ? `${bytes(loaded)} of ${bytes(total)}` : bytes(loaded);
    const details = [];
    if (file) details.push(file);
    if (cached > 0) details.push(cached >= (total ?? Infinity) ? "was stored already" : `${bytes(cached)} were there already: resumed`);
    this.#text(amount, this.#rate(loaded, total), details.join(" · "));
    return TITLES[phase] ?? phase;
  }

  #rate(loaded, total) {
    const now = performance.now();
    this.#samples.push({ now, loaded });
    while (this.#samples.length > 2 && now - this.#samples[0].now > 4000) this.#samples.shift();
    const first = this.#samples[0];
    const seconds = (now - first.now) / 1000;
    const perSecond = (loaded - first.loaded) / seconds;
    if (seconds < 0.5 || !(perSecond > 0)) return "";
    const left = total && total > loaded ? ` · ${duration(((total - loaded) / perSecond) * 1000)} left` : "";
    return `${bytes(Math.round(perSecond))}/s${left}`;
  }

  #text(amount, speed, detail) {
    byId("progress-amount").textContent = amount;
    byId("progress-rate").textContent = speed;
    byId("progress-detail").textContent = detail;
  }

  #mark(at) {
    for (const [index, step] of [...byId("steps").children].entries()) {
      step.className = index < at ? "done" : index === at ? "now" : "";
      if (index === at) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    }
  }
}
