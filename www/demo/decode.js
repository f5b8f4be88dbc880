// Sound in a format that only the browser reads (AAC, Opus), decoded by it.

/** Runs `work` on the sound; where the package does not know a file's format, once more on what the browser makes of it. */
export async function orDecoded(input, work) {
  try {
    return await work(input);
  } catch (error) {
    if (!(input instanceof Blob) || error?.code !== "unsupported") throw error;
    let buffer;
    try {
      buffer = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(await input.arrayBuffer());
    } catch {
      throw error;
    }
    return work(buffer);
  }
}
