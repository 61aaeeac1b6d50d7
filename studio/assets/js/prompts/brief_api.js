// @ts-check
/** Asking the studio for the prompts of a brief, whose answer comes as events. */

import { getErrorTitle, StudioError } from "../common/requests.js";
import { translate } from "../common/translate.js";

const API = "api/image-studio";

/** @typedef {{name: string, prompt: string, negativePrompt: string}} NamedPrompt */
/** @typedef {{because: string, text: string, reference: string, source: string, weight: string}} Caution */
/**
 * @typedef {object} Classification
 * @property {string[]} territories
 * @property {string[]} regions
 * @property {string} audience
 * @property {string} era
 * @property {string} occasion
 * @property {string} setting
 * @property {boolean} people
 * @property {Caution[]} cautions
 * @property {string[]} questions
 * @property {Record<string, string>} because
 */
/**
 * @typedef {object} Brief
 * @property {string} text
 * @property {string} category
 * @property {Record<string, string>} filters
 * @property {string} persona
 * @property {number} count
 * @property {import("./brief_corrections.js").Corrections} corrections
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
 * @param {Brief} brief
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
  if (name !== "error") return onEvent(name, read);
  if (!read.details?.prompts) throw makeError(read);
  onEvent("done", { ...read.details, source: "rules", notes: [read.error] }); // what the rules had by then
}

/** @param {any} body */
function makeError(body) {
  const message = body.error || translate("The brief could not be read.");
  return new StudioError(getErrorTitle(body.code), message, body.details?.hint || "", body.code);
}
