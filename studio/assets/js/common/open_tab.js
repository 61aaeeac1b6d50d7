// @ts-check
/** Opening a tab from a script: a button of Gradio's, which studio/page.py keeps out of sight, does the work. */

import { find, get, getTarget } from "./dom.js";

const OPENER = "#open-tab";

let wanted = "";

/**
 * @param {string} id the title of the tab in lower case
 */
export function openTab(id) {
  wanted = id;
  get(OPENER, document).click();
}

/** @returns {string} the tab that was asked for last */
export function getWantedTab() {
  return wanted;
}

/** Let the name at the top of the page open the start page. */
export function startBrandLink() {
  document.addEventListener("click", (event) => {
    const isPlain = !event.button && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!isPlain || !getTarget(event)?.closest(".brand") || !find(OPENER)) return;
    event.preventDefault();
    openTab("home");
  });
}
