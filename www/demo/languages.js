// Languages by their names in the reader's own.

const names = new Intl.DisplayNames(undefined, { type: "language" });

/** Spoken languages that Whisper was trained on most; the model guesses where none is chosen. */
export const SPOKEN = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt sk sl et lv".split(" ");

/** What T5 was trained to translate between. */
export const WRITTEN = ["en", "de", "fr", "ro"];

/** Fills a list with languages, by name; `first` are options before them. */
export function fillLanguages(select, codes, first = []) {
  const options = codes.map((code) => [code, names.of(code) ?? code]).sort((a, b) => a[1].localeCompare(b[1]));
  select.replaceChildren(
    ...[...first, ...options].map(([value, text]) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = text;
      return option;
    }),
  );
}
