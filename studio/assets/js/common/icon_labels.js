// @ts-check
/** Names and tips for Gradio's buttons, which take neither a label for screen readers nor a tip; texts of styles. */

import { findAll } from "./dom.js";
import { followPageChanges } from "./page_changes.js";
import { translate } from "./translate.js";

/** Of buttons that show only a sign, by how a button's id ends. */
const LABELS = {
  swap: "Swap width and height",
  "seed-random": "Use a random seed",
  "seed-reuse": "Reuse the seed of the shown image",
};
/** Of buttons below a result; each names its key in form/shortcuts.js. */
const TIPS = {
  "use-seed": "Reuse the seed of the shown image (S)",
  "use-settings": "Fill the form with the settings of the shown image (U)",
  "-send-img2img": "Send the shown image to Img2Img (I)",
  "-send-inpaint": "Paint over parts of the shown image (P)",
  "-send-extras": "Send the shown image to Extras (E)",
  "-send-social": "Send the shown image to the Social Optimizer (O)",
};

/** Give the texts that stand in styles, beside elements of Gradio's, in the language of the visitor. */
export function translateStyleTexts() {
  const { style } = document.documentElement;
  style.setProperty("--send-text", JSON.stringify(translate("Send to")));
  style.setProperty("--drop-text", JSON.stringify(translate("Drop to add to the library")));
}

/** Label the buttons that are there, and those of tabs that are opened later. */
export function labelIconButtons() {
  followPageChanges(() => {
    for (const button of findAll("button.icon:not([aria-label])")) {
      const text = findByEnd(LABELS, button.id);
      button.setAttribute("aria-label", text);
      button.title = text;
    }
    for (const button of findAll(".actions-frame button:not([title])")) button.title = findByEnd(TIPS, button.id);
  });
}

/**
 * @param {Record<string, string>} texts
 * @param {string} id
 * @returns {string}
 */
function findByEnd(texts, id) {
  return translate(Object.entries(texts).find(([end]) => id.endsWith(end))?.[1] ?? "");
}
