// @ts-check
/** One watch over the page's elements for all who follow them. */

import { whenBodyExists } from "./dom.js";

const PAUSE_MS = 50; // ms in which changes are gathered; Gradio makes thousands as the page comes up

/** @type {Set<() => void>} */
const listeners = new Set();
let timer = 0;

/**
 * Call `listener` now and shortly after elements were added or removed.
 * @param {() => void} listener
 */
export function followPageChanges(listener) {
  listeners.add(listener);
  whenBodyExists(() => {
    if (listeners.size === 1) new MutationObserver(schedule).observe(document.body, { childList: true, subtree: true });
    listener();
  });
}

function schedule() {
  timer ||= window.setTimeout(callListeners, PAUSE_MS);
}

function callListeners() {
  timer = 0;
  for (const listener of listeners) listener();
}
