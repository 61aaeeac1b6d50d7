// @ts-check
/** Keeps what is typed into the prompt while the browser's form is on its way back, and would be written over by it. */

import { findBox, typeInto } from "../common/gradio_dom.js";
import { waitUntilRestored } from "./form_memory.js";

const PROMPT = "#prompt";
const LOOK_MS = 20; // ms between two looks at the prompt
const LOOKS = 25; // the page shows what came back within this many looks

/** Start to watch the prompt, until the form is restored and shown, or typed into again. */
export async function keepTypedPrompt() {
  let typed = window.easelTypedPrompt ?? null; // what loader.js saw
  /** @param {Event} event */
  const note = (event) => {
    const box = findBox(PROMPT);
    if (box instanceof HTMLTextAreaElement && event.target === box) typed = box.value;
  };
  document.addEventListener("input", note, true);
  await waitUntilRestored("txt2img");
  document.removeEventListener("input", note, true);
  let isTypedOn = typed === null;
  document.addEventListener("input", () => (isTypedOn = true), { capture: true, once: true });
  for (let look = 0; look < LOOKS && !isTypedOn; look++) {
    const box = findBox(PROMPT);
    if (box instanceof HTMLTextAreaElement && typed !== null && box.value !== typed) typeInto(box, typed);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
