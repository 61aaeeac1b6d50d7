// @ts-check
/** Images that the studio keeps for the forms, named by the hash of their content. */

import { trackPending } from "../common/pending_work.js";
import { requestJson } from "../common/requests.js";

const ADDRESS = "page/pictures";
const HASH = /^[0-9a-f]{64}$/;

/**
 * @typedef {object} KeptImage
 * @property {string} hash
 * @property {number} width px
 * @property {number} height px
 */

/**
 * @param {string} hash
 * @returns {string}
 */
export function getImageAddress(hash) {
  return `${ADDRESS}/${hash}`;
}

/**
 * Read the images that a pad's value names: hashes with spaces between. Anything else is left out.
 * @param {unknown} value
 * @returns {string[]}
 */
export function parseImageNames(value) {
  return String(value ?? "")
    .split(" ")
    .filter((name) => HASH.test(name));
}

/**
 * Send a file to be kept; jobs wait for it.
 * @param {Blob} file
 * @param {Record<string, string>} [query] the image that a mask (`mask_of`) or paint (`paint_on`) belongs to
 * @returns {Promise<KeptImage>}
 */
export function keepFile(file, query = {}) {
  const body = new FormData();
  body.append("file", file, "image");
  return trackPending(requestJson(`${ADDRESS}?${new URLSearchParams(query)}`, { method: "POST", body }));
}

/**
 * Keep a result. Its history stays with it, which the browser's copy of the file may lack.
 * @param {string} asset id of the result
 * @returns {Promise<KeptImage>}
 */
export function keepResult(asset) {
  return trackPending(requestJson(`${ADDRESS}?${new URLSearchParams({ asset })}`, { method: "POST" }));
}

/**
 * Load an image to draw with.
 * @param {string} address
 * @returns {Promise<HTMLImageElement>}
 */
export function loadImage(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The image cannot be loaded."));
    image.src = address;
  });
}
