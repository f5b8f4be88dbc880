// The end of the microphone that runs beside the audio hardware: it hands on what comes, in pieces of about 40 ms.

const PIECE = 2048;

class Recorder extends AudioWorkletProcessor {
  #piece = new Float32Array(PIECE);
  #filled = 0;

  process([input]) {
    const [channel] = input;
    if (!channel) return true;
    for (const value of channel) {
      this.#piece[this.#filled] = value;
      this.#filled += 1;
      if (this.#filled < PIECE) continue;
      this.port.postMessage(this.#piece, [this.#piece.buffer]);
      this.#piece = new Float32Array(PIECE);
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
