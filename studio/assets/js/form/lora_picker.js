// @ts-check
/** LoRAs as cards, of which a click writes one into the prompt as a tag with its weight. */

import { findAll, make, makeButton } from "../common/dom.js";
import { requestJson } from "../common/requests.js";
import { translate } from "../common/translate.js";

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
const BLOCK = "(?:BASE|(?:IN|OUT|M|DOUBLE|SINGLE|JOINT)\\d\\d)";
const NUMBER = "-?(?:\\d+(?:\\.\\d*)?|\\.\\d+)";
const BLOCK_ENTRY = new RegExp(`^${BLOCK}(?:-${BLOCK})?\\s*[:=]\\s*${NUMBER}$`, "i");
const BLOCK_NUMBER = new RegExp(`^${NUMBER}$`);
const BLOCK_COUNTS = [0, 12, 17, 20, 26]; // of numbers in a list, as studio/core/block_weights.py reads them

/**
 * `prompt` with the tag of a LoRA at `weight`, in the place of one that it has, and with the words that it lacks.
 * @param {string} prompt
 * @param {string} name
 * @param {number} weight
 * @param {string[]} words
 * @param {string} [blocks] weights of single blocks, as `formatBlocks` writes them
 * @returns {string}
 */
export function addLora(prompt, name, weight, words, blocks = "") {
  const tag = `<lora:${name}:${weight}${blocks && `:lbw=${blocks}`}>`;
  const known = prompt.toLowerCase();
  const added = words.filter((word) => !known.includes(word.toLowerCase()));
  const pattern = buildTagPattern(name);
  const tagged = pattern.test(prompt)
    ? prompt.replace(pattern, () => tag)
    : [prompt.trim(), tag].filter(Boolean).join(" ");
  return [tagged, ...added].join(", ");
}

/**
 * The weights of blocks in the tag of a LoRA that `prompt` has, "" without any.
 * @param {string} prompt
 * @param {string} name
 * @returns {string}
 */
export function readBlocks(prompt, name) {
  return /:lbw=([^:]*)/i.exec(buildTagPattern(name).exec(prompt)?.[1] ?? "")?.[1] ?? "";
}

/**
 * Weights of blocks as they stand in a tag: `IN04: 0.5, OUT03-OUT05: 0`, or a list of numbers; null where `text` is
 * neither.
 * @param {string} text
 * @returns {string | null}
 */
export function formatBlocks(text) {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  const known = parts.every((part) => BLOCK_NUMBER.test(part))
    ? BLOCK_COUNTS.includes(parts.length)
    : parts.every((part) => BLOCK_ENTRY.test(part));
  return known ? parts.map((part) => part.replace(/\s*[:=]\s*/, "=")).join(",") : null;
}

/** @param {string} name */
function buildTagPattern(name) {
  return new RegExp(`<lora:${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(:[^<>]*)?>`, "i");
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
  return translate(
    count ? "No LoRA has this name." : "There are no LoRAs yet. Put .safetensors files into models/loras.",
  );
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
    "aria-label": translate("Weight of {name}", { name: lora.title }),
  });
  const blocks = make("input", {
    class: "lora-blocks",
    value: readBlocks(read(), lora.name),
    maxlength: 400,
    placeholder: "Block weights",
    title: "IN04: 0.5, OUT03-OUT05: 0",
    "aria-label": translate("Block weights of {name}", { name: lora.title }),
    oninput: () => blocks.setCustomValidity(""),
  });
  const words = lora.words.slice(0, SHOWN_WORDS).map(renderWord);
  const add = makeButton("Add", (event) => {
    const chosen = findAll(".lora-word input", card).filter((box) => box instanceof HTMLInputElement && box.checked);
    const texts = chosen.map((box) => box.parentElement?.textContent ?? "");
    const weights = formatBlocks(blocks.value);
    if (weights === null) {
      blocks.setCustomValidity(translate("Write entries like IN04: 0.5, OUT03-OUT05: 0, or 12, 17, 20 or 26 numbers."));
      blocks.reportValidity();
      return;
    }
    write(addLora(read(), lora.name, Number(weight.value) || lora.weight, texts, weights));
    add.textContent = translate("Added");
    if (!event.shiftKey) card.closest("dialog")?.close();
  });
  add.setAttribute("aria-label", translate("Add {name}", { name: lora.title }));
  add.title = translate("With Shift held, the cards stay open");
  const facts = lora.fits
    ? lora.name
    : translate("{name} · made for {family}", { name: lora.name, family: lora.family });
  card.append(picture, make("b", {}, lora.title), make("small", {}, facts));
  if (words.length) card.append(make("span", { class: "lora-words" }, ...words));
  card.append(blocks, make("span", { class: "lora-add" }, weight, add));
  return card;
}

/** @param {string} word */
function renderWord(word) {
  return make("label", { class: "lora-word" }, make("input", { type: "checkbox" }), word);
}
