// @ts-check
/** Which asset the library shows on its own, for the buttons that send it, and which one it is asked to show. */

/** @type {{id: string, root: HTMLElement | null}} */
const shown = { id: "", root: null };
/** @type {{id: string, listener: ((id: string) => void) | null}} */
const wanted = { id: "", listener: null };

/**
 * @param {string} id "" for none
 * @param {HTMLElement} root what shows it
 */
export function setShownAsset(id, root) {
  Object.assign(shown, { id, root });
}

/**
 * The asset that the library shows, "" while another tab is open.
 * @returns {string}
 */
export function getShownAsset() {
  return shown.root?.offsetParent ? shown.id : "";
}

/**
 * Ask the library to show an asset, as soon as there is one.
 * @param {string} id
 */
export function requestAsset(id) {
  if (wanted.listener) wanted.listener(id);
  else wanted.id = id;
}

/**
 * Call `listener` for every asset that is asked for, one asked for before included.
 * @param {(id: string) => void} listener
 */
export function followRequests(listener) {
  wanted.listener = listener;
  if (wanted.id) listener(wanted.id);
  wanted.id = "";
}
