// @ts-check
/**
 * The library's scripts are fetched while nothing else is to be done, and the library is built and asks for its images
 * when its tab is pressed: both take as long as Gradio's own way to fetch a tab, and would follow it otherwise.
 */

import { getTarget } from "../common/dom.js";
import { isInTabButton } from "../common/gradio_dom.js";
import { areRestored } from "../form/form_memory.js";

const LOOK_MS = 300; // between two looks whether the page has come up

const loadView = () => import("./library_view.js");

/** Begin when the page has come up. */
export function startLibraryPreload() {
  const timer = setInterval(() => {
    if (document.readyState !== "complete" || !areRestored(window.easelSettings.forms)) return;
    clearInterval(timer);
    whenIdle(() => loadView().catch(() => {})); // the tab itself says what is wrong
  }, LOOK_MS);
  document.addEventListener("pointerdown", (event) => prepareUnder(event), { capture: true });
}

/** @param {PointerEvent} event */
async function prepareUnder(event) {
  if (event.button || !isInTabButton(getTarget(event), "library")) return;
  const { prepareLibrary } = await loadView();
  prepareLibrary();
}

/** @param {() => void} act */
function whenIdle(act) {
  if (window.requestIdleCallback) window.requestIdleCallback(act);
  else setTimeout(act, LOOK_MS); // Safari
}
