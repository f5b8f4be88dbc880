// Speech to text, from the microphone or a file.

import { orDecoded } from "./demo/decode.js";
import { byId, make } from "./demo/dom.js";
import { count, rate } from "./demo/format.js";
import { SPOKEN, fillLanguages } from "./demo/languages.js";
import { SoundPicker, clock } from "./demo/sound.js";
import { Missing, taskPage } from "./demo/task.js";
import { Transcript, subtitlesOf } from "./demo/transcript.js";

const sound = new SoundPicker(byId("sound"), () => transcript.clear());
const transcript = new Transcript(sound.player);

fillLanguages(byId("language"), SPOKEN, [["", "whichever it is"]]);

function save(text, type, name) {
  const link = make("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(transcript.text.trim());
    byId("copy").textContent = "Copied";
  } catch {
    byId("copy").textContent = "Not allowed";
  }
  setTimeout(() => {
    byId("copy").textContent = "Copy";
  }, 2000);
});
byId("save-text").addEventListener("click", () => save(`${transcript.text.trim()}\n`, "text/plain", "transcript.txt"));
byId("save-subtitles").addEventListener("click", () => save(subtitlesOf(transcript.segments), "text/vtt", "transcript.vtt"));

async function transcribe(audio, options, { model, signal, tell, onProgress }) {
  transcript.begin();
  const began = performance.now();
  let pieces = 0;
  try {
    // Once text comes, that tells more than a count of steps.
    const stream = model.transcribe(audio, { ...options, timestamps: true, signal, onProgress: (event) => pieces === 0 && onProgress(event) });
    for await (const piece of stream) {
      transcript.push(piece);
      pieces += 1;
      const reached = piece.seconds;
      const seconds = (performance.now() - began) / 1000;
      const { duration: whole } = sound.player;
      const part = reached && Number.isFinite(whole) ? Math.min(1, reached / whole) : null;
      if (reached) tell(`${clock(reached)} heard, ${rate(reached / seconds)} × as fast as spoken`, part);
      else tell(`${count(pieces, "piece", "pieces")} of text …`);
    }
    const result = await stream.result;
    transcript.end(result);
    return { text: result.text, segments: result.segments };
  } catch (error) {
    transcript.end();
    throw error;
  }
}

await taskPage("transcribe", {
  needs: () => ({ tasks: ["transcribe"], input: "audio" }),
  fill: (wanted) => {
    for (const [name, id] of [["language", "language"], ["task", "into"]]) {
      if ([...byId(id).options].some(({ value }) => value === wanted.get(name))) byId(id).value = wanted.get(name);
    }
  },
  read: () => {
    if (sound.recording) throw new Missing("Stop the recording first.");
    if (sound.input === null) throw new Missing("Record something or choose a sound file first.");
    return { audio: sound.input, language: byId("language").value || undefined, task: byId("into").value };
  },
  work: ({ audio, ...options }, tools) => orDecoded(audio, (one) => transcribe(one, options, tools)),
});
