// @ts-check
/** Favourite, rating and the way to the library beside every finished image. */

import { find, findAll } from "../common/dom.js";
import { followPageChanges } from "../common/page_changes.js";

const MARKS = ".result-marks";

/** @type {typeof import("../library/image_marks.js") | undefined} */
let imageMarks; // loaded with the first image, not with the page

/** Build the marks of every result that appears. */
export function startResultMarks() {
  followPageChanges(buildMissingMarks);
}

/**
 * Let the marks below `root` be those of another image.
 * @param {HTMLElement} root
 * @param {string} id
 */
export function setMarkedImage(root, id) {
  const slot = find(MARKS, root);
  if (!slot || slot.dataset.id === id) return;
  slot.dataset.id = id;
  fillMarks(slot);
}

function buildMissingMarks() {
  for (const slot of findAll(`${MARKS}:empty:not([data-filled])`)) fillMarks(slot);
}

/**
 * At once where it can be: a key pressed right after the image has changed must not mark the one before it.
 * @param {HTMLElement} slot
 */
async function fillMarks(slot) {
  slot.dataset.filled = "";
  imageMarks ??= await import("../library/image_marks.js");
  imageMarks.buildMarks(slot, slot.dataset.id ?? "");
}
