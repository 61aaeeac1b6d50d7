// @ts-check
/** What the page asks of the studio's prompts and wildcards. */

import { postJson, requestJson } from "../common/requests.js";

const API = "api/image-studio";

/** @typedef {{name: string, own: boolean}} WildcardName */
/** @typedef {WildcardName & {text: string, values: number}} Wildcard */
/** @typedef {{slot: string, text: string}} Addition */
/** @typedef {{prompt: string, additions: Addition[], advice: string, switchTo: string}} EnhancedPrompt */
/** @typedef {{subject: string, prompt: string, negativePrompt: string, seed: number}} RandomPrompt */

/** @returns {Promise<WildcardName[]>} */
export async function listWildcards() {
  return (await requestJson(`${API}/wildcards`)).wildcards;
}

/**
 * @param {string} name
 * @returns {Promise<Wildcard>}
 */
export function getWildcard(name) {
  return requestJson(getAddress(name));
}

/**
 * @param {string} name
 * @param {string} text
 * @returns {Promise<Wildcard>}
 */
export function saveWildcard(name, text) {
  const headers = { "Content-Type": "application/json" };
  return requestJson(getAddress(name), { method: "PUT", headers, body: JSON.stringify({ text }) });
}

/** @param {string} name */
export async function deleteWildcard(name) {
  await requestJson(getAddress(name), { method: "DELETE" });
}

/**
 * @param {string} model
 * @returns {Promise<RandomPrompt>}
 */
export async function drawRandomPrompt(model) {
  return (await postJson(`${API}/prompts/random`, { model })).prompts[0];
}

/**
 * @param {string} prompt
 * @param {string} model
 * @returns {Promise<EnhancedPrompt>}
 */
export function enhancePrompt(prompt, model) {
  return postJson(`${API}/prompts/enhance`, { prompt, model });
}

/**
 * @param {string} template
 * @param {number} count
 * @returns {Promise<{prompts: string[], combinations: number}>}
 */
export function expandTemplate(template, count) {
  return postJson(`${API}/prompts/expand`, { template, count });
}

/** @param {string} name */
function getAddress(name) {
  return `${API}/wildcards/${name.split("/").map(encodeURIComponent).join("/")}`;
}
