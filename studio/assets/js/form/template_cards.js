// @ts-check
/** Prompt templates: a click on a card writes its name into the hidden field. */

import { find, findAll, getTarget, setPressed } from "../common/dom.js";
import { findBox, openAccordion, typeInto, typeWhenBuilt } from "../common/gradio_dom.js";
import { openTab } from "../common/open_tab.js";

const CARD = "[data-template]";
const CHOSEN_FIELD = "#template-chosen";

/**
 * Open the templates of Txt2Img, and choose one.
 * @param {string} id
 */
export async function chooseTemplate(id) {
  openTab("txt2img");
  openAccordion("templates");
  await typeWhenBuilt(CHOSEN_FIELD, id);
  find("#templates")?.scrollIntoView({ block: "start" });
}

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
