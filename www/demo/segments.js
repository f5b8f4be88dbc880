// A choice of one among a few, by radio buttons, each of which shows a part of the form.

/** The value of the radio buttons `name`. */
export function chosen(name) {
  return document.querySelector(`input[name="${name}"]:checked`).value;
}

/** Shows the elements with `data-NAME` of the chosen value, and hides the others; now and when another is chosen. */
export function watchChoice(name, changed = () => {}) {
  const show = () => {
    const value = chosen(name);
    for (const part of document.querySelectorAll(`[data-${name}]`)) part.hidden = !part.dataset[name].split(" ").includes(value);
  };
  for (const button of document.querySelectorAll(`input[name="${name}"]`)) {
    button.addEventListener("change", () => {
      show();
      changed(button.value);
    });
  }
  show();
}

/** Chooses what the address asks for, if it is there. */
export function choose(name, value) {
  const button = [...document.querySelectorAll(`input[name="${name}"]`)].find((one) => one.value === value);
  if (!button) return;
  button.checked = true;
  button.dispatchEvent(new Event("change"));
}
