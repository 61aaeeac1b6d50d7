// @ts-check
/** Prompt templates: a click on a card writes its name into the hidden field. */

import { find, findAll, getTarget, setPressed } from "../common/dom.js";
import { TEXT_BOX, typeInto } from "../common/gradio_dom.js";

const CARD = "[data-template]";
const CHOSEN_FIELD = "#template-chosen";

/** Let clicks on cards choose a template. */
export function startTemplateCards() {
  document.addEventListener("click", (event) => {
    const card = getTarget(event)?.closest(CARD);
    const field = find(CHOSEN_FIELD);
    const box = field && find(TEXT_BOX, field);
    if (!(card instanceof HTMLElement) || !box) return;
    for (const other of findAll(CARD)) setPressed(other, other === card);
    typeInto(box, card.dataset.template ?? "");
  });
}
