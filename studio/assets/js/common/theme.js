// @ts-check
/** Light and dark. */

import { getTarget, whenBodyExists } from "./dom.js";
import { isDark, setDark } from "./gradio_dom.js";

const STORAGE_KEY = "easel-look"; // what earlier versions stored stays valid
const TOGGLE_BUTTON = "#theme-toggle";

/** @type {string | null} */
let chosen = null; // for a private window, which may store nothing

/** Apply the theme that the user chose last, else the administrator's, and let the button switch it. */
export function startTheme() {
  whenBodyExists(() => {
    applyStoredTheme();
    // Gradio sets the theme of the system whenever its own start is that far.
    new MutationObserver(applyStoredTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  });
  document.addEventListener("click", (event) => {
    if (getTarget(event)?.closest(TOGGLE_BUTTON)) switchTheme();
  });
}

function applyStoredTheme() {
  applyTheme(readStoredTheme() ?? chosen ?? window.easelSettings?.theme ?? "system");
}

function switchTheme() {
  const wanted = isDark() ? "light" : "dark";
  chosen = wanted;
  applyTheme(wanted);
  try {
    localStorage.setItem(STORAGE_KEY, wanted);
  } catch {
    // a private window may store nothing
  }
}

/** @param {string} theme light, dark or system */
function applyTheme(theme) {
  const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  if (isDark() !== dark) setDark(dark);
}

/** @returns {string | null} */
function readStoredTheme() {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}
