// @ts-check
/**
 * A card of the board: a format as the crop that it will be. It is drawn here, from one small image and a box, so that
 * dragging needs no answer from the studio; what a crop keeps and loses, the studio finds out.
 */

import { make, makeButton } from "../common/dom.js";
import { findBox } from "../common/gradio_dom.js";
import { isExtended, judgeCrop, listBadges } from "./crop_advice.js";
import { makeDraggable } from "./crop_drag.js";
import { drawDevice, drawExtension, drawText } from "./crop_drawing.js";
import { formatPlacement, placeCrop, placeWhole, scaleBox } from "./crop_geometry.js";

/** @typedef {import("./crop_advice.js").Advice} Advice */
/** @typedef {import("./crop_geometry.js").Box} Box */
/** @typedef {import("./format_store.js").BoardOptions} BoardOptions */
/** @typedef {import("./format_store.js").Format} Format */

/**
 * What a card asks of its board.
 * @typedef {object} CardHost
 * @property {(format: string, box: Box) => void} setOwnCrop
 * @property {(format: string) => void} resetCrop
 */

/**
 * What a card shows.
 * @typedef {object} CardContent
 * @property {string} address of the image
 * @property {[number, number] | null} size of the image, px; null while it loads
 * @property {Box | undefined} own the user's crop
 * @property {Advice | undefined} advice
 * @property {boolean} hasFocus whether the user marked what matters
 * @property {BoardOptions} options
 */

const SCALE_STEP = 1.15;
const EXTEND_FIELD = "#social-extend";

export class CropCard {
  /**
   * @param {Format} format
   * @param {CardHost} host
   */
  constructor(format, host) {
    this.format = format;
    this.host = host;
    /** @type {Box | null} */
    this.box = null;
    this.isFilled = false;
    /** @type {CardContent | null} */
    this.content = null;
    this.isFramed = false;
    this.image = make("img", { alt: "", draggable: "false" });
    this.ground = make("div", { class: "crop-ground", "aria-hidden": "true" });
    this.words = make("div", { class: "crop-words", "aria-hidden": "true" });
    const zones = make("div", { class: "crop-zones", "aria-hidden": "true" });
    zones.innerHTML = format.zones; // the studio makes it of its own data and escapes labels
    const help = "Drag or use the arrow keys to move the crop, plus and minus to change how much it shows.";
    const label = `${format.platform}, ${format.name}. ${help}`;
    const crop = { class: "crop", tabindex: "0", role: "application", "aria-label": label };
    this.crop = make("div", crop, this.ground, this.image, this.words, zones);
    this.device = make("div", { class: "device" }, this.crop);
    this.badges = make("p", { class: "card-badges" });
    this.keep = this.#button("Keep this crop", "Keep this crop", () => this.box && this.setOwnCrop(this.box));
    this.extend = this.#button("Extend …", "Keep the whole image and extend it", showExtendField);
    this.reset = this.#button("Reset", "Reset to the suggested crop", () => host.resetCrop(format.id));
    this.root = make("article", { class: "card", "data-format": format.id }, this.device, ...this.#buildCaption());
    drawDevice(this.device, this.crop, format, false);
    makeDraggable(this);
  }

  /** @returns {HTMLElement[]} */
  #buildCaption() {
    const { format } = this;
    const more = this.#button("−", "Show more", () => this.scale(SCALE_STEP));
    const less = this.#button("+", "Show less", () => this.scale(1 / SCALE_STEP));
    return [
      make("h4", {}, make("span", {}, format.platform), ` ${format.name}`),
      make("p", { class: "card-size" }, `${format.width} × ${format.height} ${format.type}`),
      this.badges,
      make("div", { class: "card-tools" }, this.keep, this.extend, this.reset, more, less),
    ];
  }

  /**
   * @param {string} text
   * @param {string} label
   * @param {() => void} onClick
   * @returns {HTMLButtonElement}
   */
  #button(text, label, onClick) {
    return makeButton(text, onClick, { "aria-label": `${label}: ${this.format.name}`, title: label });
  }

  /** @param {boolean} isFramed whether the platform's screen is drawn around the crop */
  setFramed(isFramed) {
    if (isFramed === this.isFramed) return;
    this.isFramed = isFramed;
    drawDevice(this.device, this.crop, this.format, isFramed);
  }

  /** @param {Box} box */
  setOwnCrop(box) {
    this.box = box;
    this.host.setOwnCrop(this.format.id, box);
  }

  /**
   * Show a box while it is dragged.
   * @param {Box} box
   */
  preview(box) {
    this.box = box;
    this.isFilled = false;
    this.#place(box);
  }

  /** @param {number} by above 1 the crop shows more */
  scale(by) {
    if (this.box) this.setOwnCrop(scaleBox(this.box, by));
  }

  /** @param {CardContent} content */
  show(content) {
    const { address, advice, own } = content;
    if (address !== this.content?.address) this.box = null;
    this.content = content;
    this.box = own ?? advice?.box ?? this.box;
    this.root.classList.toggle("card-busy", !this.box);
    if (!this.box || !content.size) return;
    if (this.image.getAttribute("src") !== address) this.image.src = address;
    this.isFilled = isExtended(advice, Boolean(own), content.options.extend);
    this.#place(this.box);
    this.#describe(content);
    drawText(this.words, this.format, content.options);
  }

  /** @param {CardContent} content */
  #describe({ advice, own, hasFocus, options }) {
    const state = {
      advice,
      isOwn: Boolean(own),
      isFilled: this.isFilled,
      mayAsk: !hasFocus && options.extend === "ask",
    };
    this.root.dataset.verdict = judgeCrop(state);
    const badges = listBadges(state).map(({ text, title }) => make("span", { class: "card-badge", title }, text));
    this.badges.replaceChildren(...badges);
    const isDecided = state.isOwn || state.isFilled;
    this.keep.hidden = isDecided || advice?.verdict === "good";
    this.extend.hidden = isDecided || advice?.verdict !== "extend";
    this.reset.hidden = !state.isOwn;
  }

  /**
   * Lay the image into the card: the box fills it, or the whole image stands in it, extended.
   * @param {Box} box
   */
  #place(box) {
    const { content } = this;
    if (!content?.size) return;
    const placement = this.isFilled ? placeWhole(content.size, this.format) : placeCrop(box);
    this.image.style.cssText = formatPlacement(placement);
    this.root.dataset.box = box.map((side) => side.toFixed(3)).join(" ");
    this.crop.dataset.slides = box[3] - box[1] > 0.999 ? "x" : "y";
    const { extend, border } = content.options;
    drawExtension(this.ground, content.address, placement, { how: this.isFilled ? (extend ?? "") : "", border });
  }
}

function showExtendField() {
  const field = findBox(EXTEND_FIELD);
  field?.scrollIntoView({ block: "center" });
  field?.focus();
}
