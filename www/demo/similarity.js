// Sentences by meaning: the cosine of every pair of vectors.

import { byId, make } from "./dom.js";
import { duration } from "./format.js";

const MOST = 12;

export async function showSimilarity(model, signal) {
  const sentences = byId("sentences")
    .value.split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const status = byId("similarity-status");
  if (sentences.length < 2 || sentences.length > MOST) {
    status.textContent = `Write from 2 to ${MOST} sentences, one a line.`;
    return;
  }
  status.textContent = "Computing …";
  const began = performance.now();
  let vectors;
  try {
    vectors = await model.embed(sentences, { signal, normalize: true });
  } catch (error) {
    status.textContent = "";
    throw error;
  }
  status.textContent = `${sentences.length} vectors of ${vectors[0].length} numbers in ${duration(performance.now() - began)}.`;
  const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
  const head = (text) => {
    const cell = make("th", "", text);
    return cell;
  };
  const numbers = sentences.map((_, at) => head(String(at + 1)));
  for (const cell of numbers) cell.scope = "col";
  const rows = sentences.map((sentence, row) => {
    const name = head(`${row + 1}. ${sentence}`);
    name.scope = "row";
    const cells = vectors.map((vector) => {
      const closeness = dot(vectors[row], vector);
      const cell = make("td", "", closeness.toFixed(2));
      cell.style.setProperty("--closeness", `${Math.round(Math.max(0, closeness) * 45)}%`);
      return cell;
    });
    return make("tr", "", name, ...cells);
  });
  byId("matrix").replaceChildren(make("thead", "", make("tr", "", make("td", ""), ...numbers)), make("tbody", "", ...rows));
}
