// @ts-check
/** Changes of a recipe as lines of text: a field's name, a colon and its value. */

import { StudioError } from "../common/requests.js";
import { translate } from "../common/translate.js";

/**
 * Read changes. A value is read as JSON where it is some, so that numbers, lists and parts can be given, else as text;
 * no value takes a field back to its default. `hires.scale: 2` changes a part of a field.
 * @param {string} text
 * @returns {Record<string, unknown>}
 * @throws {StudioError} a line is none
 */
export function readChanges(text) {
  /** @type {Record<string, unknown>} */
  const changes = {};
  text.split("\n").forEach((line, index) => {
    if (!line.trim()) return;
    const [, name, value] = /^\s*([a-z][a-z0-9_.]*)\s*:\s*(.*?)\s*$/i.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      throw new StudioError(
        translate("Invalid change"),
        translate("Line {number} is no change.", { number: index + 1 }),
        translate("Write it as “steps: 30”."),
      );
    }
    writePath(changes, name.split("."), readValue(value));
  });
  return changes;
}

/**
 * @param {string} text
 * @returns {unknown}
 */
function readValue(text) {
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * @param {Record<string, any>} target
 * @param {string[]} path
 * @param {unknown} value
 */
function writePath(target, [name = "", ...rest], value) {
  if (!rest.length) target[name] = value;
  else {
    target[name] = typeof target[name] === "object" && target[name] ? target[name] : {};
    writePath(target[name], rest, value);
  }
}
