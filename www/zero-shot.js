// Which of the user's own labels fits a picture or a sound.
//
// Beside what page.js reads: `?input=image|audio`.

import { showBars } from "./demo/bars.js";
import { orDecoded } from "./demo/decode.js";
import { byId } from "./demo/dom.js";
import { PicturePicker } from "./demo/picture.js";
import { choose, chosen, watchChoice } from "./demo/segments.js";
import { SoundPicker } from "./demo/sound.js";
import { Missing, taskPage } from "./demo/task.js";

const forget = () => {
  byId("answer").hidden = true;
};
const picture = new PicturePicker(byId("picture"), forget);
const sound = new SoundPicker(byId("sound"), forget);

let page = null;
watchChoice("input", () => {
  forget();
  page?.turned();
});
page = await taskPage("zero-shot", {
  needs: () => ({ tasks: ["zeroShot"], input: chosen("input") }),
  fill: (wanted) => choose("input", wanted.get("input")),
  read: () => {
    const kind = chosen("input");
    const input = kind === "image" ? picture.file : sound.input;
    if (input === null) throw new Missing(kind === "image" ? "Choose a picture first." : "Choose or record a sound first.");
    const lines = byId(`labels-${kind}`).value.split("\n");
    const labels = [...new Set(lines.map((line) => line.trim()).filter((line) => line !== ""))];
    if (labels.length < 2) throw new Missing("Write two labels or more, one a line.");
    const template = byId(`template-${kind}`).value;
    if (!template.includes("{}")) throw new Missing("The sentence needs {} where the label goes.");
    return { input, labels, template };
  },
  work: async ({ input, labels, template }, { model, signal, onProgress }) => {
    const scores = await orDecoded(input, (one) => model.zeroShot(one, labels, { template, signal, onProgress }));
    showBars(byId("labels"), scores);
    byId("answer").hidden = false;
    return scores;
  },
});
