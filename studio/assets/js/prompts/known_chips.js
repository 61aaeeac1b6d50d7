// @ts-check
/** What was understood of a brief, as chips that can be changed, taken away and added to. */

import { make, makeButton } from "../common/dom.js";
import { listKnownValues, listWordFields, removeValue, WORD_LABELS, writeValue } from "./brief_corrections.js";
import { listTerritoryNames } from "./territory_names.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./brief_api.js").Classification} Classification */
/** @typedef {import("./brief_corrections.js").Corrections} Corrections */
/** @typedef {import("./brief_corrections.js").KnownValue} KnownValue */
/** @typedef {import("./brief_corrections.js").WordField} WordField */

const NAMES = "territory-names"; // id of the list that territories are completed from

export class KnownChips {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Corrections} */
    this.said = {};
    /** @type {Classification | null} */
    this.known = null;
    this.root = make("div", { class: "prompt-chips", role: "group", "aria-label": "What was understood" });
  }

  /** Forget what was understood and corrected: the brief is another one. */
  clear() {
    this.said = {};
    this.known = null;
    this.root.replaceChildren();
  }

  /** @param {Classification} known */
  show(known) {
    // What was corrected is understood as the user says; the corrections go on being sent.
    this.known = known;
    this.draw();
  }

  draw() {
    const { known, said } = this;
    if (!known) return;
    const values = listKnownValues(known, said);
    const chips = values.map((value) => this.makeChip(value));
    this.root.replaceChildren(...chips, ...this.makeAdders(values));
  }

  /** @param {Corrections} said */
  correct(said) {
    this.said = said;
    this.draw();
    this.onChange();
  }

  /** @param {KnownValue} value */
  makeChip(value) {
    const { field, text, because } = value;
    const label = because && because !== text.toLowerCase() ? `${text} (“${because}”)` : text;
    const change = () => {
      if (field === "people") this.correct({ ...this.said, people: value.value !== "true" });
      else this.edit(chip, field, value.value);
    };
    const chip = make(
      "span",
      { class: "chip" },
      makeButton(label, change, { title: "Change" }),
      makeButton("×", () => this.known && this.correct(removeValue(this.known, this.said, value)), {
        "aria-label": translate("Remove “{text}”", { text }),
      }),
    );
    return chip;
  }

  /**
   * Buttons for what is not known yet.
   * @param {KnownValue[]} values
   */
  makeAdders(values) {
    const has = (/** @type {string} */ field) => values.some((value) => value.field === field);
    /** @type {["territories" | WordField, string][]} */
    const missing = [
      ["territories", "Territory"],
      ...listWordFields()
        .filter((field) => !has(field))
        .map((field) => /** @type {[WordField, string]} */ ([field, WORD_LABELS[field]])),
    ];
    const adders = missing.map(([field, label]) => {
      const button = makeButton(`+ ${label}`, () => this.edit(button, field, ""), { class: "mini adder" });
      return button;
    });
    if (has("people")) return adders;
    const people = makeButton("+ People", () => this.correct({ ...this.said, people: true }), { class: "mini adder" });
    return [...adders, people];
  }

  /**
   * Put a field in the place of a chip; Enter or leaving it keeps what is written.
   * @param {HTMLElement} place
   * @param {"territories" | WordField} field
   * @param {string} before
   */
  edit(place, field, before) {
    const label = field === "territories" ? "Territory" : WORD_LABELS[field];
    const box = make("input", { type: "text", maxlength: 100, value: before, "aria-label": label, placeholder: label });
    if (field === "territories") box.setAttribute("list", provideTerritories());
    let done = false;
    const finish = (/** @type {boolean} */ keep) => {
      if (done || !this.known) return;
      done = true;
      const text = box.value.trim();
      if (keep && text !== before) this.correct(writeValue(this.known, this.said, field, text, before));
      else this.draw();
    };
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(true);
      else if (event.key === "Escape") finish(false);
    });
    box.addEventListener("blur", () => finish(true));
    place.replaceWith(box);
    box.focus();
  }
}

/** The id of the page's list of territories, which is made at first use. */
function provideTerritories() {
  if (!document.getElementById(NAMES)) {
    const options = listTerritoryNames().map((name) => make("option", { value: name }));
    document.body.append(make("datalist", { id: NAMES }, ...options));
  }
  return NAMES;
}
