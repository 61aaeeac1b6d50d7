// @ts-check
/**
 * Tab out of a drop-down. Gradio takes the open list away, and where it draws the field anew the focus is lost with it:
 * the next Tab would begin at the top of the page.
 */

import { getTarget } from "../common/dom.js";
import { LIST_BOX, OPEN_LISTBOX } from "../common/gradio_dom.js";

const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex='0']";
const LOOKS_MS = [50, 400]; // ms after Tab: once the list is gone, and once the server has answered

/** Start listening. */
export function startListFocus() {
  document.addEventListener("keydown", (event) => {
    const box = getTarget(event)?.closest(LIST_BOX);
    if (event.key !== "Tab" || !box) return;
    const next = findNeighbour(box, event.shiftKey ? -1 : 1);
    for (const delay of LOOKS_MS) setTimeout(() => isFocusLost() && next?.focus(), delay);
  });
}

/** @returns {boolean} */
function isFocusLost() {
  return !document.activeElement || document.activeElement === document.body;
}

/**
 * The field before or after `box` in the order of the page.
 * @param {Element} box
 * @param {1 | -1} step
 * @returns {HTMLElement | undefined}
 */
function findNeighbour(box, step) {
  /** @type {HTMLElement[]} */
  const all = [...document.querySelectorAll(FOCUSABLE)].filter((one) => one instanceof HTMLElement);
  const usable = all.filter((one) => one === box || isUsable(one));
  return usable[usable.findIndex((one) => one === box) + step];
}

/**
 * @param {HTMLElement} element
 * @returns {boolean}
 */
function isUsable(element) {
  const disabled = "disabled" in element && element.disabled === true;
  return Boolean(element.offsetParent) && !disabled && element.tabIndex >= 0 && !element.closest(OPEN_LISTBOX);
}
