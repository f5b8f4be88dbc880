// Blanks filled in, translations, summaries.
//
// Beside what page.js reads: `?what=fillMask|translate|summarize` and `?text=…`.

import { showBars } from "./demo/bars.js";
import { byId, make } from "./demo/dom.js";
import { WRITTEN, fillLanguages } from "./demo/languages.js";
import { choose, chosen, watchChoice } from "./demo/segments.js";
import { Missing, taskPage } from "./demo/task.js";

const FIELDS = { fillMask: "blanks", translate: "foreign", summarize: "long" };
const RUN = { fillMask: "Fill in", translate: "Translate", summarize: "Summarize" };
const HEADINGS = { fillMask: "Likeliest words", translate: "Translation", summarize: "Summary" };
const BLANK = "[MASK]";
/** A blank, as the tokenizers of BERT and RoBERTa write it. */
const MASKS = /\[MASK\]|<mask>/g;

const WORK = {
  fillMask: async (text, { model, signal, onProgress }) => {
    const mask = model.info.architecture === "roberta" ? "<mask>" : BLANK;
    const blanks = await model.fillMask(text.replace(MASKS, mask), { topK: 5, signal, onProgress });
    byId("filled").replaceChildren(
      ...blanks.flatMap((candidates, at) => {
        const list = make("ol", "bars");
        showBars(list, candidates.map(({ token, score }) => ({ label: token.trim(), score })));
        return blanks.length > 1 ? [make("h3", "", `Blank ${at + 1}`), list] : [list];
      }),
    );
    byId("written").textContent = blanks.length === 1 ? (blanks[0][0]?.sequence ?? "") : "";
    return blanks;
  },
  translate: (text, tools) => write(tools.model.translate(text, { from: byId("from").value, to: byId("to").value, signal: tools.signal }), tools),
  summarize: (text, tools) => write(tools.model.summarize(text, { signal: tools.signal }), tools),
};

async function write(stream, { tell }) {
  const written = byId("written");
  written.classList.add("streaming");
  let tokens = 0;
  try {
    for await (const { text } of stream) {
      written.append(text);
      tokens += 1;
      tell(`${tokens} tokens …`);
    }
    const { text } = await stream.result;
    written.textContent = text.trim();
    return { text };
  } finally {
    written.classList.remove("streaming");
  }
}

function forget() {
  byId("answer").hidden = true;
  byId("written").textContent = "";
  byId("filled").replaceChildren();
}

fillLanguages(byId("from"), WRITTEN);
fillLanguages(byId("to"), WRITTEN);
byId("from").value = "en";
byId("to").value = "de";
byId("blank").addEventListener("click", () => {
  const field = byId("blanks");
  field.setRangeText(BLANK, field.selectionStart, field.selectionEnd, "end");
  field.focus();
});

let page = null;
watchChoice("what", (what) => {
  byId("run").textContent = RUN[what];
  forget();
  page?.turned();
});
page = await taskPage("text", {
  needs: () => ({ tasks: [chosen("what")], input: "text" }),
  fill: (wanted) => {
    choose("what", wanted.get("what"));
    if (wanted.has("text")) byId(FIELDS[chosen("what")]).value = wanted.get("text");
  },
  read: () => {
    const what = chosen("what");
    const text = byId(FIELDS[what]).value.trim();
    if (text === "") throw new Missing("Write a text first.");
    if (what === "fillMask" && text.search(MASKS) < 0) throw new Missing("Insert a blank where a word is to be found.");
    if (what === "translate" && byId("from").value === byId("to").value) throw new Missing("Choose two different languages.");
    return { what, text };
  },
  work: ({ what, text }, tools) => {
    forget();
    byId("answer-heading").textContent = HEADINGS[what];
    byId("answer").hidden = false;
    return WORK[what](text, tools);
  },
});
