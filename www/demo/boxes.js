// Boxes drawn over a picture, and the list of what is in them; the two point at each other.

import { make } from "./dom.js";
import { percent } from "./bars.js";

const SVG = "http://www.w3.org/2000/svg";
/** Colours that stay apart on light and dark pictures; each label gets one. */
const COLOURS = 8;
/** Size of the names, in pixels of the screen. */
const TEXT = 12;

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

export class Boxes {
  #stage;
  #list;
  #overlay = null;
  #shown = null;

  constructor(stage, list) {
    this.#stage = stage;
    this.#list = list;
    let wide = 0;
    new ResizeObserver(() => {
      if (stage.clientWidth === wide) return;
      wide = stage.clientWidth;
      if (this.#shown) this.show(...this.#shown);
    }).observe(stage);
  }

  clear() {
    this.#shown = null;
    this.#overlay?.remove();
    this.#overlay = null;
    this.#list.replaceChildren();
  }

  /** Shows `found` (`{ label, score, box }`, in pixels of a picture of that size). */
  show(found, width, height) {
    this.clear();
    this.#shown = [found, width, height];
    const labels = [...new Set(found.map(({ label }) => label))];
    const overlay = svg("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", preserveAspectRatio: "none" });
    // Names in the same size on every picture, however large it is shown.
    const unit = (TEXT * width) / (this.#stage.clientWidth || width);
    // Small boxes last, so that large ones do not cover them.
    const area = ({ box }) => (box.xmax - box.xmin) * (box.ymax - box.ymin);
    const drawn = new Map();
    for (const item of [...found].sort((a, b) => area(b) - area(a))) {
      const shape = this.#draw(item, `c${labels.indexOf(item.label) % COLOURS}`, unit, width);
      drawn.set(item, shape);
      overlay.append(shape);
    }
    this.#list.replaceChildren(...found.map((item) => this.#row(item, `c${labels.indexOf(item.label) % COLOURS}`, drawn.get(item))));
    this.#stage.append(overlay);
    this.#overlay = overlay;
  }

  #draw({ label, score, box }, colour, unit, width) {
    const group = svg("g", { class: `box ${colour}` });
    const text = `${label} ${percent(score)}`;
    const wide = Math.min(width, text.length * unit * 0.62 + unit * 0.7);
    const x = Math.max(0, Math.min(box.xmin, width - wide));
    // Above the box, or inside it at the picture's upper edge.
    const y = box.ymin >= unit * 1.5 ? box.ymin - unit * 1.5 : Math.max(0, box.ymin);
    const name = svg("text", { x: x + unit * 0.35, y: y + unit * 1.08, "font-size": unit });
    name.textContent = text;
    group.append(
      svg("rect", { class: "frame", x: box.xmin, y: box.ymin, width: Math.max(0, box.xmax - box.xmin), height: Math.max(0, box.ymax - box.ymin), rx: unit * 0.3 }),
      svg("rect", { class: "tag", x, y, width: wide, height: unit * 1.5, rx: unit * 0.3 }),
      name,
    );
    return group;
  }

  #row({ label, score, box }, colour, shape) {
    const place = `${Math.round(box.xmin)}, ${Math.round(box.ymin)} to ${Math.round(box.xmax)}, ${Math.round(box.ymax)}`;
    const row = make("li", colour, make("span", "swatch"), make("span", "label-name", label), make("span", "score", percent(score)), make("span", "place", place));
    row.tabIndex = 0;
    const point = (on) => () => {
      shape.classList.toggle("pointed", on);
      this.#overlay?.classList.toggle("pointing", on);
    };
    for (const event of ["pointerenter", "focus"]) row.addEventListener(event, point(true));
    for (const event of ["pointerleave", "blur"]) row.addEventListener(event, point(false));
    return row;
  }
}
