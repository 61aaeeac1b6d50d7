// @ts-check
/** Names of territories, which the browser knows by their ISO codes. */

const names = new Intl.DisplayNames(["en"], { type: "region", fallback: "none" });
const LETTERS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
const NO_TERRITORY = ["EU", "EZ", "UN", "ZZ", "XA", "XB", "QO"]; // unions, and codes for tests

/**
 * @param {string} code
 * @returns {string} the code itself where there is no name
 */
export function getTerritoryName(code) {
  return names.of(code) ?? code;
}

/**
 * All names in their order.
 * @returns {string[]}
 */
export function listTerritoryNames() {
  const codes = LETTERS.flatMap((one) => LETTERS.map((other) => one + other));
  const found = codes.filter((code) => !NO_TERRITORY.includes(code)).map((code) => names.of(code));
  return [...new Set(found.filter((name) => name !== undefined))].sort((one, other) => one.localeCompare(other));
}
