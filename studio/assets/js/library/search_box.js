// @ts-check
/** The search box: completion while one types, and a chip for every filter of the query. */

import { find, make, makeButton, setPressed } from "../common/dom.js";
import { completeQuery } from "./library_api.js";
import { describeTerm, parseTerms, removeTerm } from "./query_terms.js";

/** @typedef {import("./library_api.js").Completion} Completion */

const SEARCH_DELAY_MS = 300; // of quiet
const COMPLETE_DELAY_MS = 80;
const LIST_ID = "lib-completions";

export class SearchBox {
  /** @param {(query: string) => void} onSearch */
  constructor(onSearch) {
    this.onSearch = onSearch;
    this.searchTimer = 0;
    this.completeTimer = 0;
    this.round = 0;
    /** @type {{from: number, to: number, options: Completion[]}} */
    this.found = { from: 0, to: 0, options: [] };
    this.active = -1;
    this.box = make("input", {
      type: "search",
      class: "lib-search",
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 2000,
      placeholder: "Search: castle -night model:sdxl is:favourite …",
      "aria-label": "Search the library",
      "aria-controls": LIST_ID,
      "aria-expanded": "false",
      "aria-autocomplete": "list",
    });
    this.list = make("ul", {
      id: LIST_ID,
      class: "lib-options",
      role: "listbox",
      "aria-label": "Completions",
      hidden: true,
    });
    this.chips = make("div", { class: "lib-chips", role: "group", "aria-label": "Filters of the search" });
    this.root = make("div", { class: "lib-search-frame" }, this.box, this.list, this.chips);
    this.box.addEventListener("input", () => this.handleInput());
    this.box.addEventListener("keydown", (event) => this.handleKey(event));
    this.box.addEventListener("blur", () => this.closeList());
  }

  /** @returns {string} */
  get query() {
    return this.box.value.trim();
  }

  /**
   * Put a query into the box and search.
   * @param {string} query
   */
  setQuery(query) {
    this.box.value = query;
    this.search();
  }

  search() {
    clearTimeout(this.searchTimer);
    this.showChips();
    this.onSearch(this.query);
  }

  /** @param {boolean} isInvalid whether the studio cannot read the query */
  setInvalid(isInvalid) {
    this.box.setAttribute("aria-invalid", String(isInvalid));
  }

  showChips() {
    const chips = parseTerms(this.query).flatMap((term, index) => {
      if (!term.key && !term.isExcluded) return [];
      const text = describeTerm(term);
      const remove = () => {
        this.setQuery(removeTerm(this.query, index));
        this.box.focus();
      };
      return [makeButton(`${text} ×`, remove, { class: "mini lib-chip", "aria-label": `Remove the filter ${text}` })];
    });
    this.chips.replaceChildren(...chips);
    this.chips.hidden = !chips.length;
  }

  handleInput() {
    clearTimeout(this.searchTimer);
    clearTimeout(this.completeTimer);
    this.searchTimer = window.setTimeout(() => this.search(), SEARCH_DELAY_MS);
    this.completeTimer = window.setTimeout(() => this.complete(), COMPLETE_DELAY_MS);
  }

  async complete() {
    const round = ++this.round;
    const text = this.box.value;
    if (!text.trim()) {
      this.closeList();
      return;
    }
    try {
      const found = await completeQuery(text, this.box.selectionStart ?? text.length);
      if (round === this.round && text === this.box.value && document.activeElement === this.box) {
        this.showOptions(found);
      }
    } catch {
      this.closeList(); // the search itself reports what is wrong
    }
  }

  /** @param {{from: number, to: number, options: Completion[]}} found */
  showOptions(found) {
    this.found = found;
    this.active = -1;
    const rows = found.options.map((option, index) => {
      const choose = (/** @type {Event} */ event) => {
        event.preventDefault(); // else the box would lose the focus
        this.choose(index);
      };
      const count = option.count === undefined ? "" : String(option.count);
      const attributes = { id: `${LIST_ID}-${index}`, role: "option", "aria-selected": "false", onpointerdown: choose };
      return make("li", attributes, make("span", {}, option.label), make("small", {}, count));
    });
    this.list.replaceChildren(...rows);
    this.list.hidden = !rows.length;
    this.box.setAttribute("aria-expanded", String(rows.length > 0));
    this.box.removeAttribute("aria-activedescendant");
  }

  closeList() {
    this.round += 1;
    clearTimeout(this.completeTimer);
    this.showOptions({ from: 0, to: 0, options: [] });
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    const isOpen = !this.list.hidden;
    if (event.key === "Escape") {
      event.stopPropagation();
      if (isOpen) event.preventDefault(); // else the browser would empty the box
      this.closeList();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (isOpen && this.active >= 0) this.choose(this.active);
      else {
        this.search();
        this.closeList();
      }
    } else if (isOpen && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      this.activate(this.active + (event.key === "ArrowDown" ? 1 : -1));
    }
  }

  /** @param {number} index */
  activate(index) {
    const { length } = this.found.options;
    this.active = (index + length) % length;
    for (const row of this.list.children) row.setAttribute("aria-selected", "false");
    const row = find(`#${LIST_ID}-${this.active}`, this.list);
    row?.setAttribute("aria-selected", "true");
    row?.scrollIntoView({ block: "nearest" });
    this.box.setAttribute("aria-activedescendant", `${LIST_ID}-${this.active}`);
  }

  /** @param {number} index */
  choose(index) {
    const { from, to, options } = this.found;
    const { text } = options[index];
    const isOpenEnded = text.endsWith(":");
    const before = this.box.value.slice(0, from) + text + (isOpenEnded ? "" : " ");
    this.box.value = before + this.box.value.slice(to).trimStart();
    this.box.setSelectionRange(before.length, before.length);
    this.closeList();
    if (isOpenEnded) this.handleInput();
    else this.search();
  }
}

/**
 * A button that switches something of the query.
 * @param {string} text
 * @param {boolean} isOn
 * @param {() => void} onClick
 * @param {Record<string, string>} [attributes]
 * @returns {HTMLButtonElement}
 */
export function makeSwitch(text, isOn, onClick, attributes = {}) {
  const button = makeButton(text, onClick, attributes);
  setPressed(button, isOn);
  return button;
}
