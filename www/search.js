// Semantic search: passages of a text, the closest in meaning to a question first.
//
// Beside what page.js reads, `?query=…` fills in the question.

import { byId, make } from "./demo/dom.js";
import { count } from "./demo/format.js";
import { passagesOf } from "./demo/passages.js";
import { showSimilarity } from "./demo/similarity.js";
import { Missing, taskPage } from "./demo/task.js";

const EXAMPLE = `Photosynthesis is how green leaves turn sunlight, water and carbon dioxide into sugar. The oxygen that we breathe is what is left over.

The printing press with movable type spread through Europe after 1450. Within fifty years, millions of books had been made.

A heart beats about a hundred thousand times a day. Each beat pushes blood through vessels that would, end to end, reach around the Earth.

Tides follow the Moon. Its pull raises the sea on the near side and on the far side, and the Earth turns below those two swells.

Bread rises because yeast eats sugar and gives off gas. Kneading makes the dough strong enough to hold the bubbles.

Whales sing songs that change from year to year. A new tune in one ocean is soon sung thousands of kilometres away.

To save a file is to ask the system to keep it after the power is gone. Until it has said so, it may be lost.

Honey keeps for centuries, as it has so little water that nothing can live in it.`;
/** Texts in one call: often enough to show how far it is, and to stop. */
const BATCH = 8;
/** Passages shown at first. */
const FIRST = 5;

/** The vectors there are, by passage, and the model that made them. */
let known = { model: null, vectors: new Map() };

async function vectorsOf(texts, { model, signal, tell }) {
  if (known.model !== model) known = { model, vectors: new Map() };
  const { vectors } = known;
  const missing = [...new Set(texts)].filter((text) => !vectors.has(text));
  for (let at = 0; at < missing.length; at += BATCH) {
    tell(`Reading passage ${at + 1} of ${missing.length} …`, at / missing.length);
    const batch = missing.slice(at, at + BATCH);
    const made = await model.embed(batch, { signal });
    batch.forEach((text, index) => vectors.set(text, unit(made[index])));
  }
  return texts.map((text) => vectors.get(text));
}

function unit(vector) {
  const length = Math.hypot(...vector);
  return length > 0 ? vector.map((value) => value / length) : vector;
}

function passages() {
  return passagesOf(byId("text").value, byId("by").value);
}

function showResults(found, all) {
  const list = byId("results");
  list.replaceChildren(
    ...found.map(({ passage, score }, at) => {
      const bar = make("span", "bar");
      bar.style.setProperty("--part", `${Math.round(Math.max(0, score) * 100)}%`);
      const head = make("p", "result-head", make("span", "score", score.toFixed(2)), bar);
      head.title = "The cosine of the angle between question and passage: 1 is the same direction";
      const item = make("li", "result", head, make("p", "passage", passage));
      item.hidden = at >= FIRST && !all;
      return item;
    }),
  );
  byId("more").hidden = all || found.length <= FIRST;
  byId("more").textContent = `Show all ${found.length}`;
  byId("answer").hidden = false;
}

function showCount() {
  byId("count").textContent = count(passages().length, "passage", "passages");
}

byId("text").value = EXAMPLE;
byId("text").addEventListener("input", showCount);
byId("by").addEventListener("change", showCount);
byId("open").addEventListener("click", () => byId("text-file").click());
byId("text-file").addEventListener("change", async () => {
  const [file] = byId("text-file").files;
  if (!file) return;
  byId("text").value = await file.text();
  byId("text-file").value = "";
  showCount();
});
byId("more").addEventListener("click", () => {
  for (const item of byId("results").children) item.hidden = false;
  byId("more").hidden = true;
  byId("results").children[FIRST].tabIndex = -1;
  byId("results").children[FIRST].focus();
});
showCount();

const page = await taskPage("search", {
  needs: () => ({ tasks: ["embed"] }),
  fill: (wanted) => {
    if (wanted.has("query")) byId("query").value = wanted.get("query");
  },
  read: () => {
    const input = { query: byId("query").value.trim(), passages: passages() };
    if (input.passages.length === 0) throw new Missing("Paste a text to search first.");
    if (input.query === "") throw new Missing("Write what to look for.");
    return input;
  },
  work: async (input, tools) => {
    const vectors = await vectorsOf(input.passages, tools);
    tools.tell("Comparing …", 1);
    const [query] = await vectorsOf([input.query], tools);
    const found = input.passages.map((passage, at) => ({ passage, score: vectors[at].reduce((sum, value, i) => sum + value * query[i], 0) }));
    found.sort((a, b) => b.score - a.score);
    showResults(found, false);
    return found;
  },
});

byId("similarity-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (page.busy) return;
  const model = await page.ready();
  if (model) await page.attempt("working", (signal) => showSimilarity(model, signal), null);
});
