// @ts-check
/** Requests to the studio, and its errors as it reports them. */

import { translate } from "./translate.js";

/** An error that the user is meant to read: its title, what happened, and what to do next. */
export class StudioError extends Error {
  /**
   * @param {string} title
   * @param {string} message
   * @param {string} [hint]
   * @param {string} [code]
   */
  constructor(title, message, hint = "", code = "") {
    super(message);
    this.title = title;
    this.hint = hint;
    this.code = code;
  }
}

/**
 * Get the title of an error by its code, as studio/core/errors.py has it.
 * @param {unknown} code
 * @returns {string}
 */
export function getErrorTitle(code) {
  return window.easelSettings.errorTitles[String(code)] ?? "Error";
}

/**
 * Send a request and read the JSON of its answer.
 * @param {string} address relative to the page
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 * @throws {StudioError} the studio cannot be reached, or answers with an error
 */
export async function requestJson(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new StudioError(
      getErrorTitle("UNREACHABLE"),
      translate("The studio does not respond."),
      translate("Check that it is running, then try again."),
    );
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const said = body.error || translate("The request failed with status {status}.", { status: answer.status });
  const [title, message, hint] = await translateMessages([getErrorTitle(body.code), said, body.details?.hint || ""]);
  throw new StudioError(title, message, hint, body.code);
}

/**
 * Get what the studio says in the language of the visitor: its answers are English for every program. Where that fails
 * it stays so.
 * @param {string[]} texts
 * @returns {Promise<string[]>}
 */
async function translateMessages(texts) {
  if (!globalThis.easelTexts) return texts;
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await fetch("page/texts", { method: "POST", headers, body: JSON.stringify({ texts }) });
    return answer.ok ? (await answer.json()).texts : texts;
  } catch {
    return texts;
  }
}

/**
 * Post JSON and read the JSON of the answer; raises as `requestJson`.
 * @param {string} address
 * @param {unknown} body
 * @returns {Promise<any>}
 */
export function postJson(address, body) {
  const headers = { "Content-Type": "application/json" };
  return requestJson(address, { method: "POST", headers, body: JSON.stringify(body) });
}
