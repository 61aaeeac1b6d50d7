// @ts-check
/** On a phone the result is below the form: bring it into view when its job starts. */

import { find, getTarget } from "../common/dom.js";

const NARROW = "(max-width: 760px)";
const CALM = "(prefers-reduced-motion: reduce)";

/** Start listening. */
export function startResultScroll() {
  document.addEventListener("click", (event) => {
    const view = getTarget(event)?.closest("button.generate, .chip[data-prompt]")?.closest(".easel");
    const result = view && matchMedia(NARROW).matches ? find(".view-result", view) : null;
    result?.scrollIntoView({ block: "start", behavior: matchMedia(CALM).matches ? "auto" : "smooth" });
  });
}
