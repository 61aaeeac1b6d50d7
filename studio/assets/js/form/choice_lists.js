// @ts-check
/** Lists of choices that the page does not bring: each is fetched when its field is opened. */

import { find } from "../common/dom.js";
import { SELECTED_CHOICE } from "../common/gradio_dom.js";
import { requestJson } from "../common/requests.js";
import { translate } from "../common/translate.js";

/** @typedef {[label: string, value: string]} Choice */
/**
 * @typedef {object} ListOptions
 * @property {string} field id of the field's element
 * @property {string} list name of the list
 * @property {Choice[]} fixed choices that the field always has
 * @property {Record<string, string>} tasks what models have to do, by the mode or, in one without a task, the operation
 */

/**
 * The update that gives the field its list. Where that cannot be fetched the field keeps what it has.
 * @param {ListOptions} options
 * @param {unknown} value the field's value
 * @param {string} [mode]
 * @param {string} [operation]
 * @returns {Promise<object>}
 */
export async function listChoices({ field, list, fixed, tasks }, value, mode = "", operation = "") {
  const task = tasks[mode] ?? tasks[operation] ?? "txt2img";
  try {
    const fetched = await requestJson(`page/lists/${list}?task=${encodeURIComponent(task)}`);
    const choices = keepPlace(mergeChoices(translateLabels(fixed), fetched), value, findSelectedPlace(field));
    return { __type__: "update", choices };
  } catch {
    return { __type__: "update" };
  }
}

/**
 * @param {Choice[]} fixed
 * @param {Choice[]} fetched
 * @returns {Choice[]} each value once
 */
export function mergeChoices(fixed, fetched) {
  const known = new Set(fixed.map(([, value]) => value));
  return [...fixed, ...fetched.filter(([, value]) => !known.has(value))];
}

/**
 * @param {Choice[]} choices
 * @returns {Choice[]} their labels in the language of the visitor
 */
function translateLabels(choices) {
  return choices.map(([label, value]) => [translate(label), value]);
}

/**
 * `choices` with the chosen one at the place where the open list shows it: Gradio marks a place and not a value while
 * the list is open.
 * @param {Choice[]} choices
 * @param {unknown} value
 * @param {number} place -1 where none is marked
 * @returns {Choice[]}
 */
export function keepPlace(choices, value, place) {
  const now = choices.findIndex((choice) => choice[1] === value);
  if (place < 0 || now < 0 || place >= choices.length) return choices;
  const others = choices.filter((_, index) => index !== now);
  return [...others.slice(0, place), choices[now], ...others.slice(place)];
}

/**
 * @param {string} field
 * @returns {number}
 */
function findSelectedPlace(field) {
  const marked = find(`#${CSS.escape(field)} ${SELECTED_CHOICE}`);
  return Number(marked?.dataset.index ?? -1);
}
