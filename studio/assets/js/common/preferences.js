// @ts-check
/** What the user set for this browser alone. */

const STORAGE_KEY = "easel-preferences";

/**
 * @typedef {object} Preferences
 * @property {boolean} notify show a notification when a long job ends
 * @property {boolean} sound play a sound then
 * @property {boolean} keys single letters are shortcuts
 * @property {string[]} closedHints the tabs whose hint was closed
 */

/** @type {Readonly<Preferences>} */
const DEFAULTS = { notify: false, sound: false, keys: true, closedHints: [] };

/** @returns {Preferences} */
export function readPreferences() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
    const known = Object.keys(DEFAULTS).filter((name) => hasTypeOf(DEFAULTS, stored, name));
    return { ...DEFAULTS, ...Object.fromEntries(known.map((name) => [name, stored[name]])) };
  } catch {
    return { ...DEFAULTS }; // private mode, or something else wrote there
  }
}

/** @param {Partial<Preferences>} change */
export function changePreferences(change) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify({ ...readPreferences(), ...change }));
  } catch {
    // a private window may store nothing
  }
}

/**
 * @param {Record<string, any>} wanted
 * @param {Record<string, any>} stored
 * @param {string} name
 * @returns {boolean} whether what is stored under `name` is of the kind that it must be
 */
function hasTypeOf(wanted, stored, name) {
  return typeof stored?.[name] === typeof wanted[name] && Array.isArray(stored[name]) === Array.isArray(wanted[name]);
}
