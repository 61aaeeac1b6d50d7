// @ts-check
/** What the page asks of the studio's prompts and wildcards. */

import { getErrorTitle, postJson, requestJson, StudioError } from "../common/requests.js";

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

/** @param {string} name */
function getAddress(name) {
  return `${API}/wildcards/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** @typedef {{name: string, prompt: string, negativePrompt: string}} NamedPrompt */
/** @typedef {{because: string, text: string, source: string, weight: string}} Caution */
/**
 * @typedef {object} Classification
 * @property {string[]} territories
 * @property {string[]} regions
 * @property {string} era
 * @property {string} occasion
 * @property {string} setting
 * @property {boolean} people
 * @property {Caution[]} cautions
 * @property {string[]} questions
 * @property {Record<string, string>} because
 */
/**
 * @typedef {object} BriefAnswer
 * @property {NamedPrompt[]} prompts
 * @property {Record<string, unknown>} config
 * @property {Classification} classification
 * @property {string} source
 * @property {string[]} notes
 */

/**
 * Ask for the prompts of a brief.
 * @param {{text: string, category: string, count: number}} brief
 * @param {AbortSignal} signal
 * @param {(name: string, data: any) => void} onEvent
 * @throws {StudioError} the studio reports an error
 */
export async function streamBrief(brief, signal, onEvent) {
  const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
  const options = { method: "POST", headers, body: JSON.stringify(brief), signal };
  const answer = await fetch(`${API}/analyze-context`, options);
  if (!answer.ok || !answer.body) throw makeError(await answer.json().catch(() => ({})));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) readEvent(block, onEvent);
  }
}

/**
 * @param {string} block
 * @param {(name: string, data: any) => void} onEvent
 */
function readEvent(block, onEvent) {
  const name = /^event: (.*)$/m.exec(block)?.[1];
  const data = /^data: (.*)$/m.exec(block)?.[1];
  if (!name || !data) return;
  const read = JSON.parse(data);
  if (name === "error") throw makeError(read);
  onEvent(name, read);
}

/** @param {any} body */
function makeError(body) {
  const message = body.error || "The brief could not be read.";
  return new StudioError(getErrorTitle(body.code), message, body.details?.hint || "", body.code);
}
