// @ts-check
/** Changes of a prompt's text that need no page: taking an added phrase back, and completing a wildcard's name. */

const OPEN_NAME = /(?:^|[^\p{L}\p{N}_])__([@~]?)([\p{L}\p{N}][\p{L}\p{N}_\-/]*)?$/u;

/**
 * The prompt without a phrase that was added to it, and without the comma or sentence that it leaves behind.
 * @param {string} prompt
 * @param {string} phrase
 * @returns {string} `prompt` itself where the phrase is not in it any more
 */
export function removePhrase(prompt, phrase) {
  const at = prompt.toLowerCase().lastIndexOf(phrase.toLowerCase());
  if (at < 0) return prompt;
  let before = prompt.slice(0, at);
  let after = prompt.slice(at + phrase.length);
  const startsSentence = !before || /[.!?…]\s*$/.test(before);
  if (/^,\s*/.test(after) && (startsSentence || !/,\s*$/.test(before))) {
    after = after.replace(/^,\s*/, "");
    if (startsSentence && before) after = after.charAt(0).toUpperCase() + after.slice(1);
  } else {
    before = before.replace(/,?\s*$/, "");
    if (startsSentence) after = after.replace(/^\s*\./, "");
  }
  return before + after;
}

/**
 * The beginning of a wildcard's name before the caret, null where none is being typed.
 * @param {string} text
 * @param {number} caret
 * @returns {{start: number, typed: string} | null} `start` is where the name begins, behind the underscores
 */
export function findOpenWildcard(text, caret) {
  const found = OPEN_NAME.exec(text.slice(0, caret));
  if (!found) return null;
  const typed = found[2] ?? "";
  if (typed.endsWith("__") || isClosing(text.slice(0, caret - typed.length))) return null;
  return { start: caret - typed.length, typed };
}

/**
 * The text with the name completed, and where the caret goes.
 * @param {string} text
 * @param {{start: number, typed: string}} open
 * @param {string} name
 * @returns {{text: string, caret: number}}
 */
export function completeWildcard(text, open, name) {
  const end = open.start + open.typed.length;
  const rest = text.slice(end).replace(/^__/, "");
  const before = `${text.slice(0, open.start)}${name}__`;
  return { text: before + rest, caret: before.length };
}

/**
 * The names that fit what was typed: those that begin with it first, then those that hold it.
 * @param {string[]} names
 * @param {string} typed
 * @param {number} most
 * @returns {string[]}
 */
export function matchNames(names, typed, most) {
  const wanted = typed.toLowerCase();
  const begin = names.filter((name) => name.startsWith(wanted));
  const hold = names.filter((name) => !name.startsWith(wanted) && name.includes(wanted));
  return [...begin, ...hold].slice(0, most);
}

/**
 * Whether the underscores at the end of `before` close a wildcard instead of opening one.
 * @param {string} before
 */
function isClosing(before) {
  return (before.match(/__/g) ?? []).length % 2 === 0;
}
