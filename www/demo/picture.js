// Choosing a picture: from a file, dropped, or pasted; shown as it is.

import { make } from "./dom.js";
import { bytes } from "./format.js";
import { dropZone } from "./drop.js";

export class PicturePicker {
  /** The chosen file, `null` before. */
  file = null;
  /** What the user is shown. */
  image = make("img", "");
  /** Around the picture; a page may draw over it. */
  stage = make("div", "stage", this.image);
  #zone;
  #changed;

  /** Fills `root`; `changed()` is called when there is another picture. */
  constructor(root, changed = () => {}) {
    this.#changed = changed;
    this.stage.hidden = true;
    this.#zone = dropZone(root, { accept: "image/*", choose: "Choose a picture…", hint: "or drop or paste one here", take: (file) => this.#take(file) });
    root.append(this.stage);
  }

  async #take(file) {
    const url = URL.createObjectURL(file);
    const image = make("img", "");
    image.src = url;
    try {
      await image.decode();
    } catch {
      URL.revokeObjectURL(url);
      this.#zone.say(`${file.name || "That"} is no picture that this browser can show.`, true);
      return;
    }
    URL.revokeObjectURL(this.image.src);
    image.alt = file.name ? `The chosen picture, ${file.name}` : "The chosen picture";
    this.image.replaceWith(image);
    this.image = image;
    this.file = file;
    this.#zone.root.dispatchEvent(new Event("change", { bubbles: true }));
    this.stage.hidden = false;
    this.#zone.chosen("Another picture…");
    this.#zone.say(`${file.name || "picture"}, ${image.naturalWidth} × ${image.naturalHeight} pixels, ${bytes(file.size)}`);
    this.#changed();
  }
}
