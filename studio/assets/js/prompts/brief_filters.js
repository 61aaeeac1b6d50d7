// @ts-check
/** Filters of a brief: names with a value each, as many rows as are wanted. */

import { make, makeButton } from "../common/dom.js";
import { translate } from "../common/translate.js";

const USUAL = ["Style", "Medium", "Mood", "Colours", "Season", "Time of day", "Place", "Platform"];
const NAMES = "filter-names";
const MOST = 20; // filters that a brief may have

export class BriefFilters {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.rows = make("div", { class: "brief-filters" });
    this.rows.addEventListener("input", onChange);
    this.onChange = onChange;
    this.add = makeButton("+ Filter", () => this.addRow());
    const names = make("datalist", { id: NAMES }, ...USUAL.map((name) => make("option", { value: name })));
    this.root = make("div", { class: "brief-filters", role: "group", "aria-label": "Filters" });
    this.root.append(this.rows, this.add, names);
  }

  /** @returns {Record<string, string>} the filters that have name and value */
  get values() {
    const pairs = [...this.rows.children].map((row) =>
      [...row.querySelectorAll("input")].map((box) => box.value.trim()),
    );
    return Object.fromEntries(pairs.filter(([name, value]) => name && value));
  }

  addRow() {
    const name = make("input", { type: "text", maxlength: 60, list: NAMES, "aria-label": "Filter name" });
    const value = make("input", { type: "text", maxlength: 100, "aria-label": "Filter value" });
    name.placeholder = translate("Mood");
    value.placeholder = translate("calm");
    const row = make("div", { class: "brief-filter" }, name, value);
    const remove = () => {
      row.remove();
      this.add.disabled = false;
      this.onChange();
    };
    row.append(makeButton("×", remove, { "aria-label": "Remove filter" }));
    this.rows.append(row);
    this.add.disabled = this.rows.children.length >= MOST;
    name.focus();
  }
}
