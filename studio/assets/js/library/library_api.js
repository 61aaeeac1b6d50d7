// @ts-check
/** What the library asks the studio; every function raises as `requestJson`. */

import { postJson, requestJson } from "../common/requests.js";

const API = "api/image-studio";
const MAX_LIMIT = 500; // assets that one answer may be asked for

/**
 * @typedef {object} Asset
 * @property {string} id
 * @property {string} url of the file
 * @property {string} thumbnail address
 * @property {number} width px
 * @property {number} height px
 * @property {string} created ISO 8601
 * @property {"image" | "audio" | "video"} kind
 * @property {string} title
 * @property {string} prompt
 * @property {string} negative_prompt
 * @property {string} model
 * @property {number} seed
 * @property {string} task
 * @property {string} source
 * @property {boolean} favourite
 * @property {number} rating 0 to 5
 * @property {string[]} tags
 * @property {string} note
 * @property {boolean} trashed
 * @property {number} uses
 * @property {string | null} job that made it here
 */

/**
 * @typedef {object} Relations
 * @property {string} seed_text every digit of the seed, which a number may not hold
 * @property {object | null} request the recipe
 * @property {string | null} request_text the same as JSON, with every digit
 * @property {string | null} infotext
 * @property {Relative[]} parents
 * @property {Relative[]} children
 * @property {string[]} history
 * @property {{id: string, name: string}[]} collections
 * @property {Record<string, number>} use_counts
 */

/** @typedef {Asset & Relations} AssetDetail */
/** @typedef {{id: string, thumbnail: string}} Relative */
/** @typedef {{assets: Asset[], next: string | null, total: number, total_is_exact?: boolean}} AssetPage */
/** @typedef {{favourite?: boolean, rating?: number, tags?: string[], note?: string, title?: string}} AssetPatch */
/** @typedef {{ids: string[]} | {query: string}} Target what a bulk change is done to */
/** @typedef {{value: string, count: number}} Facet */
/** @typedef {{id: string, name: string, count: number, query: string | null}} Collection */
/**
 * @typedef {object} ImportFolder
 * @property {number} id
 * @property {string} path
 * @property {string} program
 * @property {string} state waiting, scanning, watching, cancelled, offline or failed
 * @property {number} found files
 * @property {number} done of them
 * @property {string | null} error
 */
/** @typedef {{text: string, label: string, count?: number}} Completion */

/**
 * @typedef {object} BulkChange
 * @property {boolean} [favourite]
 * @property {number} [rating]
 * @property {string[]} [add_tags]
 * @property {string[]} [remove_tags]
 * @property {string} [add_to] id of a collection
 * @property {string} [remove_from]
 * @property {boolean} [trash]
 * @property {boolean} [restore]
 */

/**
 * @typedef {object} Facets
 * @property {Facet[]} models
 * @property {Facet[]} loras
 * @property {Facet[]} tags
 * @property {Facet[]} sources
 * @property {Facet[]} tasks
 * @property {Facet[]} days
 * @property {Collection[]} collections
 */

/**
 * @typedef {object} Search
 * @property {string} q
 * @property {string} order
 * @property {boolean} trashed
 * @property {boolean} [isStacked] whether no page ends between two images of one job
 */

/**
 * @param {Search} search
 * @param {string} cursor "" for the first page
 * @param {number} limit
 * @returns {Promise<AssetPage>}
 */
export function listAssets(search, cursor, limit) {
  const query = new URLSearchParams({ q: search.q, order: search.order, limit: String(Math.min(limit, MAX_LIMIT)) });
  if (search.trashed) query.set("trashed", "true");
  if (search.isStacked) query.set("whole_jobs", "true");
  if (cursor) query.set("cursor", cursor);
  return requestJson(`${API}/assets?${query}`);
}

/**
 * @param {string} id
 * @returns {Promise<AssetDetail>}
 */
export function getAsset(id) {
  return requestJson(getAssetAddress(id));
}

/**
 * @param {string} id
 * @param {AssetPatch} patch
 * @returns {Promise<Asset>}
 */
export function patchAsset(id, patch) {
  return sendJson(getAssetAddress(id), "PATCH", patch);
}

/**
 * @param {Target} target
 * @param {BulkChange} change
 * @returns {Promise<{changed: number, undo: string}>}
 */
export function changeAssets(target, change) {
  return postJson(`${API}/assets/bulk`, { ...target, change });
}

/**
 * Undo a bulk change.
 * @param {string} [token] the last one when left out
 * @returns {Promise<{restored: number}>}
 */
export function undoChange(token) {
  return postJson(`${API}/assets/undo`, token ? { token } : {});
}

/** @returns {Promise<{removed: number}>} */
export function emptyTrash() {
  return postJson(`${API}/trash/empty`, {});
}

/**
 * @param {string} query
 * @returns {Promise<Facets>}
 */
export function getFacets(query) {
  return requestJson(`${API}/assets/facets?${new URLSearchParams({ q: query })}`);
}

/**
 * @param {string} text the query as typed
 * @param {number} position of the cursor
 * @returns {Promise<{from: number, to: number, options: Completion[]}>}
 */
export function completeQuery(text, position) {
  return requestJson(`${API}/assets/complete?${new URLSearchParams({ text, position: String(position) })}`);
}

/**
 * @param {string} id
 * @param {number} limit
 * @returns {Promise<AssetPage>}
 */
export function listSimilar(id, limit) {
  return requestJson(`${getAssetAddress(id)}/similar?limit=${limit}`);
}

/** @returns {Promise<{groups: Asset[][]}>} */
export function listDuplicates() {
  return requestJson(`${API}/assets/duplicates`);
}

/**
 * Count a use of an asset.
 * @param {string} id
 * @param {"sent" | "downloaded" | "exported" | "parent" | "reused"} use
 * @returns {Promise<{uses: number}>}
 */
export function countUse(id, use) {
  return postJson(`${getAssetAddress(id)}/uses`, { use });
}

/**
 * @param {string} name
 * @param {string} [query] makes it a saved search
 * @returns {Promise<Collection>}
 */
export function createCollection(name, query) {
  return postJson(`${API}/collections`, query ? { name, query } : { name });
}

/**
 * @param {string} id
 * @param {{name?: string, query?: string}} patch
 * @returns {Promise<Collection>}
 */
export function patchCollection(id, patch) {
  return sendJson(`${API}/collections/${encodeURIComponent(id)}`, "PATCH", patch);
}

/**
 * @param {string} id
 * @returns {Promise<unknown>}
 */
export function deleteCollection(id) {
  return requestJson(`${API}/collections/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/**
 * Where the zip of a selection is.
 * @param {Target} target
 * @returns {string}
 */
export function getExportAddress(target) {
  const isPicked = "ids" in target;
  const query = isPicked
    ? `ids=${target.ids.map(encodeURIComponent).join(",")}`
    : `q=${encodeURIComponent(target.query)}`;
  return `${API}/assets/export?${query}`;
}

/**
 * @param {File} file
 * @returns {Promise<Asset>}
 */
export function uploadAsset(file) {
  const body = new FormData();
  body.append("file", file, file.name);
  return requestJson(`${API}/assets`, { method: "POST", body });
}

/** @returns {Promise<{folders: ImportFolder[]}>} */
export function listImports() {
  return requestJson(`${API}/imports`);
}

/**
 * @param {number} id of the folder
 * @param {"scan" | "cancel"} action
 * @returns {Promise<unknown>}
 */
export function controlImport(id, action) {
  return postJson(`${API}/imports/${id}/${action}`, {});
}

/**
 * @param {string} id
 * @returns {string}
 */
function getAssetAddress(id) {
  return `${API}/assets/${encodeURIComponent(id)}`;
}

/**
 * @param {string} address
 * @param {string} method
 * @param {unknown} body
 * @returns {Promise<any>}
 */
function sendJson(address, method, body) {
  const headers = { "Content-Type": "application/json" };
  return requestJson(address, { method, headers, body: JSON.stringify(body) });
}
