// Light, dark, or as the system has it.

const THEMES = ["auto", "light", "dark"];
const LABELS = { auto: "as the system has it", light: "light", dark: "dark" };
const KEY = "fewbit-theme";

export function watchTheme(button) {
  let theme = "auto";
  try {
    const stored = localStorage.getItem(KEY);
    if (THEMES.includes(stored)) theme = stored;
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  const apply = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", `Colours: ${LABELS[theme]}`);
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // As above.
    }
    apply();
  });
  apply();
}
