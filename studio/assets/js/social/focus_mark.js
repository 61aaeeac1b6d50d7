// @ts-check
/** The image of the board, with a box around what every crop must keep. */

import { make } from "../common/dom.js";
import { ARROW_KEYS, clamp, formatPlacement, shiftBox, spanBox } from "./crop_geometry.js";

/** @typedef {import("./crop_geometry.js").Box} Box */
/** @typedef {import("./crop_geometry.js").Point} Point */

const STEP = 0.02; // of the image, per key
/** @type {Box} */
const FIRST_BOX = [0.44, 0.44, 0.56, 0.56]; // where keys begin

export class FocusMark {
  /** @param {(box: Box) => void} onMarked */
  constructor(onMarked) {
    this.onMarked = onMarked;
    this.image = make("img", { alt: "The image", draggable: "false" });
    this.box = make("i", { class: "focus-box", hidden: true });
    const label = "Main subject: drag a box around it, or click on it.";
    const sheet = { class: "focus-sheet", tabindex: "0", role: "application", "aria-label": label };
    this.root = make("div", sheet, this.image, this.box);
    this.isEnabled = false;
    /** @type {Box | null} */
    this.marked = null;
    /** @type {Point | null} where the drag began */
    this.start = null;
    this.#listen();
  }

  /** @param {Box | null} box */
  show(box) {
    this.marked = box;
    this.#place(box);
  }

  /** @param {Box | null} box */
  #place(box) {
    this.box.hidden = !box;
    if (!box) return;
    const [left, top, right, bottom] = box;
    this.box.style.cssText = formatPlacement({ left, top, width: right - left, height: bottom - top });
  }

  #listen() {
    const { root } = this;
    root.addEventListener("pointerdown", (event) => {
      if (!this.isEnabled) return;
      event.preventDefault();
      this.start = this.#locate(event);
      root.setPointerCapture(event.pointerId);
    });
    root.addEventListener("pointermove", (event) => {
      if (this.start) this.#place(spanBox(this.start, this.#locate(event)));
    });
    root.addEventListener("pointerup", (event) => {
      if (!this.start) return;
      const box = spanBox(this.start, this.#locate(event));
      this.start = null;
      this.onMarked(box);
    });
    root.addEventListener("pointercancel", () => {
      this.start = null;
      this.#place(this.marked);
    });
    root.addEventListener("keydown", (event) => {
      const step = ARROW_KEYS[event.key];
      if (!step || !this.isEnabled) return;
      event.preventDefault();
      this.onMarked(shiftBox(this.marked ?? FIRST_BOX, step[0] * STEP, step[1] * STEP));
    });
  }

  /**
   * @param {MouseEvent} event
   * @returns {Point}
   */
  #locate(event) {
    const frame = this.root.getBoundingClientRect();
    const x = clamp((event.clientX - frame.left) / frame.width, 0, 1);
    return [x, clamp((event.clientY - frame.top) / frame.height, 0, 1)];
  }
}
