// @ts-check
/** Lists to choose a persona from. */

import { make } from "../common/dom.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./prompts_api.js").Persona} Persona */

/**
 * Fill a list with personas.
 * @param {HTMLSelectElement} list
 * @param {Persona[]} personas
 * @param {string} none what stands for no persona
 * @param {string} chosen
 */
export function fillPersonas(list, personas, none, chosen) {
  const options = personas.map(({ name }) => make("option", { value: name }, name));
  list.replaceChildren(make("option", { value: "" }, translate(none)), ...options);
  list.value = personas.some(({ name }) => name === chosen) ? chosen : "";
}
