// @ts-check
/** Values of the forms: as one packet for an event, and as the browser keeps them over a reload. */

import { scheduleCheck } from "./form_check.js";

/** @type {Set<string>} */
const restoredForms = new Set();
/** @type {Map<string, (() => void)[]>} */
const waiting = new Map();

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
  for (const tell of waiting.get(form) ?? []) tell();
  waiting.delete(form);
}

/**
 * Wait until the page has put the stored values of `form` back: before that its events may still be on their way.
 * @param {string} form
 * @returns {Promise<void>}
 */
export function waitUntilRestored(form) {
  if (restoredForms.has(form)) return Promise.resolve();
  return new Promise((resolve) => waiting.set(form, [...(waiting.get(form) ?? []), resolve]));
}

/**
 * @param {string[]} forms
 * @returns {boolean}
 */
export function areRestored(forms) {
  return forms.every((form) => restoredForms.has(form));
}
