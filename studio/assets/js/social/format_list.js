// @ts-check
/** The list of platform formats to choose from. Its value is the chosen ids with spaces between. */

import { find, findAll, get, make, makeButton } from "../common/dom.js";
import { requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { formatStore } from "./format_store.js";
import { OwnFormatForm } from "./own_format_form.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("./format_store.js").Format} Format */
/** @typedef {import("./format_store.js").Platform} Platform */

/**
 * Build the list into its component.
 * @param {FieldHost} host
 */
export function mountFormatList(host) {
  new FormatList(host).mount();
}

class FormatList {
  /** @param {FieldHost} host */
  constructor(host) {
    this.host = host;
    this.search = make("input", {
      type: "search",
      class: "formats-search",
      placeholder: "Find a format: story, banner, 1080 …",
      "aria-label": "Find a format",
    });
    this.count = make("span", { class: "formats-count", role: "status" });
    this.groups = make("div", { class: "formats-groups" });
    this.foot = make("div", { class: "formats-foot" });
    const all = makeButton("All", () => this.setChosen([...formatStore.formats.keys()]));
    const none = makeButton("None", () => this.setChosen([]));
    const head = make("div", { class: "formats-head" }, this.search, this.count, all, none);
    this.root = make("div", { class: "formats", role: "group", "aria-label": "Formats" }, head, this.groups, this.foot);
    this.form = new OwnFormatForm((id) => this.showNewFormat(id));
    this.root.append(this.form.root);
  }

  mount() {
    this.host.element.replaceChildren(this.root);
    this.search.addEventListener("input", () => this.filter());
    this.host.watch("value", () => this.show());
    formatStore.load().then(() => this.build(), showError);
  }

  /** @returns {string[]} */
  getChosen() {
    return (this.host.props.value ?? "").split(" ").filter(Boolean);
  }

  /** @param {string[]} ids */
  setChosen(ids) {
    this.host.props.value = ids.join(" ");
    this.show();
  }

  /**
   * @param {string[]} ids
   * @param {boolean} chosen
   */
  toggle(ids, chosen) {
    const now = new Set(this.getChosen());
    for (const id of ids) {
      if (chosen) now.add(id);
      else now.delete(id);
    }
    this.setChosen([...formatStore.formats.keys()].filter((id) => now.has(id)));
  }

  /** Build the groups of the data that was loaded. */
  build() {
    const { data } = formatStore;
    if (!data) return;
    this.form.allowSharing(data.may_share);
    this.groups.replaceChildren(...data.platforms.map((platform) => this.buildGroup(platform)));
    const problems = data.problems.map((problem) => make("p", { class: "note note-bad" }, problem));
    const count = translate("{count} formats, as of {day}. Point at one for its source.", {
      count: formatStore.formats.size,
      day: data.as_of,
    });
    this.foot.replaceChildren(...problems, make("p", { class: "note" }, count));
    this.show();
  }

  /**
   * @param {Platform} platform
   * @returns {HTMLElement}
   */
  buildGroup(platform) {
    const toggleAll = () => {
      const ids = platform.formats.map((format) => format.id);
      const chosen = this.getChosen();
      this.toggle(ids, !ids.every((id) => chosen.includes(id)));
    };
    const all = makeButton("All", toggleAll, { "aria-label": translate("All of {name}", { name: platform.title }) });
    const title = make("strong", {}, platform.title);
    const summary = make("summary", {}, title, make("span", { class: "formats-some" }));
    const list = make("div", { class: "formats-list" }, ...platform.formats.map((format) => this.buildRow(format)));
    const group = make("details", { class: "formats-group", "data-platform": platform.id }, summary, list);
    return make("div", { class: "formats-platform" }, group, all);
  }

  /**
   * @param {Format} format
   * @returns {HTMLElement}
   */
  buildRow(format) {
    const title = format.sources ? `${format.sure}. ${format.sources}` : format.sure;
    const box = make("input", { type: "checkbox", value: format.id });
    box.addEventListener("change", () => this.toggle([format.id], box.checked));
    const row = make("label", { class: "format", title }, box, make("span", {}, format.name));
    row.append(make("small", {}, describeFormat(format)));
    if (format.deletable) row.append(this.buildDeleteButton(format));
    return row;
  }

  /**
   * @param {Format} format
   * @returns {HTMLElement}
   */
  buildDeleteButton(format) {
    const deleteFormat = async (/** @type {MouseEvent} */ event) => {
      event.preventDefault(); // else the click would choose the format too
      try {
        const address = `page/social/formats/${encodeURIComponent(format.id)}`;
        formatStore.setData(await requestJson(address, { method: "DELETE" }));
        this.build();
      } catch (error) {
        showError(error);
      }
    };
    return makeButton("×", deleteFormat, { "aria-label": translate("Delete {name}", { name: format.name }) });
  }

  /** Show which formats are chosen. */
  show() {
    if (!formatStore.data) return;
    const wanted = this.getChosen();
    const chosen = wanted.filter((id) => formatStore.formats.has(id));
    if (chosen.length < wanted.length) this.host.props.value = chosen.join(" "); // a format was deleted
    const now = new Set(chosen);
    for (const box of this.groups.querySelectorAll("input")) box.checked = now.has(box.value);
    for (const group of findAll(".formats-group", this.root)) {
      const count = group.querySelectorAll("input:checked").length;
      const text = count ? `${count} of ${group.querySelectorAll("input").length}` : "";
      get(".formats-some", group).textContent = text;
    }
    this.count.textContent = translate("{count} chosen", { count: now.size });
    formatStore.setChosen(chosen);
  }

  /** Show only the formats that have all words of the search. */
  filter() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const group of this.root.querySelectorAll("details")) {
      if (!group.matches(".formats-group")) continue;
      const title = get("strong", group).textContent ?? "";
      for (const row of findAll(".format", group)) row.hidden = !hasAllWords(`${title} ${row.textContent}`, words);
      group.hidden = !find(".format:not([hidden])", group);
      if (words.length) group.open = !group.hidden;
    }
  }

  /** @param {string} id of a format that was just saved */
  showNewFormat(id) {
    this.build();
    this.toggle([id], true);
    /** @type {HTMLDetailsElement} */ (get('[data-platform="own"]', this.root)).open = true;
  }
}

/**
 * @param {string} text
 * @param {string[]} words in lower case
 * @returns {boolean}
 */
export function hasAllWords(text, words) {
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

/**
 * The format in short: its size, the largest file, and whether the platform publishes that.
 * @param {Format} format
 * @returns {string}
 */
function describeFormat(format) {
  const limit = format.limit ? ` · ≤ ${formatBytes(format.limit)}` : "";
  return `${format.width} × ${format.height}${limit}${format.published ? "" : " · not published"}`;
}

/**
 * @param {number} bytes
 * @returns {string}
 */
export function formatBytes(bytes) {
  if (bytes < 1e6) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1e6).toFixed(bytes % 1e6 ? 1 : 0)} MB`;
}
