// A transcript as it grows: its text, and its parts with times, each of which plays from there.

import { byId, make } from "./dom.js";
import { clock } from "./sound.js";

export class Transcript {
  text = "";
  segments = [];
  #player;
  /** Text that no complete part has yet. */
  #open = "";
  /** What may still change. */
  #tentative = "";
  #frame = null;

  constructor(player) {
    this.#player = player;
    player.addEventListener("timeupdate", () => this.#follow());
    player.addEventListener("ended", () => this.#follow());
  }

  clear() {
    this.text = "";
    this.#open = "";
    this.#tentative = "";
    this.segments = [];
    byId("segments").replaceChildren();
    byId("segments-hint").hidden = true;
    byId("take-away").hidden = true;
    byId("answer").hidden = true;
    this.#show();
  }

  begin() {
    this.clear();
    byId("answer").hidden = false;
    byId("answer").setAttribute("aria-busy", "true");
    byId("transcript").classList.add("streaming");
  }

  /** What came: text, and perhaps a part that is complete. */
  push({ text = "", segment = null, tentative = "" }) {
    this.text += text;
    this.#tentative = tentative;
    this.#open += text;
    if (segment) {
      this.#add(segment);
      this.#open = "";
    }
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  /** Everything, once it is complete; without it, what came stays. */
  end(result = null) {
    this.#tentative = "";
    if (result !== null) {
      this.text = result.text;
      byId("segments").replaceChildren();
      this.segments = [];
      for (const segment of result.segments ?? []) this.#add(segment);
      // The parts have all of it.
      this.#open = this.segments.length > 0 ? "" : this.text;
    }
    this.#show();
    byId("transcript").classList.remove("streaming");
    byId("answer").setAttribute("aria-busy", "false");
    byId("take-away").hidden = this.text.trim() === "";
    byId("save-subtitles").hidden = this.segments.length === 0;
  }

  #show() {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
    byId("transcript").textContent = (this.#open + this.#tentative).trim();
  }

  #add(segment) {
    this.segments.push(segment);
    byId("segments-hint").hidden = false;
    const button = make("button", "part", make("span", "time", clock(segment.start)), make("span", "", segment.text.trim()));
    button.type = "button";
    button.setAttribute("aria-label", `Play from ${clock(segment.start)}: ${segment.text.trim()}`);
    button.addEventListener("click", () => {
      this.#player.currentTime = segment.start;
      this.#player.play().catch(() => {
        // The picker says when a file cannot be played.
      });
    });
    byId("segments").append(make("li", "", button));
  }

  /** Marks the part that is playing. */
  #follow() {
    const { currentTime, ended } = this.#player;
    for (const [at, item] of [...byId("segments").children].entries()) {
      const { start, end } = this.segments[at];
      const now = !ended && currentTime >= start && currentTime < end;
      if (now) item.firstElementChild.setAttribute("aria-current", "true");
      else item.firstElementChild.removeAttribute("aria-current");
    }
  }
}

/** WebVTT, which players and web pages read. */
export function subtitlesOf(segments) {
  const time = (seconds) => {
    const milliseconds = Math.round(seconds * 1000);
    const part = (size, count, digits) => String(Math.floor(milliseconds / size) % count).padStart(digits, "0");
    return `${part(3600000, 1e6, 2)}:${part(60000, 60, 2)}:${part(1000, 60, 2)}.${part(1, 1000, 3)}`;
  };
  // An arrow or an empty line in a text would end its cue.
  const plain = (text) => text.trim().replace(/\s*\n\s*/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `WEBVTT\n\n${segments.map(({ start, end, text }) => `${time(start)} --> ${time(end)}\n${plain(text)}\n`).join("\n")}`;
}
