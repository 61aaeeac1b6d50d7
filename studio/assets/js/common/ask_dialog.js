// @ts-check
/** Small dialogs that ask before something is done. */

import { make, makeButton } from "./dom.js";
import { translate } from "./translate.js";

/**
 * Ask whether to go on.
 * @param {{title: string, text: string, action: string}} question `action` stands on the button that does it
 * @returns {Promise<boolean>}
 */
export async function askToConfirm({ title, text, action }) {
  return (await openDialog(title, [make("p", {}, translate(text))], action)) !== null;
}

/**
 * Ask for a line of text.
 * @param {{title: string, label: string, value?: string, action: string}} question
 * @returns {Promise<string>} without spaces around it, "" when there is none
 */
export async function askForText({ title, label, value = "", action }) {
  const box = make("input", { type: "text", value, maxlength: 100, required: true });
  const answer = await openDialog(title, [make("label", {}, translate(label), box)], action);
  return answer === null ? "" : box.value.trim();
}

/**
 * Ask for a line of text that may be empty.
 * @param {{title: string, label: string, value: string, action: string}} question
 * @returns {Promise<string | null>} without spaces around it, null when it was called off
 */
export async function askForOptionalText({ title, label, value, action }) {
  const box = make("input", { type: "text", value, maxlength: 500 });
  const answer = await openDialog(title, [make("label", {}, translate(label), box)], action);
  return answer === null ? null : box.value.trim();
}

/**
 * @param {string} title
 * @param {HTMLElement[]} content
 * @param {string} action
 * @returns {Promise<string | null>} null when it was called off
 */
function openDialog(title, content, action) {
  const before = document.activeElement;
  const go = make("button", { type: "submit", class: "mini mini-main", value: "go" }, translate(action));
  const cancel = makeButton("Cancel", () => dialog.close());
  const form = make("form", { method: "dialog" }, ...content, make("div", { class: "ask-buttons" }, cancel, go));
  const dialog = make("dialog", { class: "ask", "aria-label": title }, make("h3", {}, translate(title)), form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before instanceof HTMLElement) before.focus();
      resolve(dialog.returnValue === "go" ? "go" : null);
    });
  });
}
