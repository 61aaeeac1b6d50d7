// @ts-check
/** The layer that is painted on: strokes, whole changes, and the layer as a file. */

import { getContext, make } from "../common/dom.js";

/** @typedef {import("./viewport.js").Point} Point */
/** @typedef {{left: number, top: number, data: ImageData}} Patch pixels as they were before a change */
/** @typedef {{radius: number, colour: string, erases: boolean}} Brush */
/** @typedef {{last: Point, left: number, right: number, top: number, bottom: number}} Stroke */

const MAX_SIDE = 2048; // px that are painted on; the studio scales the layer to the image's own size
const MASK_RGB = [0, 183, 255];
const MASK_COLOUR = `rgb(${MASK_RGB.join(" ")})`;

export class PaintLayer {
  /** @param {boolean} isMask whether it is a mask, which has one colour */
  constructor(isMask) {
    this.isMask = isMask;
    this.canvas = make("canvas", { class: isMask ? "paint-mask" : "paint-colour" });
    this.context = getContext(this.canvas, { willReadFrequently: true });
    this.before = getContext(document.createElement("canvas")); // the layer as it was when the stroke began
    /** @type {Stroke | null} */
    this.stroke = null;
  }

  /**
   * Take on the size of an image, and become empty.
   * @param {number} width px
   * @param {number} height px
   */
  resize(width, height) {
    const shrink = Math.min(1, MAX_SIDE / Math.max(width, height));
    this.canvas.width = this.before.canvas.width = Math.max(1, Math.round(width * shrink));
    this.canvas.height = this.before.canvas.height = Math.max(1, Math.round(height * shrink));
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /**
   * Take on a layer that was kept before; a mask's light parts become covered.
   * @param {HTMLImageElement} image
   */
  stamp(image) {
    const { context, canvas } = this;
    this.clear();
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    if (!this.isMask) return;
    const pixels = this.#read();
    const { data } = pixels;
    for (let at = 0; at < data.length; at += 4) {
      const light = (data[at] * 299 + data[at + 1] * 587 + data[at + 2] * 114) / 1000;
      data.set([...MASK_RGB, Math.round((light * data[at + 3]) / 255)], at);
    }
    context.putImageData(pixels, 0, 0);
  }

  /** Cover what is free, and free what is covered. */
  invert() {
    const { context, canvas } = this;
    context.save();
    context.globalCompositeOperation = "source-out";
    context.fillStyle = MASK_COLOUR;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.restore();
  }

  /**
   * @param {Point} at px of the layer
   * @param {Brush} brush
   */
  beginStroke(at, brush) {
    this.before.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.before.drawImage(this.canvas, 0, 0);
    this.stroke = { last: at, left: at.x, right: at.x, top: at.y, bottom: at.y };
    this.#drawLine(at, at, brush);
  }

  /**
   * @param {Point} at
   * @param {Brush} brush
   */
  extendStroke(at, brush) {
    const { stroke } = this;
    if (!stroke) return;
    this.#drawLine(stroke.last, at, brush);
    stroke.last = at;
    stroke.left = Math.min(stroke.left, at.x);
    stroke.right = Math.max(stroke.right, at.x);
    stroke.top = Math.min(stroke.top, at.y);
    stroke.bottom = Math.max(stroke.bottom, at.y);
  }

  /**
   * End the stroke.
   * @param {number} radius of the brush
   * @returns {Patch | null} what reverts it, null where nothing was painted
   */
  endStroke(radius) {
    const { stroke, canvas } = this;
    this.stroke = null;
    if (!stroke) return null;
    const room = radius + 2; // px, for smoothed edges
    const left = Math.max(0, Math.floor(stroke.left - room));
    const top = Math.max(0, Math.floor(stroke.top - room));
    const width = Math.min(canvas.width, Math.ceil(stroke.right + room)) - left;
    const height = Math.min(canvas.height, Math.ceil(stroke.bottom + room)) - top;
    if (width <= 0 || height <= 0) return null;
    return { left, top, data: this.before.getImageData(left, top, width, height) };
  }

  /**
   * Make a change to the whole layer.
   * @param {() => void} change
   * @returns {Patch} what reverts it
   */
  changeAll(change) {
    const data = this.#read();
    change();
    return { left: 0, top: 0, data };
  }

  /**
   * Apply a patch.
   * @param {Patch} patch
   * @returns {Patch} what reverts that
   */
  swap({ left, top, data }) {
    const now = this.context.getImageData(left, top, data.width, data.height);
    this.context.putImageData(data, left, top);
    return { left, top, data: now };
  }

  /** @returns {boolean} */
  isEmpty() {
    return !new Uint32Array(this.#read().data.buffer).some((pixel) => pixel);
  }

  /**
   * The layer as a PNG: of a mask, white on black.
   * @returns {Promise<Blob>}
   */
  toBlob() {
    const { width, height } = this.canvas;
    const context = getContext(make("canvas", { width, height }));
    context.drawImage(this.canvas, 0, 0);
    if (this.isMask) {
      fill(context, "source-in", "#fff");
      fill(context, "destination-over", "#000");
    }
    return new Promise((resolve, reject) => {
      const finish = (/** @type {Blob | null} */ blob) =>
        blob ? resolve(blob) : reject(new Error("The layer is too large."));
      context.canvas.toBlob(finish, "image/png");
    });
  }

  #read() {
    return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  /**
   * @param {Point} from
   * @param {Point} to
   * @param {Brush} brush
   */
  #drawLine(from, to, brush) {
    const { context } = this;
    context.save();
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = 2 * brush.radius;
    context.globalCompositeOperation = brush.erases ? "destination-out" : "source-over";
    context.strokeStyle = this.isMask ? MASK_COLOUR : brush.colour;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.01, to.y); // a line of no length is not drawn
    context.stroke();
    context.restore();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {GlobalCompositeOperation} mode
 * @param {string} color
 */
function fill(context, mode, color) {
  context.globalCompositeOperation = mode;
  context.fillStyle = color;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
}
