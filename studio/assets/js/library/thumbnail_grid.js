// @ts-check
/** The grid of thumbnails: draws those in view, follows pointer and keyboard, and keeps the selection. */

import { getTarget, make } from "../common/dom.js";
import { AssetPages } from "./asset_pages.js";
import {
  findNeighbour,
  findVisibleRange,
  fitGrid,
  measureHeight,
  placeThumbnail,
  scrollToThumbnail,
} from "./grid_layout.js";
import { RubberBand } from "./rubber_band.js";
import { Selection, spanRange } from "./selection.js";
import { fillThumbnail, makeThumbnail } from "./thumbnail.js";

/** @typedef {import("./library_api.js").Asset} Asset */

/**
 * @typedef {object} GridEvents
 * @property {(asset: Asset) => void} onOpen
 * @property {() => void} onSelect the selection changed
 * @property {(error: unknown) => void} onError assets could not be fetched
 * @property {() => void} onDraw the list grew
 */

const GAP = 8; // px
const SMALLEST = 168; // px, of a thumbnail
const SMALLEST_ON_PHONE = 104; // px
const PHONE_WIDTH = 560; // px, of the grid
const SPARE_ROWS = 3;

export class ThumbnailGrid {
  /** @param {GridEvents} events */
  constructor(events) {
    this.events = events;
    this.pages = new AssetPages(() => Promise.resolve({ assets: [], next: null, total: 0 }));
    this.selection = new Selection();
    this.grid = fitGrid(1, 1, GAP);
    this.focused = 0;
    this.isQuery = true; // else there is no query that finds all of the list
    this.scrollTop = 0;
    this.frame = 0;
    /** @type {Map<number, HTMLElement>} by index */
    this.cells = new Map();
    this.canvas = make("div", { class: "lib-canvas", role: "presentation" });
    this.root = make("div", {
      class: "lib-grid",
      role: "listbox",
      tabindex: 0,
      "aria-label": "Images",
      "aria-multiselectable": "true",
    });
    this.root.append(this.canvas);
    this.band = new RubberBand(this);
    this.root.addEventListener("scroll", () => this.handleScroll());
    this.root.addEventListener("click", (event) => this.handleClick(event));
    this.root.addEventListener("dblclick", (event) => this.openUnder(event));
    this.root.addEventListener("keydown", (event) => this.handleKey(event));
    this.root.addEventListener("focus", () => this.announceFocus());
    new ResizeObserver(() => this.measure()).observe(this.root);
  }

  /**
   * Show another list from its beginning, with nothing selected.
   * @param {AssetPages} pages
   * @param {boolean} isQuery whether a query finds all of it
   */
  setPages(pages, isQuery) {
    this.pages = pages;
    this.isQuery = isQuery;
    this.focused = 0;
    this.selection.clear();
    this.root.scrollTop = this.scrollTop = 0;
    this.removeCells();
    this.redraw();
    this.events.onSelect();
  }

  /** The asset that the keyboard is on, null in an empty list. */
  get focusedAsset() {
    return this.pages.get(this.focused);
  }

  /** Draw everything anew, as after a change of assets. */
  redraw() {
    const more = this.pages.next === null ? 0 : this.grid.side;
    this.canvas.style.height = `${measureHeight(this.grid, this.pages.count) + more}px`;
    for (const [index, cell] of this.cells) this.fillCell(index, cell);
    this.draw();
  }

  removeCells() {
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
  }

  measure() {
    const { clientWidth } = this.root;
    if (!clientWidth) return;
    const smallest = clientWidth < PHONE_WIDTH ? SMALLEST_ON_PHONE : SMALLEST;
    this.grid = fitGrid(this.canvas.clientWidth, smallest, GAP);
    this.removeCells();
    this.redraw();
    this.root.scrollTop = this.scrollTop; // which is lost while another view or tab is shown
  }

  handleScroll() {
    if (!this.root.clientWidth) return;
    this.scrollTop = this.root.scrollTop;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** Put the thumbnails in view onto the page, take the others off, and fetch what is missing. */
  draw() {
    const height = this.root.clientHeight;
    if (!height) return;
    const { pages, grid } = this;
    const count = pages.next === null ? pages.count : Infinity;
    const { first, end } = findVisibleRange(grid, { scrollTop: this.scrollTop, height, count, spare: SPARE_ROWS });
    for (const [index, cell] of this.cells) {
      if (index >= first && index < end && index < pages.count) continue;
      cell.remove();
      this.cells.delete(index);
    }
    for (let index = first; index < Math.min(end, pages.count); index++) {
      if (!this.cells.has(index)) this.addCell(index);
    }
    pages.need(first, end).then(
      (isChanged) => isChanged && pages === this.pages && this.showFetched(),
      (error) => pages === this.pages && this.events.onError(error),
    );
  }

  showFetched() {
    this.redraw();
    this.events.onDraw();
  }

  /** @param {number} index */
  addCell(index) {
    const cell = makeThumbnail();
    const { left, top } = placeThumbnail(this.grid, index);
    cell.id = `lib-cell-${index}`;
    cell.dataset.index = String(index);
    cell.style.cssText = `transform:translate(${left}px,${top}px);width:${this.grid.side}px;height:${this.grid.side}px`;
    this.fillCell(index, cell);
    this.cells.set(index, cell);
    this.canvas.append(cell);
  }

  /**
   * @param {number} index
   * @param {HTMLElement} cell
   */
  fillCell(index, cell) {
    const stack = this.pages.getStack(index);
    const isSelected = stack.length > 0 && stack.every((asset) => this.selection.has(asset.id));
    fillThumbnail(cell, stack, { isSelected, opened: this.pages.getOpened(index) });
    cell.classList.toggle("lib-focused", index === this.focused);
    cell.setAttribute("aria-posinset", String(index + 1));
    cell.setAttribute("aria-setsize", String(this.pages.total));
  }

  /** Show which thumbnails are selected, after `selection` was changed. */
  showSelection() {
    for (const [index, cell] of this.cells) this.fillCell(index, cell);
    this.announceFocus();
    this.events.onSelect();
  }

  announceFocus() {
    this.root.setAttribute("aria-activedescendant", `lib-cell-${this.focused}`);
  }

  /** @param {MouseEvent} event */
  handleClick(event) {
    if (this.band.hasJustEnded()) return;
    const index = this.findIndex(event);
    const asset = index === null ? null : this.pages.get(index);
    if (index === null || !asset) {
      this.clearSelection();
      return;
    }
    this.focused = index;
    if (getTarget(event)?.closest(".lib-stack")) this.toggleStack(index);
    else if (event.shiftKey) this.extendTo(index);
    else if (this.isToggle(event)) this.toggle(index);
    else if (isTouch(event)) this.openAt(index);
    else this.selectOnly(index);
  }

  /**
   * @param {MouseEvent} event
   * @returns {boolean} whether the click adds to the selection, or takes away from it
   */
  isToggle(event) {
    const isCheck = Boolean(getTarget(event)?.closest(".lib-check"));
    return isCheck || event.ctrlKey || event.metaKey || (isTouch(event) && this.selection.count(this.pages.total) > 0);
  }

  /** @param {MouseEvent} event */
  openUnder(event) {
    const index = this.findIndex(event);
    if (index !== null && !getTarget(event)?.closest(".lib-check, .lib-stack")) this.openAt(index);
  }

  /**
   * Open what lies in a place: an image, or a stack, whose images are shown one by one then.
   * @param {number} index
   */
  openAt(index) {
    const stack = this.pages.getStack(index);
    if (stack.length > 1) this.toggleStack(index);
    else if (stack.length) this.events.onOpen(stack[0]);
  }

  /**
   * Show the images of a stack one by one, or put those of an open one together again.
   * @param {number} index
   */
  toggleStack(index) {
    const asset = this.pages.get(index);
    const stack = this.pages.getStack(index);
    if (!asset?.job || (stack.length < 2 && !this.pages.opened.has(asset.job))) return;
    this.pages.toggleStack(asset.job);
    this.focused = this.selection.anchor = Math.max(0, this.pages.findIndex(asset.id));
    this.removeCells();
    this.redraw();
    this.reveal(this.focused);
    this.showSelection();
  }

  /**
   * Make room for places that came at the beginning; what is in view stays there, and what is selected stays selected.
   * @param {number} count
   */
  shift(count) {
    const { columns, side, gap } = this.grid;
    const pitch = side + gap;
    const top = Math.floor(this.scrollTop / pitch) * columns;
    const rows = Math.floor((top + count) / columns) - Math.floor(top / columns);
    if (this.scrollTop > 0) this.scrollTop += rows * pitch;
    if (this.focused > 0 || this.selection.count(1)) this.focused += count;
    this.selection.anchor += count;
    this.removeCells();
    this.redraw();
    this.root.scrollTop = this.scrollTop;
    this.draw();
  }

  /**
   * @param {Event} event
   * @returns {number | null} of the thumbnail that it happened on
   */
  findIndex(event) {
    const cell = getTarget(event)?.closest(".lib-cell");
    return cell instanceof HTMLElement ? Number(cell.dataset.index) : null;
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    const rows = Math.floor(this.root.clientHeight / (this.grid.side + GAP));
    const count = this.pages.count;
    const next = findNeighbour(event.key, this.focused, { columns: this.grid.columns, rows, count });
    if (next !== null) this.moveTo(next, event);
    else if (event.key === "Enter" && this.focusedAsset) this.openAt(this.focused);
    else if (event.key === " " && this.focusedAsset) this.toggle(this.focused);
    else if (isStackKey(event)) this.toggleStack(this.focused);
    else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) this.selectWhole();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * @param {number} index
   * @param {KeyboardEvent} event
   */
  moveTo(index, event) {
    this.focused = index;
    this.reveal(index);
    const asset = this.pages.get(index);
    if (event.shiftKey) this.extendTo(index);
    else if (event.ctrlKey || event.metaKey || !asset) this.showSelection();
    else this.selectOnly(index);
  }

  /**
   * Scroll until a thumbnail is in view.
   * @param {number} index
   */
  reveal(index) {
    const view = { scrollTop: this.scrollTop, height: this.root.clientHeight };
    this.root.scrollTop = this.scrollTop = scrollToThumbnail(this.grid, index, view);
    this.draw();
  }

  /** @param {number} index */
  selectOnly(index) {
    this.selection.selectOnly(index, ...this.listIds(index));
    this.showSelection();
  }

  /** @param {number} index */
  toggle(index) {
    this.selection.toggle(index, ...this.listIds(index));
    this.showSelection();
  }

  /**
   * @param {number} index
   * @returns {string[]} of what lies there
   */
  listIds(index) {
    return this.pages.getStack(index).map((asset) => asset.id);
  }

  selectWhole() {
    if (this.isQuery) {
      this.selection.selectWhole();
      this.showSelection();
    } else {
      this.selection.anchor = 0;
      this.extendTo(this.pages.count - 1);
    }
  }

  clearSelection() {
    this.selection.clear();
    this.showSelection();
    this.root.focus({ preventScroll: true }); // which a button that is hidden now may have had
  }

  /**
   * Select the range from the anchor, fetching what of it is not in memory.
   * @param {number} index
   */
  async extendTo(index) {
    const { first, end } = spanRange(this.selection.anchor, index);
    try {
      const assets = await this.pages.collect(first, end);
      this.selection.selectThese(assets.map((asset) => asset.id));
      this.showSelection();
    } catch (error) {
      this.events.onError(error);
    }
  }
}

/**
 * @param {KeyboardEvent} event
 * @returns {boolean}
 */
function isStackKey(event) {
  return event.key.toLowerCase() === "s" && !event.ctrlKey && !event.metaKey && !event.altKey;
}

/**
 * @param {MouseEvent} event
 * @returns {boolean}
 */
function isTouch(event) {
  return event instanceof PointerEvent && event.pointerType === "touch";
}
