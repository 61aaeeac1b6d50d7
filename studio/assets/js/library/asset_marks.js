// @ts-check
/** Favourite and rating, as buttons to press and as signs on a thumbnail. */

import { findAll, make, makeButton, setPressed } from "../common/dom.js";
import { translate } from "../common/translate.js";

const MOST_STARS = 5;

/** @typedef {{favourite: boolean, rating: number}} Marks */

/**
 * @param {(favourite: boolean) => void} onChange
 * @returns {HTMLButtonElement}
 */
export function makeFavouriteButton(onChange) {
  const button = makeButton("♥", () => onChange(button.getAttribute("aria-pressed") !== "true"), {
    class: "mini heart",
    "aria-label": "Favourite",
    "aria-pressed": "false",
    title: "Favourite (F)",
  });
  return button;
}

/**
 * Five stars; pressing the present rating again removes it.
 * @param {(rating: number) => void} onRate
 * @returns {HTMLElement}
 */
export function makeStars(onRate) {
  const group = make("span", { class: "stars", role: "group", "aria-label": "Rating", "data-rating": 0 });
  for (let stars = 1; stars <= MOST_STARS; stars++) {
    const rate = () => onRate(Number(group.dataset.rating) === stars ? 0 : stars);
    const label = stars === 1 ? translate("1 star") : translate("{count} stars", { count: stars });
    group.append(makeButton("☆", rate, { class: "star", "aria-label": label, title: `${label} (${stars})` }));
  }
  showStars(group, 0);
  return group;
}

/**
 * @param {HTMLElement} group made by `makeStars`
 * @param {number} rating
 */
export function showStars(group, rating) {
  group.dataset.rating = String(rating);
  findAll(".star", group).forEach((star, place) => {
    star.classList.toggle("star-on", place < rating);
    star.textContent = place < rating ? "★" : "☆";
    setPressed(star, place + 1 === rating);
  });
}

/**
 * What a key does to the marks of an asset: F switches favourite, 0 to 5 rate.
 * @param {KeyboardEvent} event
 * @param {Marks} marks the present ones
 * @returns {Partial<Marks> | null} null for any other key
 */
export function readMarkKey(event, marks) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.key.toLowerCase() === "f") return { favourite: !marks.favourite };
  return /^[0-5]$/.test(event.key) ? { rating: Number(event.key) } : null;
}
