// Choosing sound: a file, dropped, pasted, or recorded from the microphone; it can be played.

import { make } from "./dom.js";
import { bytes } from "./format.js";
import { dropZone } from "./drop.js";
import { Recording, cannotRecord, wavOf } from "./recorder.js";

/** Milliseconds without a sample after which that is said. */
const QUIET = 3000;

/** 75.4 → "1:15". */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours > 0 ? `${hours}:${two(Math.floor(whole / 60) % 60)}` : Math.floor(whole / 60)}:${two(whole % 60)}`;
}

export class SoundPicker {
  /** What the package takes: a file, or `{ samples, sampleRate }`; `null` before. */
  input = null;
  player = make("audio", "player");
  #zone;
  #changed;
  #recording = null;
  #record = make("button", "quiet record", "Record");
  #meter = make("div", "meter", make("span", "meter-time", "0:00"), make("span", "bar"));

  /** Fills `root`; `changed()` is called when there is another sound. */
  constructor(root, changed = () => {}) {
    this.#changed = changed;
    this.player.controls = true;
    this.player.hidden = true;
    this.#meter.hidden = true;
    this.#record.type = "button";
    this.#zone = dropZone(root, { accept: "audio/*", choose: "Choose a sound file…", hint: "or drop one here", take: (file) => this.#take(file, file, describe(file)) });
    this.#zone.row.insertBefore(this.#record, this.#zone.row.lastElementChild);
    root.append(this.#meter, this.player);
    const refusal = cannotRecord();
    this.#record.disabled = refusal !== null;
    if (refusal !== null) this.#zone.say(refusal);
    this.#record.addEventListener("click", () => this.#toggle());
    this.player.addEventListener("error", () => {
      if (this.player.hasAttribute("src")) this.#zone.say("This browser cannot play that file; it may still be read.");
    });
  }

  get recording() {
    return this.#recording !== null;
  }

  #take(input, blob, description) {
    if (this.player.src) URL.revokeObjectURL(this.player.src);
    this.input = input;
    this.#zone.root.dispatchEvent(new Event("change", { bubbles: true }));
    this.player.src = URL.createObjectURL(blob);
    this.player.hidden = false;
    this.#zone.chosen("Another file…");
    this.#zone.say(description);
    this.#changed();
  }

  async #toggle() {
    if (this.#recording !== null) return this.#finish();
    this.#record.disabled = true;
    this.#zone.say("Waiting for the microphone …");
    try {
      this.#recording = await Recording.start(
        (seconds, level) => {
          this.#meter.firstElementChild.textContent = clock(seconds);
          this.#meter.lastElementChild.style.setProperty("--part", `${Math.round(level * 100)}%`);
        },
        () => this.#finish(),
      );
      this.player.pause();
      this.#meter.hidden = false;
      this.#record.textContent = "Stop recording";
      this.#record.classList.add("on");
      this.#meter.firstElementChild.textContent = clock(0);
      this.#meter.lastElementChild.style.removeProperty("--part");
      this.#zone.say("Recording. Nothing leaves this page.");
      const { length } = this.#recording;
      setTimeout(() => {
        if (this.#recording?.length === length) this.#zone.say("Nothing comes from the microphone yet. Firefox needs a sound output, too.", true);
      }, QUIET);
    } catch (error) {
      this.#zone.say(error.message, true);
    } finally {
      this.#record.disabled = false;
    }
  }

  async #finish() {
    const recording = this.#recording;
    this.#recording = null;
    if (recording === null) return;
    this.#record.textContent = "Record again";
    this.#record.classList.remove("on");
    this.#meter.hidden = true;
    const sound = await recording.stop();
    if (sound.samples.length === 0) this.#zone.say("Nothing was heard from the microphone.", true);
    else this.#take(sound, wavOf(sound), `Recorded: ${clock(sound.samples.length / sound.sampleRate)}`);
  }
}

function describe(file) {
  return `${file.name}, ${bytes(file.size)}`;
}
