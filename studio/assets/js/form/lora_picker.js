// @ts-check
/** LoRAs as cards, of which a click writes one into the prompt as a tag with its weight. */

import { findAll, make, makeButton } from "../common/dom.js";
import { requestJson } from "../common/requests.js";

/**
 * @typedef {object} Lora
 * @property {string} name
 * @property {string} title
 * @property {string[]} words that it answers to
 * @property {number} weight to begin with
 * @property {string} family
 * @property {boolean} fits the chosen model, as far as is known
 * @property {boolean} preview whether there is one
 */

const SHOWN_WORDS = 6;

/**
 * `prompt` with the tag of a LoRA at `weight`, in the place of one that it has, and with the words that it lacks.
 * @param {string} prompt
 * @param {string} name
 * @param {number} weight
 * @param {string[]} words
 * @returns {string}
 */
export function addLora(prompt, name, weight, words) {
  const tag = `<lora:${name}:${weight}>`;
  const known = prompt.toLowerCase();
  const added = words.filter((word) => !known.includes(word.toLowerCase()));
  const pattern = new RegExp(`<lora:${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(:[^<>]*)?>`, "i");
  const tagged = pattern.test(prompt)
    ? prompt.replace(pattern, () => tag)
    : [prompt.trim(), tag].filter(Boolean).join(" ");
  return [tagged, ...added].join(", ");
}

/**
 * Open the cards; `write` is called with each prompt that comes of a click.
 * @param {string} model the chosen one
 * @param {() => string} read the prompt as it is
 * @param {(prompt: string) => void} write
 */
export async function openLoraPicker(model, read, write) {
  const loras = await requestJson(`page/loras?model=${encodeURIComponent(model)}`);
  const search = make("input", { type: "search", placeholder: "Search LoRAs", "aria-label": "Search LoRAs" });
  const none = make("p", { class: "note", role: "status" }, "");
  const cards = make("div", { class: "lora-cards" });
  const dialog = make("dialog", { class: "picker lora-picker", "aria-label": "LoRAs" });
  const close = makeButton("×", () => dialog.close(), { "aria-label": "Close", class: "mini picker-close" });
  cards.append(...loras.map((/** @type {Lora} */ lora) => renderCard(lora, () => read(), write)));
  const filter = () => {
    none.textContent = filterCards(cards, search.value) ? "" : describeNothing(loras.length);
  };
  search.addEventListener("input", filter);
  dialog.append(
    make("div", { class: "picker-head" }, search, close),
    make("div", { class: "picker-list" }, cards, none),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  filter();
  dialog.showModal();
  search.focus();
}

/** @param {number} count */
function describeNothing(count) {
  return count ? "No LoRA has this name." : "There are no LoRAs yet. Put .safetensors files into models/loras.";
}

/**
 * @param {HTMLElement} cards
 * @param {string} query
 * @returns {boolean} whether any is shown
 */
function filterCards(cards, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of findAll(".lora-card", cards)) {
    const text = (card.dataset.text ?? "").toLowerCase();
    card.hidden = !words.every((word) => text.includes(word));
    shown += card.hidden ? 0 : 1;
  }
  return shown > 0;
}

/**
 * @param {Lora} lora
 * @param {() => string} read
 * @param {(prompt: string) => void} write
 */
function renderCard(lora, read, write) {
  const card = make("article", { class: "lora-card", "data-text": [lora.name, lora.title, ...lora.words].join(" ") });
  const picture = lora.preview
    ? make("img", { src: `page/loras/preview?name=${encodeURIComponent(lora.name)}`, alt: "", loading: "lazy" })
    : make("span", { class: "lora-blank", "aria-hidden": "true" }, lora.title.slice(0, 1).toUpperCase());
  const weight = make("input", {
    type: "number",
    value: lora.weight,
    min: -2,
    max: 2,
    step: 0.05,
    "aria-label": `Weight of ${lora.title}`,
  });
  const words = lora.words.slice(0, SHOWN_WORDS).map(renderWord);
  const add = makeButton("Add", (event) => {
    const chosen = findAll(".lora-word input", card).filter((box) => box instanceof HTMLInputElement && box.checked);
    const texts = chosen.map((box) => box.parentElement?.textContent ?? "");
    write(addLora(read(), lora.name, Number(weight.value) || lora.weight, texts));
    add.textContent = "Added";
    if (!event.shiftKey) card.closest("dialog")?.close();
  });
  add.setAttribute("aria-label", `Add ${lora.title}`);
  add.title = "With Shift held, the cards stay open";
  const facts = lora.fits ? lora.name : `${lora.name} · made for ${lora.family}`;
  card.append(picture, make("b", {}, lora.title), make("small", {}, facts));
  if (words.length) card.append(make("span", { class: "lora-words" }, ...words));
  card.append(make("span", { class: "lora-add" }, weight, add));
  return card;
}

/** @param {string} word */
function renderWord(word) {
  return make("label", { class: "lora-word" }, make("input", { type: "checkbox" }), word);
}
