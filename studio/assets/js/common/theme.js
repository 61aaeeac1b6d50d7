// @ts-check
/** Light and dark. The theme itself is applied in the head of the page (loader.js), before anything is shown. */

import { getTarget } from "./dom.js";
import { isDark } from "./gradio_dom.js";

const TOGGLE_BUTTON = "#theme-toggle";

/** Let the button switch the theme. */
export function startTheme() {
  document.addEventListener("click", (event) => {
    if (getTarget(event)?.closest(TOGGLE_BUTTON)) window.easelChooseTheme(isDark() ? "light" : "dark");
  });
}
