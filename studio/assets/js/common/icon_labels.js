// @ts-check
/** Names for buttons that show only a sign: Gradio's buttons take no label for screen readers. */

import { findAll, whenBodyExists } from "./dom.js";

/** By how a button's id ends. */
const LABELS = {
  swap: "Swap width and height",
  "seed-random": "Use a random seed",
  "seed-reuse": "Reuse the seed of the shown image",
};

/** Label the buttons that are there, and those of tabs that are opened later. */
export function labelIconButtons() {
  whenBodyExists(() => {
    labelButtons();
    new MutationObserver(labelButtons).observe(document.body, { childList: true, subtree: true });
  });
}

function labelButtons() {
  for (const button of findAll("button.icon:not([aria-label])")) {
    const text = Object.entries(LABELS).find(([name]) => button.id.endsWith(name))?.[1] ?? "";
    button.setAttribute("aria-label", text);
    button.title = text;
  }
}
