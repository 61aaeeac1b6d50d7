// @ts-check
/** Values of the forms: as one packet for an event, and as the browser keeps them over a reload. */

import { scheduleCheck } from "./form_check.js";

/** @type {Set<string>} */
const restoredForms = new Set();

/**
 * Gather a form's values by name.
 * @param {string[]} names
 * @param {unknown[]} values in the order of `names`; more of them are left out
 * @returns {Record<string, unknown>}
 */
export function packForm(names, values) {
  return Object.fromEntries(names.map((name, index) => [name, values[index]]));
}

/**
 * The values to store for `form`, which are looked at as well. Until the page has restored the form, what was stored
 * before stays: otherwise the defaults would replace it.
 * @param {string} form
 * @param {string[]} names
 * @param {unknown[]} values the form's values, and last what is stored now
 * @returns {unknown}
 */
export function rememberForm(form, names, values) {
  const packed = packForm(names, values);
  scheduleCheck(form, packed);
  return restoredForms.has(form) ? packed : values[names.length];
}

/**
 * Note that the page has put the stored values of `form` back.
 * @param {string} form
 */
export function markRestored(form) {
  restoredForms.add(form);
}

/**
 * @param {string[]} forms
 * @returns {boolean}
 */
export function areRestored(forms) {
  return forms.every((form) => restoredForms.has(form));
}
