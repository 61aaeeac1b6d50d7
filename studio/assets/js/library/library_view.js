// @ts-check
/** The library: search, side, grid, detail, trash, duplicates and import, and how they work together. */

import { askToConfirm } from "../common/ask_dialog.js";
import { make, makeButton, setPressed } from "../common/dom.js";
import { getErrorTitle, StudioError } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { translate } from "../common/translate.js";
import { readMarkKey } from "./asset_marks.js";
import { AssetPages } from "./asset_pages.js";
import { BulkBar } from "./bulk_bar.js";
import { DetailView } from "./detail_view.js";
import { DuplicatesPanel } from "./duplicates_panel.js";
import { FacetsPanel } from "./facets_panel.js";
import { FileDrop } from "./file_drop.js";
import { ImportsPanel } from "./imports_panel.js";
import { changeAssets, emptyTrash, getExportAddress, listAssets, listSimilar, undoChange } from "./library_api.js";
import { describeChange, NoticeBar } from "./notice_bar.js";
import { loosenWords, toggleTerm } from "./query_terms.js";
import { SearchBox } from "./search_box.js";
import { followRequests } from "./shown_asset.js";
import { ThumbnailGrid } from "./thumbnail_grid.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("./library_api.js").Asset} Asset */
/** @typedef {import("./library_api.js").BulkChange} BulkChange */
/** @typedef {import("./library_api.js").Target} Target */
/** @typedef {"all" | "trash" | "duplicates" | "imports"} ViewName */

const FIRST = 60; // images that are fetched at once, more than a screen shows
const LOOK_MS = 5000; // between two looks for new images while the library is in view
const FRESH_MS = 1000; // for which a list needs no look, as when it is loaded just before it comes into view
const STACKS = "easel-library-stacks"; // where the browser keeps whether jobs are shown as stacks
const STACKED_ORDERS = ["newest", "oldest"];
const SIMILAR = 100; // assets that "more like this" shows
const MAX_EXPORTED_IDS = 2000; // that fit an address
const TOO_MANY = `More than ${MAX_EXPORTED_IDS} single images are selected.`;
const TOO_MANY_HINT = "Add them to a collection, and export all of it.";
const VIEWS = /** @type {[ViewName, string][]} */ ([
  ["all", "All"],
  ["trash", "Trash"],
  ["duplicates", "Duplicates"],
  ["imports", "Import"],
]);
const ORDERS = [
  ["newest", "Newest first"],
  ["oldest", "Oldest first"],
  ["rating", "Best rated"],
  ["unused", "Never used first"],
  ["relevance", "Best match"],
];

/** @type {LibraryView | null} built before its component was there */
let prepared = null;

/** Build the library, and ask for its images, before there is a component to show it in. */
export function prepareLibrary() {
  prepared ??= startLibrary();
}

/**
 * Put the library into its component.
 * @param {FieldHost} host
 */
export function mountLibrary(host) {
  prepareLibrary();
  if (prepared) host.element.replaceChildren(prepared.root);
}

/** @returns {LibraryView} */
function startLibrary() {
  const view = new LibraryView();
  view.start();
  return view;
}

class LibraryView {
  constructor() {
    /** @type {ViewName} */
    this.view = "all";
    /** @type {Asset | null} the list shows what is like it */
    this.similarTo = null;
    this.isLoaded = false;
    this.isInView = false;
    this.isLooking = false;
    this.loadedAt = 0;
    this.isStacked = localStorage.getItem(STACKS) !== "off";
    this.search = new SearchBox(() => this.reload());
    const orders = ORDERS.map(([value, text]) => make("option", { value }, translate(text)));
    this.order = make("select", { "aria-label": "Order", onchange: () => this.reload() }, ...orders);
    this.tabs = VIEWS.map(([name, label]) => {
      const button = makeButton(label, () => this.setView(name), { class: "segment", "data-view": name });
      setPressed(button, name === this.view);
      return button;
    });
    this.stacks = makeButton("Stacks", () => this.toggleStacks(), { title: "Show the images of a job as one" });
    setPressed(this.stacks, this.isStacked);
    this.summary = make("span", { class: "lib-summary", role: "status" });
    this.empty = makeButton("Empty trash", () => this.emptyTrash(), { class: "mini lib-danger" });
    this.facets = new FacetsPanel({
      getQuery: () => this.search.query,
      setQuery: (query) => this.setQuery(query),
      onChange: () => this.reload(),
    });
    this.grid = new ThumbnailGrid({
      onOpen: (asset) => this.open(asset.id, asset),
      onSelect: () => this.showSelection(),
      onError: (error) => this.showFailure(error),
      onDraw: () => this.showState(),
    });
    this.bulk = new BulkBar({
      onChange: (change, done) => this.changeSelected(change, done),
      onExport: () => this.exportSelected(),
      onClear: () => this.grid.clearSelection(),
      onWhole: () => this.grid.selectWhole(),
    });
    this.detail = new DetailView({
      onClose: () => this.closeDetail(),
      onStep: (step) => this.step(step),
      onChange: (assets, change, done) => this.changeThese(assets, change, done),
      onChanged: (asset) => this.replace(asset),
      onSimilar: (asset) => this.showSimilar(asset),
    });
    this.notices = new NoticeBar();
    this.imports = new ImportsPanel(() => this.reload());
    this.duplicates = new DuplicatesPanel({
      onOpen: (asset) => this.open(asset.id, asset),
      onTrash: (assets) => this.changeThese(assets, { trash: true }, "moved to the trash"),
    });
    this.message = make("div", { class: "lib-message", role: "status", hidden: true });
    this.similar = makeButton("", () => this.setQuery(this.search.query), { class: "mini lib-chip", hidden: true });
    this.found = make("div", { class: "lib-found" }, this.grid.root, this.message);
    this.browse = make("div", { class: "lib-browse" });
    this.root = make("div", { class: "library" }, this.browse, this.detail.root, this.notices.root);
    this.buildLayout();
  }

  buildLayout() {
    const drop = new FileDrop(this.root, this.notices, () => this.reload());
    const filters = make(
      "details",
      { class: "lib-filters" },
      make("summary", {}, translate("Filters")),
      this.facets.root,
    );
    const wide = matchMedia("(min-width: 901px)");
    filters.open = wide.matches;
    wide.addEventListener("change", () => (filters.open = wide.matches));
    const views = make("div", { class: "segments lib-views", role: "group", "aria-label": "View" }, ...this.tabs);
    const tools = make(
      "div",
      { class: "lib-tools" },
      views,
      this.order,
      this.stacks,
      drop.button,
      this.empty,
      this.similar,
      this.summary,
    );
    const main = make(
      "div",
      { class: "lib-main" },
      this.bulk.root,
      this.found,
      this.imports.root,
      this.duplicates.root,
    );
    this.browse.append(this.search.root, tools, make("div", { class: "lib-body" }, filters, main));
    this.root.addEventListener("keydown", (event) => this.handleKey(event));
  }

  start() {
    this.reload();
    followRequests((id) => this.open(id, null));
    new IntersectionObserver((entries) => {
      this.isInView = entries.some((entry) => entry.isIntersecting);
      this.lookForNew();
    }).observe(this.root);
    setInterval(() => this.lookForNew(), LOOK_MS);
  }

  /** @param {string} query */
  setQuery(query) {
    this.closeDetail();
    this.search.setQuery(query);
  }

  /** @param {ViewName} view */
  setView(view) {
    this.view = view;
    for (const button of this.tabs) setPressed(button, button.dataset.view === view);
    this.imports.setShown(view === "imports");
    this.duplicates.setShown(view === "duplicates");
    this.found.hidden = this.isPanel;
    this.reload();
  }

  /** Whether a panel takes the place of the list. */
  get isPanel() {
    return this.view === "imports" || this.view === "duplicates";
  }

  /** @returns {import("./library_api.js").Search} */
  getSearch() {
    const order = this.order.value;
    const isStacked = this.isStacked && STACKED_ORDERS.includes(order);
    return { q: this.search.query, order, trashed: this.view === "trash", isStacked };
  }

  toggleStacks() {
    this.isStacked = !this.isStacked;
    localStorage.setItem(STACKS, this.isStacked ? "on" : "off");
    setPressed(this.stacks, this.isStacked);
    this.reload();
  }

  /** Fetch the list anew, from its beginning. */
  reload() {
    this.setSimilar(null);
    const search = this.getSearch();
    this.showPages(new AssetPages((cursor, limit) => listAssets(search, cursor, limit), search.isStacked));
    this.facets.reload();
  }

  /** @param {AssetPages} pages */
  async showPages(pages) {
    this.isLoaded = false;
    this.grid.setPages(pages, !this.similarTo);
    this.showState();
    try {
      await pages.need(0, FIRST);
      if (pages !== this.grid.pages) return;
      this.isLoaded = true;
      this.loadedAt = performance.now();
      this.search.setInvalid(false);
      this.grid.redraw();
      this.showState();
    } catch (error) {
      if (pages === this.grid.pages) this.showFailure(error);
    }
  }

  /** Whether a list that begins anew would be in the user's way. */
  get isInUse() {
    const { pages, scrollTop, selection } = this.grid;
    return scrollTop > 0 || selection.count(pages.total) > 0;
  }

  /** Show what was made meanwhile, as long as the list is in view; the user's place in it stays. */
  async lookForNew() {
    const isListed = this.isLoaded && !this.isPanel && !this.similarTo && !this.detail.isOpen;
    const isFresh = performance.now() - this.loadedAt < FRESH_MS;
    if (!this.isInView || document.hidden || this.isLooking || !isListed || isFresh) return;
    this.isLooking = true;
    await this.takeNew().catch(() => {}); // the next look tries again
    this.isLooking = false;
  }

  async takeNew() {
    const { pages } = this.grid;
    const search = this.getSearch();
    const now = await listAssets({ ...search, isStacked: false }, "", 1);
    if (pages.beginsLike(now)) {
      if (pages.learnTotal(now)) this.showState();
      return;
    }
    const added = search.order === "newest" && !search.trashed ? await pages.takeNew() : null;
    if (pages !== this.grid.pages || this.detail.isOpen) return;
    if (added !== null) {
      this.grid.shift(added);
      this.showState();
      this.facets.reload();
    } else if (!this.isInUse) this.reload();
  }

  /** @param {Asset} asset */
  showSimilar(asset) {
    this.closeDetail();
    if (this.view !== "all") this.setView("all");
    this.setSimilar(asset);
    this.showPages(new AssetPages(() => listSimilar(asset.id, SIMILAR)));
  }

  /** @param {Asset | null} asset */
  setSimilar(asset) {
    this.similarTo = asset;
    this.similar.hidden = !asset;
    this.similar.textContent = `Like “${(asset?.title || asset?.prompt || "this image").slice(0, 40)}” ×`;
  }

  /** Show how much was found, or why there is nothing. */
  showState() {
    const { total } = this.grid.pages;
    const isTrash = this.view === "trash";
    this.empty.hidden = !isTrash || !total;
    this.order.hidden = this.isPanel || Boolean(this.similarTo);
    this.stacks.hidden = this.order.hidden || !STACKED_ORDERS.includes(this.order.value);
    this.summary.textContent = this.isLoaded && !this.isPanel ? countImages(total, this.grid.pages.isExact) : "";
    if (!this.isLoaded) this.showMessage("Loading …");
    else if (total) this.showMessage("");
    else this.showEmpty(isTrash);
    this.showSelection();
  }

  /** @param {boolean} isTrash */
  showEmpty(isTrash) {
    if (this.search.query) {
      const wider = loosenWords(this.search.query);
      this.showMessage(
        "No image matches this search.",
        "Try fewer words, or remove a filter.",
        ...(wider ? [makeButton(translate("Search for {query}", { query: wider }), () => this.setQuery(wider))] : []),
        makeButton("Clear the search", () => this.setQuery("")),
      );
    } else if (this.similarTo) this.showMessage("Nothing like this image was found.");
    else if (isTrash) this.showMessage("The trash is empty.");
    else {
      this.showMessage("No images yet.", "Generate one, drop files here, or import a folder of another program.");
    }
  }

  /** @param {unknown} error */
  showFailure(error) {
    const [message, hint] = error instanceof StudioError ? [error.message, error.hint] : [String(error), ""];
    const isQuery = error instanceof StudioError && error.code === "INVALID_REQUEST" && Boolean(this.search.query);
    this.isLoaded = false;
    this.summary.textContent = "";
    this.search.setInvalid(isQuery);
    if (isQuery) this.showMessage(message, hint);
    else {
      this.showMessage(
        message,
        hint,
        makeButton("Try again", () => this.reload()),
      );
    }
  }

  /**
   * @param {string} text "" for none
   * @param {string} [hint]
   * @param {...HTMLElement} actions
   */
  showMessage(text, hint = "", ...actions) {
    this.message.hidden = !text;
    const hints = hint ? [make("p", { class: "hint" }, translate(hint))] : [];
    const parts = [make("p", {}, translate(text)), ...hints];
    this.message.replaceChildren(...parts, ...actions);
  }

  showSelection() {
    const { pages, selection } = this.grid;
    const { total } = pages;
    const isTrash = this.view === "trash";
    this.bulk.show({ count: selection.count(total), total, isWhole: selection.isWhole, isTrash });
    if (this.facets.facets) this.bulk.setCollections(this.facets.facets.collections);
  }

  /**
   * @param {string} id
   * @param {Asset | null} known
   */
  open(id, known) {
    this.browse.hidden = true;
    const index = this.grid.pages.findIndex(id);
    if (index >= 0) this.grid.focused = index;
    this.detail.open(id, known);
  }

  closeDetail() {
    if (!this.detail.isOpen) return;
    this.detail.close();
    this.browse.hidden = false;
    this.grid.measure();
    this.grid.reveal(this.grid.focused);
    this.grid.showSelection();
    this.grid.root.focus({ preventScroll: true });
  }

  /** @param {1 | -1} step */
  async step(step) {
    try {
      const asset = await this.grid.pages.findNeighbour(this.detail.id, step);
      if (asset) this.open(asset.id, asset);
    } catch (error) {
      showError(error);
    }
  }

  /** @returns {Target} */
  getTarget() {
    const { selection } = this.grid;
    const { q, trashed } = this.getSearch();
    if (!selection.isWhole) return { ids: [...selection.ids] };
    return { query: trashed ? toggleTerm(q, "is", "trashed") : q };
  }

  /**
   * @param {BulkChange} change
   * @param {string} done
   */
  changeSelected(change, done) {
    return this.change(this.getTarget(), change, done);
  }

  /**
   * @param {Asset[]} assets
   * @param {BulkChange} change
   * @param {string} done
   */
  changeThese(assets, change, done) {
    return this.change({ ids: assets.map((asset) => asset.id) }, change, done);
  }

  /**
   * @param {Target} target
   * @param {BulkChange} change
   * @param {string} done
   */
  async change(target, change, done) {
    try {
      const { changed, undo } = await changeAssets(target, change);
      this.notices.show(describeChange(changed, done), undo ? () => this.undo(undo) : null);
      this.applyChange(target, change);
    } catch (error) {
      showError(error);
    }
  }

  /**
   * Bring what is shown up to date after a change.
   * @param {Target} target
   * @param {BulkChange} change
   */
  applyChange(target, change) {
    if ("query" in target) {
      this.reload();
      return;
    }
    const ids = new Set(target.ids);
    if (change.trash || change.restore) {
      this.grid.pages.remove(ids);
      this.grid.selection.drop(ids);
      this.grid.focused = Math.min(this.grid.focused, Math.max(0, this.grid.pages.count - 1));
      this.grid.removeCells();
    } else this.applyMarks(ids, change);
    this.grid.redraw();
    this.showState();
    this.facets.reload();
    if (!this.detail.isOpen && this.bulk.root.hidden) this.grid.root.focus({ preventScroll: true });
  }

  /**
   * @param {Set<string>} ids
   * @param {BulkChange} change
   */
  applyMarks(ids, { favourite, rating, add_tags: added = [], remove_tags: removed = [] }) {
    for (const id of ids) {
      const asset = this.grid.pages.find(id);
      if (!asset) continue;
      const tags = [...new Set([...asset.tags, ...added])].filter((tag) => !removed.includes(tag));
      const marks = { favourite: favourite ?? asset.favourite, rating: rating ?? asset.rating };
      this.grid.pages.replace({ ...asset, ...marks, tags });
    }
  }

  /** @param {Asset} asset */
  replace(asset) {
    this.grid.pages.replace(asset);
    this.grid.redraw();
    this.facets.reload();
  }

  /** @param {string} [token] the last change when left out */
  async undo(token) {
    try {
      const { restored } = await undoChange(token);
      this.notices.show(describeChange(restored, "put back as before"));
      if (this.detail.isOpen) await this.detail.refresh();
      this.reload();
    } catch (error) {
      showError(error);
    }
  }

  async emptyTrash() {
    const text = "Everything in the trash is deleted from the disk. This cannot be undone.";
    if (!(await askToConfirm({ title: "Empty the trash?", text, action: "Delete for good" }))) return;
    try {
      const { removed } = await emptyTrash();
      this.notices.show(describeChange(removed, "deleted"));
      this.reload();
    } catch (error) {
      showError(error);
    }
  }

  exportSelected() {
    const target = this.getTarget();
    if ("ids" in target && target.ids.length > MAX_EXPORTED_IDS) {
      showError(new StudioError(getErrorTitle("INVALID_REQUEST"), TOO_MANY, TOO_MANY_HINT));
      return;
    }
    make("a", { href: getExportAddress(target), download: "easel-assets.zip" }).click();
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    if (event.defaultPrevented || isTyping(event)) return;
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else if (event.key === "Escape") this.grid.clearSelection();
    else if (!this.handleSelectionKey(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * @param {KeyboardEvent} event
   * @returns {boolean} whether it did anything to the selected assets
   */
  handleSelectionKey(event) {
    const { focusedAsset, pages, selection } = this.grid;
    if (this.detail.isOpen || !focusedAsset || !selection.count(pages.total)) return false;
    const change = readMarkKey(event, focusedAsset);
    if (event.key === "Delete") this.trashSelected();
    else if (change) this.changeSelected(change, change.rating === undefined ? "marked" : "rated");
    else return false;
    return true;
  }

  trashSelected() {
    if (this.view !== "trash") this.changeSelected({ trash: true }, "moved to the trash");
  }
}

/**
 * @param {KeyboardEvent} event
 * @returns {boolean} whether the keys belong to a field
 */
function isTyping(event) {
  const { target } = event;
  if (target instanceof HTMLInputElement) return target.type !== "checkbox";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/**
 * @param {number} total
 * @param {boolean} isExact else it is at least that many
 * @returns {string}
 */
function countImages(total, isExact) {
  const count = `${total.toLocaleString("en")}${isExact ? "" : "+"}`;
  return total === 1 ? translate("1 image") : translate("{count} images", { count });
}
