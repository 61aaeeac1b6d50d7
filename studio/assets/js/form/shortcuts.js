// @ts-check
/** Keyboard shortcuts, and example prompts to click on. */

import { find, getTarget } from "../common/dom.js";
import { commitFocusedField, findBox, OPEN_LISTBOX, typeInto } from "../common/gradio_dom.js";
import { enlargeImage, isEnlargeable } from "../result/lightbox.js";
import { getShownView, showFrame } from "../result/result_view.js";

/** Start listening. */
export function startShortcuts() {
  document.addEventListener("keydown", handleKey);
  document.addEventListener("click", (event) => {
    const chip = getTarget(event)?.closest(".chip");
    if (chip instanceof HTMLElement) useExample(chip);
  });
}

/** @param {KeyboardEvent} event */
function handleKey(event) {
  const target = getTarget(event);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) startJob(event);
  else if (event.key === "Escape") stopJob();
  else if (event.key === "Enter" && isEnlargeable(target)) enlargeImage(target);
  else if (event.key === "ArrowLeft") showNeighbour(target, "previousElementSibling");
  else if (event.key === "ArrowRight") showNeighbour(target, "nextElementSibling");
}

/** @param {KeyboardEvent} event */
function startJob(event) {
  const button = find("button.generate", getShownView());
  if (!(button instanceof HTMLButtonElement) || button.disabled || !button.offsetParent) return;
  event.preventDefault();
  commitFocusedField();
  button.click();
}

/** Stop the running job, unless Escape closes something that is open. */
function stopJob() {
  if (find(`dialog[open], ${OPEN_LISTBOX}, .paint.wide`)) return;
  const view = getShownView();
  const button = find("button.stop", view);
  const isRunning = find(".result", view)?.dataset.status === "running";
  if (isRunning && button instanceof HTMLButtonElement && !button.disabled && button.offsetParent) button.click();
}

/**
 * @param {Element | null} target
 * @param {"previousElementSibling" | "nextElementSibling"} side
 */
function showNeighbour(target, side) {
  const next = target?.matches(".result .frame") ? target[side] : null;
  if (!(next instanceof HTMLElement)) return;
  next.focus();
  showFrame(next);
}

/** @param {HTMLElement} chip */
function useExample(chip) {
  const view = chip.closest(".easel");
  const box = view && findBox(".prompt", view);
  if (!box) return;
  typeInto(box, chip.dataset.prompt ?? "");
  box.focus();
}
