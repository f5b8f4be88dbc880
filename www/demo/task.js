// A page with a form that runs a task: its button, Stop, how far it is, and the answer.

import { byId } from "./dom.js";
import { duration } from "./format.js";
import { Page } from "./page.js";
import { report } from "./report.js";

/** What the package says of a call's progress. */
const PHASES = { module: "Fetching the decoders", prepare: "Preparing", compute: "Computing" };

/** What the user has still to give, said beside the button. */
export class Missing extends Error {}

/**
 * Makes the page `name`. `needs()` is what it is set to (see page.js); `read()` gives the input from the form or throws
 * {@link Missing}; `work(input, { model, signal, tell, onProgress })` does it and resolves to plain data for programs; `fill(wanted)` takes
 * what the address has; `answer` is scrolled to.
 */
export async function taskPage(name, { needs, read, work, fill = () => {}, answer = byId("answer") }) {
  const tell = (text, part = null) => {
    byId("run-text").classList.remove("missing");
    byId("run-text").textContent = text;
    byId("run-bar").hidden = part === null;
    if (part !== null) byId("run-bar").value = part;
  };
  const onProgress = ({ phase, loaded, total }) => tell(`${PHASES[phase] ?? phase} …`, total > 1 ? loaded / total : null);
  const page = new Page(name, {
    needs,
    changed: (state) => {
      const working = state === "working";
      const stopHadFocus = document.activeElement === byId("stop");
      byId("run").hidden = working;
      byId("run").disabled = state === "loading";
      byId("stop").hidden = !working;
      byId("task").setAttribute("aria-busy", String(working));
      if (stopHadFocus && !working) byId("run").focus();
    },
  });
  byId("stop").addEventListener("click", () => page.stop());

  async function run() {
    if (page.busy) return;
    tell("");
    let input;
    try {
      input = read();
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      byId("run-text").textContent = error.message;
      byId("run-text").classList.add("missing");
      page.say(error.message);
      return;
    }
    report({ result: null, notice: null });
    const model = await page.ready();
    if (model === null) return;
    const went = await page.attempt(
      "working",
      async (signal) => {
        tell("Working …");
        const began = performance.now();
        const result = await work(input, { model, signal, tell, onProgress });
        const took = duration(performance.now() - began);
        tell(`Took ${took}.`);
        page.say(`Done, in ${took}.`);
        report({ result });
        answer.scrollIntoView({ block: "nearest" });
      },
      run,
    );
    if (went) report({ state: "done" });
    else tell(document.documentElement.dataset.state === "error" ? "" : "Stopped.");
  }

  // Whatever is given next, the hint is no longer about it.
  for (const event of ["input", "change"]) {
    byId("task").addEventListener(event, () => {
      if (byId("run-text").classList.contains("missing")) tell("");
    });
  }
  byId("task").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  if (await page.start(fill)) run();
  return page;
}
