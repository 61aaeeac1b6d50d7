// @ts-check
/** Target platforms beside the size: a click writes the format into a hidden field, whose change sets the size. */

import { findAll, getTarget, isPressed, setPressed } from "../common/dom.js";
import { findBox, typeInto } from "../common/gradio_dom.js";

const CHIP = ".format-chips [data-format]";
const FIELD = "#pick-format";
const NO_FORMAT = "none";

/** Let the chips choose, and a pressed one take its choice back. */
export function startFormatChips() {
  document.addEventListener("click", (event) => {
    const chip = getTarget(event)?.closest(CHIP);
    const box = findBox(FIELD);
    if (!(chip instanceof HTMLElement) || !box) return;
    const format = isPressed(chip) ? NO_FORMAT : (chip.dataset.format ?? NO_FORMAT);
    markFormatChip(format);
    typeInto(box, format);
  });
}

/**
 * Press the chip of the chosen format.
 * @param {string} format
 */
export function markFormatChip(format) {
  for (const chip of findAll(CHIP)) setPressed(chip, chip.dataset.format === format);
}
