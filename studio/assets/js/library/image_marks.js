// @ts-check
/** The marks of one image outside the library. */

import { makeButton, setPressed } from "../common/dom.js";
import { openTab } from "../common/open_tab.js";
import { showError } from "../common/toasts.js";
import { makeFavouriteButton, makeStars, showStars } from "./asset_marks.js";
import { changeAssets, getAsset } from "./library_api.js";
import { requestAsset } from "./shown_asset.js";

/**
 * Fill `slot` with the buttons, and show what is known of the image once the studio has told.
 * @param {HTMLElement} slot
 * @param {string} id
 */
export async function buildMarks(slot, id) {
  const favourite = makeFavouriteButton((wanted) => change({ favourite: wanted }));
  const stars = makeStars((rating) => change({ rating }));
  const open = makeButton("Open in Library", () => {
    requestAsset(id);
    openTab("library");
  });
  const show = (/** @type {{favourite?: boolean, rating?: number}} */ marks) => {
    if (marks.favourite !== undefined) setPressed(favourite, marks.favourite);
    if (marks.rating !== undefined) showStars(stars, marks.rating);
  };
  /** @type {{favourite?: boolean, rating?: number}} */
  let changed = {}; // while the studio was asked, whose answer may be older
  const change = async (/** @type {{favourite?: boolean, rating?: number}} */ marks) => {
    try {
      await changeAssets({ ids: [id] }, marks);
      changed = { ...changed, ...marks };
      show(marks);
    } catch (error) {
      showError(error);
    }
  };
  slot.replaceChildren(favourite, stars, open);
  try {
    const told = await getAsset(id);
    show({ ...told, ...changed });
  } catch {
    // unmarked until one is pressed, which reports what is wrong
  }
}
