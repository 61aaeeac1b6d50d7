// @ts-check
/** Prompts of a brief as cards to tick, edit and take into the form. */

import { make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { writeIntoForm } from "./form_prompt.js";

/** @typedef {import("./brief_api.js").NamedPrompt} NamedPrompt */

/**
 * @param {NamedPrompt} prompt
 * @returns {HTMLElement}
 */
export function makeCard(prompt) {
  const tick = make("input", { type: "checkbox", checked: true });
  const take = makeButton("Use in Txt2Img", () => {
    const now = readCard(card);
    void writeIntoForm(now.prompt, now.negative).catch(showError);
  });
  const card = make(
    "div",
    { class: "brief-card" },
    make("label", {}, tick, ` ${prompt.name}`),
    make("textarea", { rows: 4, "aria-label": "Prompt" }, prompt.prompt),
    make("textarea", { rows: 2, "aria-label": "Negative prompt" }, prompt.negativePrompt),
    take,
  );
  return card;
}

/**
 * @param {Element} card
 * @returns {{ticked: boolean, prompt: string, negative: string}}
 */
export function readCard(card) {
  const [prompt, negative] = [...card.querySelectorAll("textarea")].map((box) => box.value.trim());
  return { ticked: card.querySelector("input")?.checked ?? false, prompt: prompt ?? "", negative: negative ?? "" };
}
