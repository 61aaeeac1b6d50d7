// @ts-check
/** The side: quick filters, collections and saved searches, and what the found assets have in common. */

import { askForText, askToConfirm } from "../common/ask_dialog.js";
import { findAll, make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { translate } from "../common/translate.js";
import { createCollection, deleteCollection, getFacets, patchCollection } from "./library_api.js";
import { hasTerm, setTerm, toggleTerm } from "./query_terms.js";
import { makeSwitch } from "./search_box.js";

/** @typedef {import("./library_api.js").Collection} Collection */
/** @typedef {import("./library_api.js").Facet} Facet */
/** @typedef {import("./library_api.js").Facets} Facets */

const SHORT = 8; // rows until "Show all"
const QUICK = [
  ["favourite", "Favourites"],
  ["imported", "Imported"],
  ["made", "Made here"],
  ["unused", "Never used"],
];
const LOAD_DELAY_MS = 250;

export class FacetsPanel {
  /** @param {{getQuery: () => string, setQuery: (query: string) => void, onChange: () => void}} owner */
  constructor(owner) {
    this.owner = owner;
    /** @type {Facets | null} */
    this.facets = null;
    this.timer = 0;
    this.round = 0;
    /** @type {Set<string>} titles of the groups that are shown in full */
    this.full = new Set();
    this.root = make("div", { class: "lib-facets" });
    this.draw();
  }

  /** Ask for the facets of the present query, a moment later. */
  reload() {
    clearTimeout(this.timer);
    this.draw();
    this.timer = window.setTimeout(() => this.load(), LOAD_DELAY_MS);
  }

  async load() {
    const round = ++this.round;
    try {
      const facets = await getFacets(this.owner.getQuery());
      if (round !== this.round) return;
      this.facets = facets;
      this.draw();
    } catch {
      // the list reports what is wrong with the query
    }
  }

  draw() {
    const open = new Map([...this.root.querySelectorAll("details")].map((each) => [each.dataset.title, each.open]));
    const query = this.owner.getQuery();
    const quick = QUICK.map(([value, label]) =>
      makeSwitch(label, hasTerm(query, "is", value), () => this.owner.setQuery(toggleTerm(query, "is", value)), {
        "data-facet": `is:${value}`,
      }),
    );
    const filters = make("div", { class: "lib-quick", role: "group", "aria-label": "Quick filters" }, ...quick);
    const { facets } = this;
    const groups = facets
      ? [
          this.buildCollections(facets.collections),
          this.buildGroup("Tags", "tag", facets.tags, true),
          this.buildGroup("Models", "model", facets.models, true),
          this.buildGroup("LoRAs", "lora", facets.loras),
          this.buildGroup("Days", "date", facets.days),
          this.buildGroup("Tasks", "task", facets.tasks),
          this.buildGroup("Sources", "source", facets.sources),
        ]
      : [];
    for (const group of groups) group.open = open.get(group.dataset.title) ?? group.open;
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    const facet = focused instanceof HTMLElement ? focused.dataset.facet : undefined;
    this.root.replaceChildren(filters, ...groups.filter((group) => !group.hidden));
    const again = facet && findAll("[data-facet]", this.root).find((each) => each.dataset.facet === facet);
    if (again) again.focus();
  }

  /**
   * @param {string} title
   * @param {string} key of the query
   * @param {Facet[]} facets
   * @param {boolean} [isOpen]
   * @returns {HTMLDetailsElement}
   */
  buildGroup(title, key, facets, isOpen = false) {
    const query = this.owner.getQuery();
    const shown = this.full.has(title) ? facets : facets.slice(0, SHORT);
    const change = key === "tag" || key === "lora" ? toggleTerm : switchTerm;
    const rows = shown.map(({ value, count }) => {
      const label = key === "task" ? value.replaceAll("_", " ") : value;
      const row = makeSwitch("", hasTerm(query, key, value), () => this.owner.setQuery(change(query, key, value)), {
        class: "lib-facet",
        "data-facet": `${key}:${value}`,
      });
      row.append(make("span", {}, label || translate("none")), make("small", {}, count.toLocaleString("en")));
      return row;
    });
    const group = this.buildDetails(title, rows, isOpen);
    if (facets.length > shown.length) {
      const showAll = () => {
        this.full.add(title);
        this.draw();
      };
      group.append(
        makeButton(translate("Show all {count}", { count: facets.length }), showAll, { class: "mini lib-more" }),
      );
    }
    group.hidden = !facets.length;
    return group;
  }

  /**
   * @param {Collection[]} collections
   * @returns {HTMLDetailsElement}
   */
  buildCollections(collections) {
    const rows = collections.map((each) => this.buildCollection(each));
    const create = makeButton("New collection", () => this.create(""));
    const save = makeButton("Save this search", () => this.create(this.owner.getQuery()));
    save.disabled = !this.owner.getQuery();
    const buttons = make("div", { class: "lib-collection-buttons" }, create, save);
    return this.buildDetails("Collections", [...rows, buttons], true);
  }

  /**
   * @param {Collection} collection
   * @returns {HTMLElement}
   */
  buildCollection(collection) {
    const { id, name, count, query } = collection;
    const now = this.owner.getQuery();
    const isOn = query === null ? hasTerm(now, "collection", name) : now === query;
    const apply = () => {
      if (query === null) this.owner.setQuery(switchTerm(now, "collection", name));
      else this.owner.setQuery(isOn ? "" : query);
    };
    const title = query === null ? "Collection" : translate("Saved search: {query}", { query });
    const row = makeSwitch("", isOn, apply, { class: "lib-facet", title, "data-facet": `collection:${id}` });
    row.append(make("span", {}, query === null ? name : `⌕ ${name}`), make("small", {}, count.toLocaleString("en")));
    const rename = makeButton("✎", () => this.rename(collection), {
      class: "lib-tool",
      "aria-label": translate("Rename {name}", { name }),
      title: "Rename",
    });
    const remove = makeButton("×", () => this.remove(collection), {
      class: "lib-tool",
      "aria-label": translate("Delete {name}", { name }),
      title: "Delete",
    });
    return make("div", { class: "lib-collection", "data-collection": id }, row, rename, remove);
  }

  /**
   * @param {string} title
   * @param {HTMLElement[]} rows
   * @param {boolean} isOpen
   * @returns {HTMLDetailsElement}
   */
  buildDetails(title, rows, isOpen) {
    const attributes = { class: "lib-group", "data-title": title, open: isOpen };
    return make("details", attributes, make("summary", {}, translate(title)), ...rows);
  }

  /** @param {string} query of a saved search, "" for a collection */
  async create(query) {
    const title = query ? "Save this search" : "New collection";
    const name = await askForText({ title, label: "Name", action: query ? "Save" : "Create" });
    if (name) await this.change(createCollection(name, query));
  }

  /** @param {Collection} collection */
  async rename({ id, name }) {
    const wanted = await askForText({
      title: translate("Rename {name}", { name }),
      label: "Name",
      value: name,
      action: "Rename",
    });
    if (wanted && wanted !== name) await this.change(patchCollection(id, { name: wanted }));
  }

  /** @param {Collection} collection */
  async remove({ id, name, query }) {
    const text = query === null ? "Its images stay in the library." : "Only the saved search is deleted.";
    if (await askToConfirm({ title: translate("Delete {name}?", { name }), text, action: "Delete" })) {
      await this.change(deleteCollection(id));
    }
  }

  /** @param {Promise<unknown>} change */
  async change(change) {
    try {
      await change;
      await this.load();
      this.owner.onChange();
    } catch (error) {
      showError(error);
    }
  }
}

/**
 * Ask for `value` instead of another value of `key`, or for none when it was asked for.
 * @param {string} query
 * @param {string} key
 * @param {string} value
 * @returns {string}
 */
function switchTerm(query, key, value) {
  return setTerm(query, key, hasTerm(query, key, value) ? "" : value);
}
