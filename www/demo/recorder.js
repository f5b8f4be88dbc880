// The microphone, as samples. What browsers record by themselves is compressed, each in a format of its own.

/** Seconds; an hour of 48 kHz would be 690 MB. */
const LONGEST = 1800;

/** What to tell of the names of `getUserMedia`'s errors. */
const REFUSALS = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it beside the address, then try again.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is there but cannot be read; another program may be using it.",
};

/** Why nothing can be recorded here, `null` where it can. */
export function cannotRecord() {
  if (!globalThis.isSecureContext) return "Recording takes a page from https or from this computer.";
  if (!navigator.mediaDevices?.getUserMedia || typeof AudioWorkletNode !== "function") return "This browser cannot record.";
  return null;
}

/** Records from when it is made until `stop()`, which gives `{ samples, sampleRate }`, one channel. */
export class Recording {
  #context;
  #stream;
  #pieces = [];
  #length = 0;

  /**
   * `heard(seconds, level)` is told as it goes on, with the loudness from 0 to 1; `full()` when no more is taken.
   *
   * @throws {Error} saying what the user can do
   */
  static async start(heard, full) {
    const recording = new Recording();
    try {
      recording.#stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (error) {
      throw new Error(REFUSALS[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    recording.#context = new AudioContext();
    try {
      await recording.#listen(heard, full);
    } catch (error) {
      await recording.stop();
      throw error;
    }
    return recording;
  }

  async #listen(heard, full) {
    const context = this.#context;
    await context.audioWorklet.addModule("/demo/recorder-worklet.js");
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => {
      this.#pieces.push(data);
      this.#length += data.length;
      const seconds = this.#length / context.sampleRate;
      heard(seconds, Math.min(1, Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length) * 6));
      if (seconds >= LONGEST) full();
    };
    // What is not connected to the end is not run everywhere; the node gives silence.
    context.createMediaStreamSource(this.#stream).connect(node).connect(context.destination);
    // Not awaited: where there is no sound device, Firefox never starts it. The page shows that nothing comes.
    context.resume().catch(() => {});
  }

  /** Samples so far. */
  get length() {
    return this.#length;
  }

  async stop() {
    for (const track of this.#stream.getTracks()) track.stop();
    const { sampleRate } = this.#context;
    if (this.#context.state !== "closed") await this.#context.close();
    const samples = new Float32Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      samples.set(piece, at);
      at += piece.length;
    }
    return { samples, sampleRate };
  }
}

/** A WAV file of 16 bits, for the browser to play. */
export function wavOf({ samples, sampleRate }) {
  const bytes = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at, word) => [...word].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, sampleRate, true);
  bytes.setUint32(28, sampleRate * 2, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, samples.length * 2, true);
  samples.forEach((value, i) => bytes.setInt16(44 + i * 2, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Blob([bytes], { type: "audio/wav" });
}
