// A text in passages that a model of meaning can take whole.

/** Characters; about 200 tokens, of the 256 that most such models read. */
const LONGEST = 700;

/** The passages of `text`: its paragraphs, its lines, or its sentences. */
export function passagesOf(text, by) {
  const plain = text.replace(/\r\n?/g, "\n");
  const pieces = by === "line" ? plain.split("\n") : by === "sentence" ? sentencesOf(plain) : plain.split(/\n\s*\n/);
  return pieces.map((piece) => piece.replace(/\s+/g, " ").trim()).filter((piece) => piece !== "").flatMap(shorten);
}

function sentencesOf(text) {
  if (typeof Intl.Segmenter !== "function") return text.split(/(?<=[.!?…])\s+|\n/);
  return [...new Intl.Segmenter(undefined, { granularity: "sentence" }).segment(text)].map(({ segment }) => segment);
}

/** A passage that is too long becomes several, cut between sentences where that can be, else between words. */
function shorten(passage) {
  if (passage.length <= LONGEST) return [passage];
  const parts = [""];
  for (const sentence of sentencesOf(passage)) {
    for (const piece of sentence.length <= LONGEST ? [sentence] : sentence.match(/.{1,700}(?=\s|$)|\S{700}/gu) ?? [sentence]) {
      if (parts.at(-1).length + piece.length > LONGEST && parts.at(-1) !== "") parts.push("");
      parts[parts.length - 1] += piece;
    }
  }
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}
