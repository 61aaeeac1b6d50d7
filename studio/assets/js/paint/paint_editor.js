// @ts-check
/**
 * Painting over an image: a mask (white is what changes), a sketch in colours, or areas in the colours of a palette,
 * these also on a blank sheet of the size of a form. Brush and eraser, undo and redo, zoom and pan, by mouse, pen,
 * fingers or keys. The value is the name of the kept mask, or of the kept layer of paint.
 */

import { make } from "../common/dom.js";
import { onBeforeJob, trackPending } from "../common/pending_work.js";
import { showError } from "../common/toasts.js";
import { getImageAddress, keepFile, loadImage } from "../images/kept_images.js";
import { followImages } from "../images/pad_registry.js";
import { PatchHistory } from "./patch_history.js";
import { readPaintKey } from "./paint_keys.js";
import { PaintLayer } from "./paint_layer.js";
import { listenToPointers } from "./paint_pointer.js";
import { PaintToolbar } from "./paint_toolbar.js";
import { Viewport } from "./viewport.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("./paint_layer.js").Patch} Patch */
/** @typedef {import("./paint_toolbar.js").Tool} Tool */
/** @typedef {import("./viewport.js").Point} Point */
/** @typedef {{colour: string, name: string}} PaletteColour */
/**
 * @typedef {object} PaintOptions
 * @property {string} label
 * @property {"mask" | "paint" | "areas"} kind
 * @property {string} over the pad with the image; "" for a blank sheet
 * @property {PaletteColour[]} [palette] the colours that there are; without it any
 * @property {string[]} [size] ids of the fields with the width and height of a blank sheet
 */

const MAX_UNDO = 40;
const SAVE_DELAY_MS = 700; // of quiet after a stroke
const KEYS_HELP =
  "Arrow keys move the brush, Space paints, E erases, [ and ] change the size, Control Z undoes, plus and minus zoom.";
/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { left: [-1, 0], right: [1, 0], up: [0, -1], down: [0, 1], paint: [0, 0] };

/**
 * Build the editor into its component.
 * @param {FieldHost} host
 * @param {PaintOptions} options
 */
export function mountPaintEditor(host, options) {
  new PaintEditor(host, options).mount();
}

export class PaintEditor {
  /**
   * @param {FieldHost} host
   * @param {PaintOptions} options
   */
  constructor(host, options) {
    this.host = host;
    this.options = options;
    this.layer = new PaintLayer(options.kind === "mask");
    this.viewport = new Viewport();
    /** @type {PatchHistory<Patch>} */
    this.history = new PatchHistory((patch) => this.layer.swap(patch), MAX_UNDO);
    this.toolbar = new PaintToolbar(options.label, this.layer.isMask, this.#getActions(), options.palette);
    this.image = make("img", { alt: "", draggable: "false" });
    this.sheet = make("div", { class: "paint-sheet" }, this.image, this.layer.canvas);
    this.ring = make("i", { class: "paint-ring", hidden: true });
    const help = `${options.label}. ${translate(KEYS_HELP)}`;
    const view = { class: "paint-view", tabindex: "0", role: "application", "aria-label": help };
    this.view = make("div", view, this.sheet, this.ring);
    const root = { class: `paint paint-of-${options.kind}`, role: "group", "aria-label": options.label };
    this.root = make("div", root, this.toolbar.root, this.view);
    /** @type {Tool} */
    this.tool = "brush";
    this.isReady = false;
    this.isDirty = false;
    this.source = ""; // hash of the image below
    this.saved = ""; // the value that the layer shows
    this.timer = 0;
    /** @type {Point | null} where the keys have moved the brush */
    this.cursor = null;
  }

  mount() {
    const { host, root, view, toolbar } = this;
    host.element.replaceChildren(root);
    this.image.addEventListener("load", () => this.#startOver());
    toolbar.size.addEventListener("input", () => this.showBrush(this.cursor ?? this.#getMiddle()));
    listenToPointers(view, this);
    view.addEventListener("keydown", (event) => {
      if (!this.isReady || !this.#run(readPaintKey(event), event.shiftKey)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    onBeforeJob(root, () => this.save());
    document.addEventListener("visibilitychange", () => root.isConnected && this.save());
    new ResizeObserver(() => this.fit()).observe(view);
    host.watch("value", () => this.#restore());
    if (this.options.over) {
      followImages(this.options.over, root, ([hash]) => this.#setSource(hash ?? "", hash ? getImageAddress(hash) : ""));
    } else {
      for (const kind of ["pointerenter", "focusin"]) root.addEventListener(kind, () => this.#followSize());
      this.#followSize();
    }
    this.#update();
  }

  get isPainting() {
    return Boolean(this.layer.stroke);
  }

  get isWide() {
    return this.root.classList.contains("wide");
  }

  /** @returns {number} px of the layer, at least half a pixel */
  get radius() {
    const { width, height } = this.layer.canvas;
    return Math.max(0.5, ((Number(this.toolbar.size.value) / 100) ** 1.5 * Math.max(width, height)) / 4);
  }

  /** @returns {import("./paint_layer.js").Brush} */
  get brush() {
    return { radius: this.radius, colour: this.toolbar.getColour(), erases: this.tool === "eraser" };
  }

  /** @param {Point} at in the view */
  beginStroke(at) {
    this.cursor = null;
    this.layer.beginStroke(this.viewport.toSheet(at), this.brush);
  }

  /** @param {Point} at in the view */
  extendStroke(at) {
    this.layer.extendStroke(this.viewport.toSheet(at), this.brush);
  }

  endStroke() {
    const patch = this.layer.endStroke(this.radius);
    if (patch) this.#record(patch);
  }

  cancelStroke() {
    const patch = this.layer.endStroke(this.radius);
    if (patch) this.layer.swap(patch);
  }

  /** Show the whole image. */
  fit() {
    const { view, sheet, viewport } = this;
    if (!this.isReady || !view.clientWidth) return;
    const { width, height } = this.layer.canvas;
    sheet.style.width = `${width}px`;
    sheet.style.height = `${height}px`;
    viewport.fit({ width: view.clientWidth, height: view.clientHeight }, { width, height });
    this.#place();
  }

  /**
   * @param {number} factor
   * @param {Point} [center] in the view, by default its middle
   */
  zoom(factor, center = { x: this.view.clientWidth / 2, y: this.view.clientHeight / 2 }) {
    this.viewport.zoom(factor, center);
    this.#place();
  }

  /**
   * @param {number} dx CSS px
   * @param {number} dy CSS px
   */
  pan(dx, dy) {
    this.viewport.pan(dx, dy);
    this.#place();
  }

  /**
   * Show the brush as a ring, or hide it.
   * @param {Point | null} at px of the layer
   */
  showBrush(at) {
    this.ring.hidden = !at || this.tool === "hand" || !this.isReady;
    if (!at || this.ring.hidden) return;
    const { x, y } = this.viewport.toView(at);
    const across = Math.max(4, 2 * this.radius * this.viewport.scale);
    this.ring.style.cssText = `left:${x}px;top:${y}px;width:${across}px;height:${across}px`;
  }

  /** Send the layer to the studio, where it changed since the last time. */
  save() {
    clearTimeout(this.timer);
    if (!this.isDirty || !this.isReady) return;
    this.isDirty = false;
    if (this.layer.isEmpty()) this.#setValue("");
    else trackPending(this.#send()).catch(showError);
  }

  async #send() {
    const { source } = this;
    const { kind } = this.options;
    const query = kind === "areas" ? {} : { [kind === "mask" ? "mask_of" : "paint_on"]: source };
    const kept = await keepFile(await this.layer.toBlob(), query);
    if (this.source === source && !this.isDirty) this.#setValue(kept.hash);
  }

  /** @returns {import("./paint_toolbar.js").ToolbarActions} */
  #getActions() {
    return {
      chooseTool: (tool) => this.#chooseTool(tool),
      undo: () => this.#undo(),
      redo: () => this.#redo(),
      clear: () => this.#changeAll(() => this.layer.clear()),
      invert: () => this.#changeAll(() => this.layer.invert()),
      loadMask: (file) => this.#loadMask(file),
      zoom: (factor) => this.zoom(factor),
      fit: () => this.fit(),
      toggleWide: () => this.#setWide(!this.isWide),
    };
  }

  /**
   * @param {string} name of the image below: its hash, or the size of a blank sheet; "" for none
   * @param {string} address
   */
  #setSource(name, address) {
    if (name === this.source) return;
    this.source = name;
    this.isReady = false;
    this.root.classList.toggle("paint-idle", !name);
    if (name) this.image.src = address;
  }

  /** Lay a blank sheet of the form's size below; what is painted stays, in the new shape. */
  #followSize() {
    if (this.isDirty || this.isPainting) return;
    const [width, height] = (this.options.size ?? []).map((id) => readNumber(id));
    const sheet = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"/>`;
    this.#setSource(`${width}x${height}`, `data:image/svg+xml,${encodeURIComponent(sheet)}`);
  }

  /** Begin an empty layer over the image that was loaded, then show what was painted on it before. */
  #startOver() {
    this.layer.resize(this.image.naturalWidth, this.image.naturalHeight);
    this.history.clear();
    this.isReady = true;
    this.saved = "";
    this.fit();
    this.#restore();
    this.#update();
  }

  /** Show the layer that the value names. */
  async #restore() {
    const wanted = this.host.props.value ?? "";
    if (!this.isReady || wanted === this.saved) return;
    this.saved = wanted;
    if (!wanted) {
      this.layer.clear();
      this.history.clear();
      this.#update();
      return;
    }
    try {
      const image = await loadImage(getImageAddress(wanted));
      if (this.saved === wanted) this.layer.stamp(image);
    } catch {
      this.#setValue("");
    }
  }

  /** @param {string} value */
  #setValue(value) {
    this.saved = value;
    if ((this.host.props.value ?? "") === value) return;
    this.host.props.value = value;
    this.host.trigger("input");
  }

  /** @param {Patch} patch reverts the change that was made */
  #record(patch) {
    this.history.record(patch);
    this.#scheduleSave();
  }

  #undo() {
    if (this.history.undo()) this.#scheduleSave();
  }

  #redo() {
    if (this.history.redo()) this.#scheduleSave();
  }

  #scheduleSave() {
    this.isDirty = true;
    this.#update();
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.save(), SAVE_DELAY_MS);
  }

  /** @param {() => void} change */
  #changeAll(change) {
    if (this.isReady) this.#record(this.layer.changeAll(change));
  }

  /** @param {File} file */
  async #loadMask(file) {
    if (!this.isReady) return;
    try {
      const kept = await keepFile(file, { mask_of: this.source });
      const image = await loadImage(getImageAddress(kept.hash));
      this.#changeAll(() => this.layer.stamp(image));
    } catch (error) {
      showError(error);
    }
  }

  /** @param {Tool} tool */
  #chooseTool(tool) {
    this.tool = tool;
    if (tool === "hand") this.cursor = null;
    this.#update();
  }

  /** @param {boolean} wide whether the editor fills the window */
  #setWide(wide) {
    this.root.classList.toggle("wide", wide);
    this.toolbar.wide.textContent = wide ? translate("Done") : "⤢";
    requestAnimationFrame(() => this.fit());
    this.view.focus();
  }

  #update() {
    this.toolbar.update(this.tool, this.history.canUndo, this.history.canRedo);
    this.root.dataset.tool = this.tool;
  }

  #place() {
    const { x, y, scale } = this.viewport;
    this.sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.showBrush(this.cursor);
  }

  /** @returns {Point} the middle of the view, in px of the layer */
  #getMiddle() {
    return this.viewport.toSheet({ x: this.view.clientWidth / 2, y: this.view.clientHeight / 2 });
  }

  /**
   * Run a command of the keyboard.
   * @param {string} command
   * @param {boolean} far whether the brush moves in large steps
   * @returns {boolean} whether there is such a command
   */
  #run(command, far) {
    if (command === "close" && !this.isWide) return false;
    if (command in DIRECTIONS) this.#moveBrush(DIRECTIONS[command], far, command === "paint");
    else {
      /** @type {Record<string, () => void>} */
      const commands = {
        brush: () => this.#chooseTool("brush"),
        eraser: () => this.#chooseTool("eraser"),
        hand: () => this.#chooseTool("hand"),
        smaller: () => this.#changeSize(-3),
        larger: () => this.#changeSize(3),
        zoomIn: () => this.zoom(1.4),
        zoomOut: () => this.zoom(1 / 1.4),
        fit: () => this.fit(),
        undo: () => this.#undo(),
        redo: () => this.#redo(),
        close: () => this.#setWide(false),
      };
      if (!(command in commands)) return false;
      commands[command]();
    }
    return true;
  }

  /** @param {number} by */
  #changeSize(by) {
    this.toolbar.size.value = String(Number(this.toolbar.size.value) + by);
    this.showBrush(this.cursor);
  }

  /**
   * Move the brush by keys, and paint a dot there.
   * @param {[number, number]} direction
   * @param {boolean} far
   * @param {boolean} paints
   */
  #moveBrush(direction, far, paints) {
    const { width, height } = this.layer.canvas;
    const from = this.cursor ?? { x: width / 2, y: height / 2 };
    const pace = Math.max(2, this.radius) * (far ? 4 : 1);
    const x = Math.min(width, Math.max(0, from.x + direction[0] * pace));
    const y = Math.min(height, Math.max(0, from.y + direction[1] * pace));
    this.cursor = { x, y };
    if (this.tool === "hand") this.#chooseTool("brush");
    if (paints) {
      this.layer.beginStroke(this.cursor, this.brush);
      this.endStroke();
    }
    this.showBrush(this.cursor);
    const place = `${Math.round((100 * x) / width)} %, ${Math.round((100 * y) / height)} %`;
    this.toolbar.status.textContent = paints ? translate("Painted at {place}", { place }) : "";
  }
}

/**
 * @param {string} id of a number field
 * @returns {number} px, 512 where the field is empty
 */
function readNumber(id) {
  const box = /** @type {HTMLInputElement | null} */ (document.querySelector(`#${id} input`));
  return Math.round(Number(box?.value)) || 512;
}
