// @ts-check
/** Wildcards, ours to read and the user's own to write, and a field to try a dynamic prompt. */

import { askToConfirm } from "../common/ask_dialog.js";
import { make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { deleteWildcard, expandTemplate, getWildcard, listWildcards, saveWildcard } from "./prompts_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./prompts_api.js").WildcardName} WildcardName */

const TRIED = 6; // prompts that a try shows

export class WildcardEditor {
  constructor() {
    /** @type {WildcardName[]} */
    this.wildcards = [];
    this.filter = make("input", { type: "search", placeholder: "Filter", "aria-label": "Filter wildcards" });
    this.filter.addEventListener("input", () => this.showList());
    this.list = make("ul", { class: "wildcard-list" });
    this.name = make("input", { type: "text", maxlength: 120, placeholder: "pets/small", "aria-label": "Name" });
    this.text = make("textarea", { rows: 14, spellcheck: false, "aria-label": "Values, one per line" });
    this.save = makeButton("Save", () => void this.keep());
    this.remove = makeButton("Delete", () => void this.drop());
    this.state = make("span", { class: "note", role: "status" });
    this.template = make("textarea", { rows: 2, "aria-label": "Dynamic prompt to try" });
    this.template.placeholder = "a {red|green} __animal__";
    this.tried = make("ul", { class: "tried", "aria-live": "polite" });
    const fresh = makeButton("New wildcard", () => this.edit("", "", true));
    const side = make("div", { class: "wildcard-side" }, this.filter, fresh, this.list);
    const buttons = make("div", { class: "wildcard-buttons" }, this.save, this.remove, this.state);
    const tryIt = makeButton("Draw", () => void this.draw());
    const help = make(
      "p",
      { class: "hint" },
      translate("One value per line; 3::value weighs three times, # begins a comment."),
    );
    const parts = make(
      "div",
      { class: "wildcard-editor" },
      side,
      make("div", { class: "wildcard-main" }, this.name, this.text, help, buttons, this.template, tryIt, this.tried),
    );
    this.root = make(
      "section",
      { class: "wildcards", "aria-label": "Wildcards" },
      make("h3", {}, translate("Wildcards")),
      parts,
    );
    this.edit("", "", true);
  }

  async start() {
    await this.guard(async () => {
      this.wildcards = await listWildcards();
      this.showList();
    });
  }

  /** @param {() => Promise<void>} act */
  async guard(act) {
    try {
      await act();
    } catch (error) {
      showError(error);
    }
  }

  showList() {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.wildcards.filter((each) => each.name.includes(wanted));
    this.list.replaceChildren(
      ...shown.map((each) => {
        const label = each.own ? `${each.name} (own)` : each.name;
        return make(
          "li",
          {},
          makeButton(label, () => void this.open(each.name)),
        );
      }),
    );
  }

  /** @param {string} name */
  async open(name) {
    await this.guard(async () => {
      const found = await getWildcard(name);
      this.edit(found.name, found.text, found.own);
      this.state.textContent = translate(
        found.own ? "{count} values" : "{count} values, included; saving makes your own copy",
        {
          count: found.values,
        },
      );
    });
  }

  /**
   * @param {string} name
   * @param {string} text
   * @param {boolean} own
   */
  edit(name, text, own) {
    this.name.value = name;
    this.text.value = text;
    this.remove.disabled = !own || !name;
    this.state.textContent = "";
  }

  async keep() {
    await this.guard(async () => {
      const saved = await saveWildcard(this.name.value.trim(), this.text.value);
      await this.start();
      this.edit(saved.name, this.text.value, true);
      this.state.textContent = translate("Saved {count} values.", { count: saved.values });
    });
  }

  async drop() {
    const name = this.name.value.trim();
    const text = translate("The wildcard “{name}” is deleted. Images and waiting jobs keep what was drawn from it.", {
      name,
    });
    if (!(await askToConfirm({ title: "Delete wildcard", text, action: "Delete" }))) return;
    await this.guard(async () => {
      await deleteWildcard(name);
      this.edit("", "", true);
      await this.start();
    });
  }

  async draw() {
    await this.guard(async () => {
      const found = await expandTemplate(this.template.value, TRIED);
      this.tried.replaceChildren(...found.prompts.map((prompt) => make("li", {}, prompt)));
    });
  }
}
