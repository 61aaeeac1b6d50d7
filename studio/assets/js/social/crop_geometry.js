// @ts-check
/**
 * Boxes on an image: [left, top, right, bottom] as fractions of its sides, 0 to 1.
 */

/** @typedef {[number, number, number, number]} Box */
/** @typedef {[number, number]} Point */

const CLICK_SIZE = 0.02; // a drag shorter than this is a click
const CLICK_REACH = 0.06; // what a click marks around itself
const MIN_CROP = 0.08; // of the image: a crop is not made smaller

/** How far the arrow keys move, in steps. @type {Record<string, Point>} */
export const ARROW_KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high where it lies below `low`, `low` wins
 * @returns {number}
 */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

/**
 * The box that was drawn from `start` to `end`; around a click, a small one.
 * @param {Point} start
 * @param {Point} end
 * @returns {Box}
 */
export function spanBox([x0, y0], [x1, y1]) {
  if (Math.abs(x1 - x0) < CLICK_SIZE && Math.abs(y1 - y0) < CLICK_SIZE) {
    const far = 1 - 2 * CLICK_REACH;
    const left = clamp(x0 - CLICK_REACH, 0, far);
    const top = clamp(y0 - CLICK_REACH, 0, far);
    return [left, top, clamp(x0 + CLICK_REACH, 1 - far, 1), clamp(y0 + CLICK_REACH, 1 - far, 1)];
  }
  const [left, top] = [Math.min(x0, x1), Math.min(y0, y1)];
  const right = Math.max(x0, x1, left + 0.01);
  const bottom = Math.max(y0, y1, top + 0.01);
  return [clamp(left, 0, 1), clamp(top, 0, 1), clamp(right, 0, 1), clamp(bottom, 0, 1)];
}

/**
 * Move a box; it stays on the image.
 * @param {Box} box
 * @param {number} dx
 * @param {number} dy
 * @returns {Box}
 */
export function shiftBox(box, dx, dy) {
  const x = clamp(dx, -box[0], 1 - box[2]);
  const y = clamp(dy, -box[1], 1 - box[3]);
  return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
}

/**
 * Enlarge a box about its middle; it keeps its shape and stays on the image.
 * @param {Box} box
 * @param {number} by below 1 makes it smaller
 * @returns {Box}
 */
export function scaleBox(box, by) {
  const [wide, high] = [box[2] - box[0], box[3] - box[1]];
  const scale = clamp(by, MIN_CROP / Math.min(wide, high), Math.min(1 / wide, 1 / high));
  const [width, height] = [Math.min(1, wide * scale), Math.min(1, high * scale)];
  const left = clamp((box[0] + box[2] - width) / 2, 0, 1 - width);
  const top = clamp((box[1] + box[3] - height) / 2, 0, 1 - height);
  return [left, top, Math.min(1, left + width), Math.min(1, top + height)];
}

/**
 * Round a box for storage.
 * @param {Box} box
 * @param {number} digits
 * @returns {Box}
 */
export function roundBox(box, digits) {
  return /** @type {Box} */ (box.map((side) => Number(side.toFixed(digits))));
}

/**
 * Where an image lies in a card, in fractions of the card.
 * @typedef {{left: number, top: number, width: number, height: number}} Placement
 */

/**
 * The image so that its box fills the card.
 * @param {Box} box
 * @returns {Placement}
 */
export function placeCrop(box) {
  const [width, height] = [1 / (box[2] - box[0]), 1 / (box[3] - box[1])];
  return { left: -box[0] * width, top: -box[1] * height, width, height };
}

/**
 * The whole image in the card, about the middle of the safe zone.
 * @param {[number, number]} image width and height, px
 * @param {{width: number, height: number, safe: Box}} format
 * @returns {Placement}
 */
export function placeWhole(image, format) {
  const scale = Math.min(format.width / image[0], format.height / image[1]);
  const width = (image[0] * scale) / format.width;
  const height = (image[1] * scale) / format.height;
  const left = clamp((format.safe[0] + format.safe[2]) / 2 - width / 2, 0, 1 - width);
  const top = clamp((format.safe[1] + format.safe[3]) / 2 - height / 2, 0, 1 - height);
  return { left, top, width, height };
}

/**
 * A placement as inline style.
 * @param {Placement} placement
 * @returns {string}
 */
export function formatPlacement({ left, top, width, height }) {
  return `left:${100 * left}%;top:${100 * top}%;width:${100 * width}%;height:${100 * height}%`;
}
