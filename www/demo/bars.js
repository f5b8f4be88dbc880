// Labels with their scores, the likeliest first.

import { make } from "./dom.js";

export function percent(score) {
  return `${(score * 100).toLocaleString(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} %`;
}

/** Fills the list `root`; `scores` are from 0 to 1. */
export function showBars(root, labels) {
  root.replaceChildren(
    ...labels.map(({ label, score }) => {
      const bar = make("span", "bar");
      bar.style.setProperty("--part", `${Math.max(0, Math.min(1, score)) * 100}%`);
      return make("li", "labelled", make("span", "label-name", label), make("span", "score", percent(score)), bar);
    }),
  );
}
