// Things in a picture, with a box around each.

import { Boxes } from "./demo/boxes.js";
import { byId } from "./demo/dom.js";
import { count } from "./demo/format.js";
import { PicturePicker } from "./demo/picture.js";
import { Missing, taskPage } from "./demo/task.js";

/** What the model is asked for; the slider then hides some of it without running the model again. */
const LOWEST = 0.1;

let found = null;
const picture = new PicturePicker(byId("picture"), () => {
  found = null;
  boxes.clear();
  byId("answer").hidden = true;
});
const boxes = new Boxes(picture.stage, byId("found"));

function show() {
  const threshold = byId("threshold").valueAsNumber;
  byId("threshold-value").textContent = `${Math.round(threshold * 100)} % sure`;
  if (found === null) return;
  const sure = found.filter(({ score }) => score >= threshold);
  boxes.show(sure, picture.image.naturalWidth, picture.image.naturalHeight);
  const less = found.length - sure.length;
  const others = less > 0 ? `, ${less} less sure` : "";
  byId("answer-heading").textContent = sure.length > 0 ? `${count(sure.length, "thing", "things")} found${others}` : `Nothing found that is this sure${others}`;
  byId("answer").hidden = false;
}

byId("threshold").addEventListener("input", show);
show();

await taskPage("detect", {
  needs: () => ({ tasks: ["detect"], input: "image" }),
  answer: picture.stage,
  fill: (wanted) => {
    if (wanted.has("threshold")) byId("threshold").value = wanted.get("threshold");
    show();
  },
  read: () => {
    if (picture.file === null) throw new Missing("Choose a picture first.");
    return picture.file;
  },
  work: async (file, { model, signal, onProgress }) => {
    found = [...(await model.detect(file, { threshold: LOWEST, signal, onProgress }))].sort((a, b) => b.score - a.score);
    show();
    return found;
  },
});
