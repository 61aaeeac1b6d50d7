// @ts-check
/** Selecting thumbnails by dragging a rectangle over them. */

import { make } from "../common/dom.js";
import { listTouched } from "./grid_layout.js";

/** @typedef {import("./thumbnail_grid.js").ThumbnailGrid} ThumbnailGrid */

const FIRST_MOVE = 6; // px until a press is a drag
const EDGE = 40; // px at which the grid scrolls
const SCROLL_STEP = 18; // px, in each frame

export class RubberBand {
  /** @param {ThumbnailGrid} owner */
  constructor(owner) {
    this.owner = owner;
    this.box = make("div", { class: "lib-band", "aria-hidden": "true", hidden: true });
    owner.canvas.append(this.box);
    /** @type {{x: number, y: number, before: Set<string>} | null} where the drag began, and what was selected */
    this.start = null;
    this.pointer = { x: 0, y: 0 }; // in the window
    this.isDragging = false;
    this.endedAt = 0;
    /** @type {Map<number, string[]>} ids by index, of all that was touched during the drag */
    this.touched = new Map();
    owner.root.addEventListener("pointerdown", (event) => this.begin(event));
    owner.root.addEventListener("pointermove", (event) => this.move(event));
    owner.root.addEventListener("pointerup", () => this.end());
    owner.root.addEventListener("pointercancel", () => this.end());
  }

  /** @returns {boolean} whether the click that comes now belongs to a drag */
  hasJustEnded() {
    return performance.now() - this.endedAt < 50;
  }

  /** @param {PointerEvent} event */
  begin(event) {
    const { root, selection } = this.owner;
    const isOnScrollbar = event.clientX >= root.getBoundingClientRect().left + root.clientWidth;
    if (event.button || event.pointerType === "touch" || isOnScrollbar) return;
    const before = event.ctrlKey || event.metaKey || event.shiftKey ? new Set(selection.ids) : new Set();
    this.start = { ...this.locate(event.clientX, event.clientY), before };
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (!this.start) return;
    this.pointer = { x: event.clientX, y: event.clientY };
    if (this.isDragging) return;
    const now = this.locate(event.clientX, event.clientY);
    if (Math.hypot(now.x - this.start.x, now.y - this.start.y) < FIRST_MOVE) return;
    this.isDragging = true;
    this.touched.clear();
    this.owner.root.setPointerCapture(event.pointerId);
    this.owner.canvas.append(this.box);
    this.box.hidden = false;
    this.follow();
  }

  /** Draw and select in every frame while the drag lasts, and scroll near the edges. */
  follow() {
    if (!this.isDragging) return;
    const { root } = this.owner;
    const { top, bottom } = root.getBoundingClientRect();
    if (this.pointer.y < top + EDGE) root.scrollTop -= SCROLL_STEP;
    else if (this.pointer.y > bottom - EDGE) root.scrollTop += SCROLL_STEP;
    this.update();
    requestAnimationFrame(() => this.follow());
  }

  update() {
    const { grid, pages, selection } = this.owner;
    if (!this.start) return;
    const now = this.locate(this.pointer.x, this.pointer.y);
    const left = Math.min(this.start.x, now.x);
    const top = Math.min(this.start.y, now.y);
    const area = { left, top, right: Math.max(this.start.x, now.x), bottom: Math.max(this.start.y, now.y) };
    this.box.style.cssText = `left:${left}px;top:${top}px;width:${area.right - left}px;height:${area.bottom - top}px`;
    const ids = [];
    for (const index of listTouched(grid, area, pages.count)) {
      const here = pages.getStack(index).map((asset) => asset.id);
      const known = here.length ? here : (this.touched.get(index) ?? []);
      this.touched.set(index, known);
      ids.push(...known);
    }
    selection.selectThese(ids, this.start.before);
    this.owner.showSelection();
  }

  end() {
    if (this.isDragging) {
      this.update();
      this.endedAt = performance.now();
    }
    this.isDragging = false;
    this.start = null;
    this.box.hidden = true;
  }

  /**
   * @param {number} clientX
   * @param {number} clientY
   * @returns {{x: number, y: number}} px, from the upper left corner of the canvas
   */
  locate(clientX, clientY) {
    const corner = this.owner.canvas.getBoundingClientRect();
    return { x: clientX - corner.left, y: clientY - corner.top };
  }
}
