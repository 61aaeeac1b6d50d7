// @ts-check
/** What can be done with the selected assets. */

import { make, makeButton } from "../common/dom.js";
import { translate } from "../common/translate.js";
import { makeFavouriteButton, makeStars } from "./asset_marks.js";

/** @typedef {import("./library_api.js").BulkChange} BulkChange */
/** @typedef {import("./library_api.js").Collection} Collection */

/**
 * @typedef {object} BulkActions
 * @property {(change: BulkChange, done: string) => void} onChange `done` says what was done, for "3 images …"
 * @property {() => void} onExport
 * @property {() => void} onClear
 * @property {() => void} onWhole
 */

export class BulkBar {
  /** @param {BulkActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.count = make("strong", { role: "status" });
    this.whole = makeButton("", () => actions.onWhole());
    this.tag = make("input", {
      type: "text",
      placeholder: "Add tags …",
      maxlength: 300,
      "aria-label": "Tags to add, separated by commas; a minus removes one",
      title: "Separate tags by commas; -tag removes one",
    });
    this.tag.addEventListener("keydown", (event) => this.handleTagKey(event));
    this.collection = make("select", { "aria-label": "Add to a collection" });
    this.collection.addEventListener("change", () => this.addToCollection());
    const favourite = makeFavouriteButton(() => actions.onChange({ favourite: true }, "marked as favourites"));
    favourite.setAttribute("aria-label", translate("Mark as favourites"));
    favourite.removeAttribute("aria-pressed");
    const stars = makeStars((rating) => actions.onChange({ rating }, "rated"));
    this.trash = makeButton("Move to trash", () => actions.onChange({ trash: true }, "moved to the trash"));
    this.restore = makeButton("Restore", () => actions.onChange({ restore: true }, "restored"));
    const zip = makeButton("Export zip", () => actions.onExport());
    const clear = makeButton("Clear", () => actions.onClear(), { "aria-label": "Clear the selection" });
    this.marking = make("span", { class: "lib-marking" }, favourite, stars, this.tag, this.collection);
    const parts = [this.count, this.whole, this.marking, this.trash, this.restore, zip, clear];
    this.root = make(
      "div",
      { class: "lib-bulk", role: "group", "aria-label": "Selected images", hidden: true },
      ...parts,
    );
  }

  /** @param {{count: number, total: number, isWhole: boolean, isTrash: boolean}} state */
  show({ count, total, isWhole, isTrash }) {
    this.root.hidden = !count;
    this.count.textContent = translate("{count} selected", { count: count.toLocaleString("en") });
    this.whole.hidden = isWhole || total <= count;
    this.whole.textContent = translate("Select all {total}", { total: total.toLocaleString("en") });
    this.marking.hidden = isTrash;
    this.trash.hidden = isTrash;
    this.restore.hidden = !isTrash;
  }

  /** @param {Collection[]} collections */
  setCollections(collections) {
    const own = collections.filter((each) => each.query === null);
    const names = JSON.stringify(own.map(({ id, name }) => [id, name]));
    if (names === this.collection.dataset.names) return; // so that an open list stays open
    this.collection.dataset.names = names;
    const first = make("option", { value: "" }, translate("Add to collection …"));
    this.collection.replaceChildren(first, ...own.map((each) => make("option", { value: each.id }, each.name)));
    this.collection.disabled = !own.length;
  }

  addToCollection() {
    const { value, selectedOptions } = this.collection;
    if (value) {
      this.actions.onChange(
        { add_to: value },
        translate("added to {name}", { name: selectedOptions[0].textContent ?? "" }),
      );
    }
    this.collection.value = "";
  }

  /** @param {KeyboardEvent} event */
  handleTagKey(event) {
    event.stopPropagation(); // letters are no shortcuts here
    if (event.key !== "Enter") return;
    const { added, removed } = splitTags(this.tag.value);
    if (!added.length && !removed.length) return;
    this.tag.value = "";
    const change = { ...(added.length && { add_tags: added }), ...(removed.length && { remove_tags: removed }) };
    this.actions.onChange(
      change,
      added.length
        ? translate("tagged {names}", { names: added.join(", ") })
        : translate("no longer tagged {names}", { names: removed.join(", ") }),
    );
  }
}

/**
 * Read tags as they are typed: commas between, and a minus before one that is to be removed.
 * @param {string} text
 * @returns {{added: string[], removed: string[]}}
 */
export function splitTags(text) {
  const tags = [...new Set(text.split(",").map((tag) => tag.trim()))].filter((tag) => tag.replace(/^-\s*/, ""));
  return {
    added: tags.filter((tag) => !tag.startsWith("-")),
    removed: tags.filter((tag) => tag.startsWith("-")).map((tag) => tag.slice(1).trim()),
  };
}
