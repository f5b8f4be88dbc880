// A place for a file: a button that opens the browser's dialog, and dropping or pasting onto the page.

import { make } from "./dom.js";

/** Whether a file's type fits `accept`, such as `image/*`; some systems name no type. */
const fits = (file, accept) => file.type === "" || file.type.startsWith(accept.replace("*", ""));

/**
 * Fills `root`. `take(file)` gets what the user chose. Gives what shows text there (`say`), renames the button once there is
 * a file (`chosen`), the row of buttons and `root`.
 */
export function dropZone(root, { accept, choose, hint, take }) {
  root.classList.add("drop");
  const input = make("input", "hidden");
  input.type = "file";
  input.accept = accept;
  input.tabIndex = -1;
  input.setAttribute("aria-label", choose.replace("…", ""));
  const button = make("button", "quiet", choose);
  button.type = "button";
  const tip = make("span", "note", hint);
  const row = make("div", "drop-row", button, input, tip);
  const text = make("p", "note drop-text");
  text.setAttribute("role", "status");
  root.append(row, text);

  const say = (message, wrong = false) => {
    text.textContent = message;
    text.classList.toggle("missing", wrong);
  };
  const offer = (files) => {
    const file = [...files].find((one) => fits(one, accept));
    if (file) take(file);
    else if (files.length > 0) say(`${files[0].name} is not of the kind that is wanted here.`, true);
  };
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    offer(input.files);
    // The same file may be chosen again.
    input.value = "";
  });
  // The whole page takes what is dropped: a near miss would else leave it for the file.
  const isShown = () => root.offsetParent !== null;
  const hasFiles = (event) => isShown() && event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    root.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) root.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    root.classList.remove("over");
    if (!hasFiles(event)) return;
    event.preventDefault();
    offer(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (isShown() && event.clipboardData?.files.length > 0) offer(event.clipboardData.files);
  });
  return {
    root,
    row,
    say,
    chosen: (label) => {
      button.textContent = label;
      tip.hidden = true;
    },
  };
}
