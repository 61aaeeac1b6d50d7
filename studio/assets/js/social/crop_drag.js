// @ts-check
/** Moving and scaling a crop by drag and by keys. */

import { ARROW_KEYS, shiftBox } from "./crop_geometry.js";

/** @typedef {import("./crop_card.js").CropCard} CropCard */
/** @typedef {import("./crop_geometry.js").Box} Box */

const MIN_DRAG = 3; // px; less is a click
const STEP = 0.02; // of the image, per key
const LARGE_STEP = 0.1;
const SCALE_STEP = 1.1;

/**
 * Let the pointer and the keys move the crop of `card`.
 * @param {CropCard} card
 */
export function makeDraggable(card) {
  const { crop } = card;
  /** @type {{x: number, y: number, box: Box, hasMoved: boolean} | null} */
  let drag = null;
  crop.addEventListener("pointerdown", (event) => {
    if (!card.box || event.button) return;
    crop.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, box: card.box, hasMoved: false };
  });
  crop.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.hasMoved && Math.hypot(x, y) < MIN_DRAG) return;
    drag.hasMoved = true;
    const frame = crop.getBoundingClientRect();
    const [wide, high] = [drag.box[2] - drag.box[0], drag.box[3] - drag.box[1]];
    card.preview(shiftBox(drag.box, (-x / frame.width) * wide, (-y / frame.height) * high));
  });
  const end = () => {
    if (drag?.hasMoved && card.box) card.setOwnCrop(card.box);
    drag = null;
  };
  crop.addEventListener("pointerup", end);
  crop.addEventListener("pointercancel", end);
  crop.addEventListener("keydown", (event) => {
    if (card.box && moveByKey(card, card.box, event)) event.preventDefault();
  });
}

/**
 * @param {CropCard} card
 * @param {Box} box
 * @param {KeyboardEvent} event
 * @returns {boolean} whether the key means anything
 */
function moveByKey(card, box, event) {
  const direction = ARROW_KEYS[event.key];
  if (direction) {
    const step = event.shiftKey ? LARGE_STEP : STEP;
    card.setOwnCrop(shiftBox(box, direction[0] * step, direction[1] * step));
  } else if (event.key === "-") card.scale(SCALE_STEP);
  else if (event.key === "+" || event.key === "=") card.scale(1 / SCALE_STEP);
  else return false;
  return true;
}
