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
 * @property {{text: string, short: string}[]} notes
 */

/** A few words on a crop, and the sentence that they stand for. @typedef {{text: string, title: string}} Badge */

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
 * What to tell of a crop, in a few words each.
 * @param {CropState} state
 * @returns {Badge[]}
 */
export function listBadges(state) {
  const { advice } = state;
  if (state.isFilled) return [{ text: "Extended", title: "Nothing is lost: the whole image, extended." }];
  const verdict = judgeCrop(state);
  const badges = [];
  if (verdict === "asks") badges.push({ text: "Who?", title: "Not everybody fits: move the crop to choose." });
  if (verdict === "own") badges.push({ text: "Your crop", title: "Reset takes the suggested crop." });
  for (const lost of advice?.loses ?? []) badges.push({ text: `− ${lost}`, title: `Loses ${lost}.` });
  for (const note of advice?.notes ?? []) badges.push({ text: note.short, title: note.text });
  if (badges.length || !advice) return badges;
  return [{ text: "✓ Fits", title: `Keeps ${advice.keeps.join(", ")}.` }];
}
