// The chat page. It knows the package's published API and nothing behind it.
//
// Beside what demo/page.js reads, `?prompt=…&max_tokens=…&temperature=…` fill in the form.

import { Composer } from "./demo/composer.js";
import { Conversation } from "./demo/conversation.js";
import { byId } from "./demo/dom.js";
import { Page } from "./demo/page.js";
import { report } from "./demo/report.js";
import { samplingOptions, systemMessage } from "./demo/sampling.js";

const TASKS = ["chat", "generate"];

const conversation = new Conversation();
const composer = new Composer({ send, stop: () => page.stop() });
const page = new Page("chat", {
  needs: () => ({ tasks: TASKS }),
  workState: "generating",
  changed: (state) => {
    const busy = state === "loading" || state === "generating";
    for (const button of document.querySelectorAll(".suggestion")) button.disabled = busy;
    composer.setBusy(state);
  },
});

async function send(text) {
  byId("new-chat").hidden = false;
  conversation.ask(text);
  await answer();
}

/** Answers the conversation's last question; loads the model first if it is not there. */
async function answer() {
  const model = await page.ready();
  if (model === null) return;
  const messages = [...systemMessage(), ...conversation.history()];
  report({ text: "", tokens: 0, timings: null, stage: "generating" });
  const went = await page.attempt(
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
        page.say("The answer is complete.");
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

page.afterLoad = () => {
  composer.focus();
  // A question may have waited for the model.
  if (conversation.isWaiting()) answer();
};
byId("new-chat").addEventListener("click", () => {
  page.stop();
  conversation.clear();
  byId("new-chat").hidden = true;
  composer.focus();
});
for (const button of document.querySelectorAll(".suggestion")) {
  button.addEventListener("click", () => send(button.textContent));
}

function fillIn(wanted) {
  for (const [name, id] of [
    ["prompt", "prompt"],
    ["max_tokens", "max-tokens"],
    ["temperature", "temperature"],
  ]) {
    const value = wanted.get(name);
    if (value === null) continue;
    const field = byId(id);
    const before = field.value;
    field.value = value;
    if (field.value !== value) field.value = before;
  }
  composer.fit();
}

if (await page.start(fillIn)) byId("composer").requestSubmit();
