// @ts-check
/** Prompt templates: a click on a card writes its name into the hidden field. */

import { findAll, getTarget, setPressed } from "../common/dom.js";
import { findBox, typeInto } from "../common/gradio_dom.js";

const CARD = "[data-template]";
const CHOSEN_FIELD = "#template-chosen";

/** Let clicks on cards choose a template. */
export function startTemplateCards() {
  document.addEventListener("click", (event) => {
    const card = getTarget(event)?.closest(CARD);
    const box = findBox(CHOSEN_FIELD);
    if (!(card instanceof HTMLElement) || !box) return;
    for (const other of findAll(CARD)) setPressed(other, other === card);
    typeInto(box, card.dataset.template ?? "");
  });
}
