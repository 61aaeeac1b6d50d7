// @ts-check
/**
 * Buttons that send the shown asset to another tab. Gradio's own buttons, which studio/tabs/library/tab.py keeps out of
 * sight, do the work; these press them, so that every form that can take an image is offered here too.
 */

import { findAll, get, make, makeButton } from "../common/dom.js";
import { findBox } from "../common/gradio_dom.js";

const TARGETS = "button[id^='library-send-']"; // Gradio's, one for each form
const SETTINGS = "#library-send-settings";
const REUSE = "#library-reuse";

/**
 * @param {(use: "sent" | "reused") => void} onUse
 * @param {boolean} hasRecipe
 * @returns {HTMLElement}
 */
export function buildSendButtons(onUse, hasRecipe) {
  const box = make("input", { type: "checkbox" });
  box.checked = hasRecipe;
  const settings = make("label", { class: "lib-with-settings", hidden: !hasRecipe }, box, "with prompt and settings");
  const buttons = findAll(TARGETS).map((target) => {
    const send = () => {
      onUse("sent");
      setSettings(box.checked);
      target.click();
    };
    return makeButton(target.textContent?.trim() ?? "", send, { "data-send": target.id });
  });
  const reuse = makeButton("Use all settings", () => {
    onUse("reused");
    get(REUSE, document).click();
  });
  reuse.hidden = !hasRecipe;
  return make("div", { class: "lib-send", role: "group", "aria-label": "Send to" }, ...buttons, settings, reuse);
}

/** @param {boolean} wanted */
function setSettings(wanted) {
  const box = findBox(SETTINGS);
  if (box instanceof HTMLInputElement && box.checked !== wanted) box.click();
}
