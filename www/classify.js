// Labels for a text, a picture or a sound, of the list that the model was trained on.
//
// Beside what page.js reads: `?input=text|image|audio` and `?text=…`.

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

const READ = {
  text: () => byId("text").value.trim() || missing("Write a text first."),
  image: () => picture.file ?? missing("Choose a picture first."),
  audio: () => sound.input ?? missing("Choose or record a sound first."),
};

function missing(what) {
  throw new Missing(what);
}

let page = null;
watchChoice("input", () => {
  forget();
  page?.turned();
});
page = await taskPage("classify", {
  needs: () => ({ tasks: ["classify"], input: chosen("input") }),
  fill: (wanted) => {
    choose("input", wanted.get("input"));
    if (wanted.has("text")) byId("text").value = wanted.get("text");
  },
  read: () => {
    const top = byId("top");
    if (!top.checkValidity()) throw new Missing(`Labels to show: ${top.validationMessage}`);
    return { input: READ[chosen("input")](), topK: top.valueAsNumber || undefined };
  },
  work: async ({ input, topK }, { model, signal, onProgress }) => {
    const labels = await orDecoded(input, (one) => model.classify(one, { topK, signal, onProgress }));
    // A model that labels each word tells which.
    showBars(byId("labels"), labels.map(({ label, score, token }) => ({ label: token === undefined ? label : `${token}: ${label}`, score })));
    byId("answer").hidden = false;
    return labels;
  },
});
