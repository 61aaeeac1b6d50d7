// @ts-check
/** Error toasts for what the browser learns by itself; they look like Gradio's and stand below them. */

import { find, getTarget, make } from "./dom.js";
import { closeGradioErrors, measureToastBottom } from "./gradio_dom.js";
import { StudioError } from "./requests.js";

const ATTEMPT = "button.generate, button.waits"; // what begins a job
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

/**
 * @param {unknown} error
 * @returns {{title: string, message: string, hint: string}}
 */
function describeError(error) {
  if (error instanceof StudioError) return error;
  return { title: "Error", message: error instanceof Error ? error.message : String(error), hint: "" };
}
