// @ts-check
/** Error toasts for what the browser learns by itself; they look like Gradio's and stand below them. */

import { find, findAll, getTarget, make } from "./dom.js";
import { closeGradioErrors, measureToastBottom, TOAST_TITLE } from "./gradio_dom.js";
import { followPageChanges } from "./page_changes.js";
import { StudioError } from "./requests.js";
import { translate } from "./translate.js";

const ATTEMPT = "button.generate, button.waits"; // what begins a job
const TITLES = ["Error", "Warning", "Info"]; // that Gradio writes above its toasts, in English in every language
const TOAST_MS = 12000;
const GAP = 16; // px from the edge of the window, or from Gradio's last toast

/**
 * Show an error in the corner.
 * @param {unknown} error
 */
export function showError(error) {
  const { title, message, hint } = describeError(error);
  const frame = find(".toasts") ?? document.body.appendChild(make("div", { class: "toasts", role: "alert" }));
  const close = make("button", { type: "button", "aria-label": "Close" }, "×");
  const text = make("p", {}, [message, hint].filter(Boolean).join(" "));
  const toast = make("div", { class: "toast" }, make("strong", {}, title), close, text);
  close.addEventListener("click", () => toast.remove());
  frame.style.top = `${measureToastBottom() + GAP}px`;
  frame.append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

/** Take away the errors of what was tried before, ours and Gradio's. */
export function clearErrors() {
  document.querySelectorAll(".toasts .toast").forEach((toast) => toast.remove());
  closeGradioErrors();
}

/** Let an error go when the next attempt begins. */
export function startToastCleanup() {
  const clear = (/** @type {Event} */ event) => {
    if (getTarget(event)?.closest(ATTEMPT)) clearErrors();
  };
  document.addEventListener("click", clear, true);
}

/** Show the titles of Gradio's toasts in the language of the visitor. */
export function translateToastTitles() {
  followPageChanges(() => {
    for (const title of findAll(TOAST_TITLE)) {
      const text = title.firstChild;
      const known = text instanceof Text && TITLES.find((each) => each === text.data.trim());
      if (known) text.data = `${translate(known)} `;
    }
  });
}

/**
 * @param {unknown} error
 * @returns {{title: string, message: string, hint: string}}
 */
function describeError(error) {
  if (error instanceof StudioError) return error;
  return { title: "Error", message: error instanceof Error ? error.message : String(error), hint: "" };
}
