// @ts-check
/** What a card says of its crop. */

/**
 * What the studio found out about a crop.
 * @typedef {object} Advice
 * @property {import("./crop_geometry.js").Box} box
 * @property {string} verdict good, check or extend
 * @property {number} faces on the image
 * @property {number} whole faces that the crop shows in full
 * @property {string[]} keeps
 * @property {string[]} loses
 * @property {string[]} notes
 */

/**
 * @typedef {object} CropState
 * @property {Advice | undefined} advice undefined until the studio has answered
 * @property {boolean} isOwn whether the user placed the crop
 * @property {boolean} isFilled whether the whole image is shown, extended
 * @property {boolean} mayAsk whether the user wants to be asked where somebody is left out
 */

/** Ways to extend an image that the page can draw. */
const DRAWN_EXTENSIONS = ["blur", "colour", "mirror"];

/**
 * Whether the whole image is shown with something around it.
 * @param {Advice | undefined} advice
 * @param {boolean} isOwn
 * @param {string | undefined} extend the form's choice
 * @returns {boolean}
 */
export function isExtended(advice, isOwn, extend) {
  return !isOwn && advice?.verdict === "extend" && DRAWN_EXTENSIONS.includes(extend ?? "");
}

/**
 * Whether the user has to decide who is on the crop.
 * @param {CropState} state
 * @returns {boolean}
 */
function isUndecided({ advice, isOwn, mayAsk }) {
  return !isOwn && mayAsk && advice !== undefined && advice.faces > 1 && advice.faces > advice.whole;
}

/**
 * The verdict on a crop: own, filled, asks, or the studio's own.
 * @param {CropState} state
 * @returns {string}
 */
export function judgeCrop(state) {
  if (state.isOwn) return "own";
  if (state.isFilled) return "filled";
  return isUndecided(state) ? "asks" : (state.advice?.verdict ?? "");
}

/**
 * What to tell of a crop, in short sentences.
 * @param {CropState} state
 * @returns {string}
 */
export function describeCrop(state) {
  const { advice } = state;
  if (state.isFilled) return "Nothing is lost: the whole image, extended.";
  const verdict = judgeCrop(state);
  const start = verdict === "asks" ? "Who should be in it?" : verdict === "own" ? "Your crop." : "";
  const loses = advice?.loses.length ? `Loses ${advice.loses.join(", ")}.` : "";
  const text = [start, loses, ...(advice?.notes ?? [])].filter(Boolean).join(" ");
  return text || (advice ? `Keeps ${advice.keeps.join(", ")}.` : "");
}
