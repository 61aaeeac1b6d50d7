// @ts-check
/** What a user says in place of what was understood of a brief: values that need no page. */

import { getTerritoryName } from "./territory_names.js";

/** @typedef {import("./brief_api.js").Classification} Classification */
/**
 * What differs from what was understood; the rest stays as understood.
 * @typedef {{territories?: string[], audience?: string, era?: string, occasion?: string, setting?: string,
 *   people?: boolean}} Corrections
 */
/** @typedef {"audience" | "era" | "occasion" | "setting"} WordField */
/** @typedef {{field: "territories" | WordField | "people", value: string, text: string, because: string}} KnownValue */

/** @type {Record<WordField, string>} */
export const WORD_LABELS = { audience: "Audience", era: "Time", occasion: "Occasion", setting: "Setting" };

/**
 * What is known, value by value, with the corrections in their place.
 * @param {Classification} known
 * @param {Corrections} said
 * @returns {KnownValue[]}
 */
export function listKnownValues(known, said) {
  const places = said.territories ?? known.territories.map(getTerritoryName);
  const words = Object.fromEntries(
    known.territories.map((code) => [getTerritoryName(code), known.because[code] ?? ""]),
  );
  const found = places.map((name) => makeValue("territories", name, name, words[name] ?? ""));
  for (const field of listWordFields()) {
    const value = said[field] ?? known[field];
    if (value) found.push(makeValue(field, value, `${WORD_LABELS[field]}: ${value}`, ""));
  }
  const people = said.people ?? (known.people || null);
  if (people !== null) found.push(makeValue("people", String(people), people ? "People" : "No people", ""));
  return found;
}

/**
 * The corrections after one value is taken away.
 * @param {Classification} known
 * @param {Corrections} said
 * @param {KnownValue} value
 * @returns {Corrections}
 */
export function removeValue(known, said, value) {
  if (value.field === "people") return { ...said, people: false };
  if (value.field !== "territories") return { ...said, [value.field]: "" };
  return { ...said, territories: listPlaces(known, said).filter((name) => name !== value.value) };
}

/**
 * The corrections after a value is written, in the place of `before` where one is changed.
 * @param {Classification} known
 * @param {Corrections} said
 * @param {"territories" | WordField} field
 * @param {string} text
 * @param {string} [before]
 * @returns {Corrections}
 */
export function writeValue(known, said, field, text, before = "") {
  if (field !== "territories") return { ...said, [field]: text };
  const places = listPlaces(known, said);
  const at = places.indexOf(before);
  const changed = at < 0 ? [...places, text] : places.with(at, text);
  return { ...said, territories: [...new Set(changed.filter(Boolean))] };
}

/** @returns {WordField[]} */
export function listWordFields() {
  return ["audience", "era", "occasion", "setting"];
}

/**
 * @param {Classification} known
 * @param {Corrections} said
 */
function listPlaces(known, said) {
  return said.territories ?? known.territories.map(getTerritoryName);
}

/**
 * @param {KnownValue["field"]} field
 * @param {string} value
 * @param {string} text
 * @param {string} because
 * @returns {KnownValue}
 */
function makeValue(field, value, text, because) {
  return { field, value, text, because };
}
