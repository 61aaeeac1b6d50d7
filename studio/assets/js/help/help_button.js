// @ts-check
/** The button in the header that opens the help; the dialog itself is loaded when it is first opened. */

import { find, getTarget } from "../common/dom.js";

const BUTTON = "#help-open";

/** Let the button open the help. */
export function startHelpButton() {
  document.addEventListener("click", (event) => {
    if (getTarget(event)?.closest(BUTTON)) openHelp();
  });
}

/** @returns {boolean} whether it was not open already */
export function openHelp() {
  if (find("dialog.help")) return false;
  import("./help_dialog.js").then(({ showHelp }) => showHelp());
  return true;
}
