// @ts-check
/** The keys of the paint editor. */

/**
 * @typedef {object} PressedKey
 * @property {string} key
 * @property {boolean} ctrlKey
 * @property {boolean} metaKey
 * @property {boolean} shiftKey
 * @property {boolean} altKey
 */

/** @type {Record<string, string>} */
const COMMANDS = {
  b: "brush",
  e: "eraser",
  h: "hand",
  "[": "smaller",
  "]": "larger",
  "+": "zoomIn",
  "=": "zoomIn",
  "-": "zoomOut",
  0: "fit",
  " ": "paint",
  escape: "close",
  arrowleft: "left",
  arrowright: "right",
  arrowup: "up",
  arrowdown: "down",
};

/**
 * The command that a key stands for, "" for none.
 * @param {PressedKey} pressed
 * @returns {string}
 */
export function readPaintKey(pressed) {
  const key = pressed.key.toLowerCase();
  if (pressed.ctrlKey || pressed.metaKey) {
    if (key === "z") return pressed.shiftKey ? "redo" : "undo";
    return key === "y" ? "redo" : "";
  }
  return pressed.altKey ? "" : (COMMANDS[key] ?? "");
}
