// @ts-check
/** Questions about a brief, and cautions, which say why and from which source and can be dismissed for good. */

import { make, makeButton } from "../common/dom.js";

/** @typedef {import("./brief_api.js").Classification} Classification */

const DISMISSED = "easel.dismissed-cautions";

/**
 * @param {Classification} known
 * @returns {HTMLElement[]} an item of a list for each
 */
export function makeNotices(known) {
  const dismissed = readDismissed();
  const cautions = known.cautions.filter((each) => !dismissed.includes(each.because));
  return [...known.questions.map((text) => make("li", {}, text)), ...cautions.map((each) => makeCaution(each))];
}

/** @param {import("./brief_api.js").Caution} caution */
function makeCaution({ because, text, reference, source }) {
  const link = make("a", { href: source, target: "_blank", rel: "noopener noreferrer" }, reference);
  const item = make("li", {}, make("strong", {}, because), ` ${text} `, link, " ");
  item.append(
    makeButton("Do not show again", () => {
      localStorage.setItem(DISMISSED, JSON.stringify([...readDismissed(), because]));
      item.remove();
    }),
  );
  return item;
}

/** @returns {string[]} */
function readDismissed() {
  try {
    const kept = JSON.parse(localStorage.getItem(DISMISSED) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}
