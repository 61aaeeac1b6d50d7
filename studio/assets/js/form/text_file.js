// @ts-check
/** Reads a text file that the user chooses, such as a list of prompts. */

import { make } from "../common/dom.js";

const MAX_BYTES = 1_000_000;

/**
 * @param {string} now what is kept when no file is chosen
 * @returns {Promise<string>} the text of the file, up to `MAX_BYTES` of it
 */
export function openTextFile(now) {
  const chooser = make("input", { type: "file", accept: ".txt,text/plain" });
  return new Promise((resolve) => {
    chooser.addEventListener("cancel", () => resolve(now));
    chooser.addEventListener("change", async () => {
      const [file] = chooser.files ?? [];
      resolve(file ? await file.slice(0, MAX_BYTES).text() : now);
    });
    chooser.click();
  });
}
