// @ts-check
/** Requests to the studio, and its errors as it reports them. */

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
      "The studio does not respond.",
      "Check that it is running, then try again.",
    );
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const message = body.error || `The request failed with status ${answer.status}.`;
  throw new StudioError(getErrorTitle(body.code), message, body.details?.hint || "", body.code);
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
