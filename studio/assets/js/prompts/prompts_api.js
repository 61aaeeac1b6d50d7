// @ts-check
/** What the page asks of the studio about prompts, wildcards and personas. */

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
  return putJson(getAddress(name), { text });
}

/** @param {string} name */
export async function deleteWildcard(name) {
  await requestJson(getAddress(name), { method: "DELETE" });
}

/**
 * @param {string} model
 * @param {string} subject "" for any
 * @returns {Promise<RandomPrompt>}
 */
export async function drawRandomPrompt(model, subject) {
  return (await postJson(`${API}/prompts/random`, { model, subject })).prompts[0];
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
 * Let the language model write a prompt anew.
 * @param {string} prompt
 * @param {string} model that the prompt is for
 * @param {AbortSignal} signal
 * @returns {Promise<EnhancedPrompt>}
 */
export function rewritePrompt(prompt, model, signal) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ prompt, model, rewrite: true });
  return requestJson(`${API}/prompts/enhance`, { method: "POST", headers, body, signal });
}

/**
 * @param {string} template
 * @param {number} count
 * @returns {Promise<{prompts: string[], combinations: number}>}
 */
export function expandTemplate(template, count) {
  return postJson(`${API}/prompts/expand`, { template, count });
}

/**
 * Whether a prompt asks for another look than the model was made for.
 * @param {string} prompt
 * @param {string} model
 * @returns {Promise<{advice: string, switchTo: string}>}
 */
export function adviseModel(prompt, model) {
  return postJson(`${API}/prompts/advice`, { prompt, model });
}

/** @typedef {{model: string, paid: boolean, captioner: boolean}} Helpers model: "" where there is none */

/** @returns {Promise<Helpers>} who helps with prompts */
export function getHelpers() {
  return requestJson(`${API}/prompts/helpers`);
}

/**
 * @typedef {{name: string, audience: string, tone: string, look: string, palette: string, avoid: string}} Persona
 */

/** @returns {Promise<Persona[]>} */
export async function listPersonas() {
  return (await requestJson(`${API}/personas`)).personas;
}

/**
 * @param {Persona} persona
 * @returns {Promise<Persona>}
 */
export function savePersona({ name, ...fields }) {
  return putJson(`${API}/personas/${encodeURIComponent(name)}`, fields);
}

/** @param {string} name */
export async function deletePersona(name) {
  await requestJson(`${API}/personas/${encodeURIComponent(name)}`, { method: "DELETE" });
}

/**
 * Put a prompt into a persona's style.
 * @param {string} name
 * @param {{prompt: string, negativePrompt: string, model: string}} texts
 * @returns {Promise<{prompt: string, negativePrompt: string, additions: Addition[]}>}
 */
export function applyPersona(name, texts) {
  return postJson(`${API}/personas/${encodeURIComponent(name)}/apply`, texts);
}

/** @typedef {{prompt: string, negativePrompt: string, source: string}} Description */

/**
 * Describe an image.
 * @param {string} image its id
 * @param {"" | "captioner" | "chat"} by who looks at it; "": its own metadata, or what can be measured
 * @param {AbortSignal} signal
 * @returns {Promise<Description>}
 */
export function describeImage(image, by, signal) {
  const headers = { "Content-Type": "application/json" };
  return requestJson(`${API}/prompts/interrogate`, {
    method: "POST",
    headers,
    body: JSON.stringify({ image, by }),
    signal,
  });
}

/**
 * @param {string} address
 * @param {unknown} body
 */
export function putJson(address, body) {
  const headers = { "Content-Type": "application/json" };
  return requestJson(address, { method: "PUT", headers, body: JSON.stringify(body) });
}

/** @param {string} name */
function getAddress(name) {
  return `${API}/wildcards/${name.split("/").map(encodeURIComponent).join("/")}`;
}
