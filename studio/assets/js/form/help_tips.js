// @ts-check
/**
 * Help texts as tooltips: on a wide page the styles hide those of the common fields, whose labels say it all, and they
 * are shown over their labels instead.
 */

import { getTarget } from "../common/dom.js";
import { findHelp } from "../common/gradio_dom.js";

/** Give each label its help as a title when the pointer first comes over it. */
export function startHelpTips() {
  document.addEventListener("pointerover", (event) => {
    const { label, text } = findHelp(getTarget(event));
    if (label && text && !label.title) label.title = text;
  });
}
