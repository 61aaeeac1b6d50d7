// @ts-check
/** Writing prompts into the form of Txt2Img from another tab. */

import { findBox, typeInto } from "../common/gradio_dom.js";
import { openTab } from "../common/open_tab.js";
import { StudioError } from "../common/requests.js";
import { translate } from "../common/translate.js";

const PROMPT = "#prompt";
const NEGATIVE = "#negative-prompt";
const WAIT_MS = 20_000; // for a form that has not been opened yet
const POLL_MS = 100;

/**
 * Open Txt2Img and write the prompts into its form.
 * @param {string} prompt
 * @param {string} negative "" leaves what is there
 * @throws {StudioError} the form did not open
 */
export async function writeIntoForm(prompt, negative) {
  openTab("txt2img");
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const box = findBox(PROMPT);
    if (box?.offsetParent && window.easel.restored) {
      typeInto(box, prompt);
      const other = findBox(NEGATIVE);
      if (negative && other) typeInto(other, negative);
      box.focus();
      return;
    }
    if (performance.now() > end) {
      throw new StudioError(translate("Not opened"), translate("Txt2Img did not open."), translate("Reload the page."));
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
