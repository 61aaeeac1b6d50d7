// @ts-check
/**
 * The board of the Social Optimizer: every chosen format as its crop. Its value is JSON:
 * {crops: {image: {format: box}}, focus: {image: box}, view: {zones, frame}}.
 */

import { findAll, isPressed, make, makeButton, setPressed } from "../common/dom.js";
import { postJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { followImages } from "../images/pad_registry.js";
import { CropCard } from "./crop_card.js";
import { roundBox } from "./crop_geometry.js";
import { FocusMark } from "./focus_mark.js";
import { formatStore } from "./format_store.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("./crop_advice.js").Advice} Advice */
/** @typedef {import("./crop_geometry.js").Box} Box */
/** @typedef {import("./format_store.js").Format} Format */

/**
 * @typedef {object} BoardState
 * @property {Record<string, Record<string, Box>>} [crops]
 * @property {Record<string, Box>} [focus]
 * @property {Record<string, boolean>} [view]
 */

const ADVICE_DELAY_MS = 300; // of quiet before the studio is asked
const MAX_SHOWN = 60; // images in the strip
const FOCUS_HELP =
  "Drag a box around the main subject, or click on it, and every crop keeps it. Without a mark, the studio looks for" +
  " faces, subject and text.";

/**
 * Build the board into its component.
 * @param {FieldHost} host
 * @param {{over: string}} options `over` names the pad with the images
 */
export function mountBoard(host, options) {
  new Board(host, options.over).mount();
}

class Board {
  /**
   * @param {FieldHost} host
   * @param {string} pad
   */
  constructor(host, pad) {
    this.host = host;
    this.pad = pad;
    this.state = parseState(host.props.value);
    /** @type {string[]} */
    this.images = [];
    this.hash = ""; // the shown image
    /** @type {[number, number] | null} px; null until it is loaded */
    this.size = null;
    this.timer = 0;
    this.round = 0; // of questions to the studio
    /** @type {Map<string, Advice>} by everything that the advice depends on */
    this.advice = new Map();
    /** @type {Map<string, CropCard>} by format */
    this.cards = new Map();
    this.focus = new FocusMark((box) => this.setFocus(box));
    this.clear = makeButton("Remove mark", () => this.setFocus(null));
    this.strip = make("div", { class: "board-strip", role: "group", "aria-label": "Images" });
    this.summary = make("span", { class: "board-summary", role: "status" });
    this.zones = this.buildViewButton("zones", "Safe zones");
    this.frame = this.buildViewButton("frame", "Device preview");
    const reset = makeButton("Reset crops", () => this.resetAll());
    this.tools = make("div", { class: "board-tools" }, this.summary, this.zones, this.frame, reset);
    this.grid = make("div", { class: "cards" });
    this.hint = make("p", { class: "board-empty" });
    const help = make(
      "div",
      {},
      make("strong", {}, translate("Main subject")),
      make("p", { class: "note" }, FOCUS_HELP),
      this.clear,
    );
    const source = make("div", { class: "board-source" }, this.focus.root, help);
    this.root = make("div", { class: "board" }, this.strip, source, this.tools, this.hint, this.grid);
  }

  mount() {
    const { host, root } = this;
    host.element.replaceChildren(root);
    this.focus.image.addEventListener("load", () => {
      this.size = [this.focus.image.naturalWidth, this.focus.image.naturalHeight];
      this.draw();
    });
    followImages(this.pad, root, (hashes) => this.setImages(hashes));
    formatStore.follow(root, () => this.draw());
    host.watch("value", () => {
      const state = parseState(host.props.value);
      if (JSON.stringify(state) === JSON.stringify(this.state)) return;
      this.state = state;
      this.draw();
    });
    formatStore.load().then(
      () => this.draw(),
      () => {}, // the list of formats reports it
    );
  }

  /**
   * @param {string} name
   * @param {string} label
   * @returns {HTMLButtonElement}
   */
  buildViewButton(name, label) {
    const button = makeButton(label, () => {
      this.state.view = { ...this.state.view, [name]: !isPressed(button) };
      this.saveAndDraw();
    });
    button.dataset.view = name;
    setPressed(button, false);
    return button;
  }

  /** @param {string[]} images hashes */
  setImages(images) {
    this.images = images;
    const buttons = images.slice(0, MAX_SHOWN).map((hash, index) => {
      const label = translate("Image {number} of {count}", { number: index + 1, count: images.length });
      const thumbnail = make("img", { src: getPreviewAddress(hash), alt: "", loading: "lazy" });
      const attributes = { type: "button", "data-hash": hash, "aria-label": label, onclick: () => this.setImage(hash) };
      return make("button", attributes, thumbnail);
    });
    this.strip.replaceChildren(...buttons);
    this.setImage(images.includes(this.hash) ? this.hash : (images[0] ?? ""));
  }

  /** @param {string} hash "" for none */
  setImage(hash) {
    this.hash = hash;
    this.size = null;
    this.focus.isEnabled = Boolean(hash);
    this.strip.hidden = this.images.length < 2;
    for (const button of findAll("button", this.strip)) setPressed(button, button.dataset.hash === hash);
    if (hash) this.focus.image.src = getPreviewAddress(hash);
    else this.focus.image.removeAttribute("src");
    this.draw();
  }

  /** @param {Box | null} box null removes the mark */
  setFocus(box) {
    this.state.focus = { ...this.state.focus };
    if (box) this.state.focus[this.hash] = roundBox(box, 4);
    else delete this.state.focus[this.hash];
    this.saveAndDraw();
  }

  /**
   * @param {string} format
   * @param {Box} box
   */
  setOwnCrop(format, box) {
    const crops = { ...this.state.crops?.[this.hash], [format]: roundBox(box, 5) };
    this.state.crops = { ...this.state.crops, [this.hash]: crops };
    this.save();
    this.showCard(format);
    this.askForAdvice();
  }

  /** @param {string} format */
  resetCrop(format) {
    delete this.state.crops?.[this.hash]?.[format];
    this.saveAndDraw();
  }

  resetAll() {
    delete this.state.crops?.[this.hash];
    this.saveAndDraw();
  }

  save() {
    this.host.props.value = JSON.stringify(this.state);
  }

  saveAndDraw() {
    this.save();
    this.draw();
  }

  /** @returns {Box | null} */
  getFocus() {
    return this.state.focus?.[this.hash] ?? null;
  }

  /**
   * @param {string} format
   * @returns {Box | undefined}
   */
  getOwnCrop(format) {
    return this.state.crops?.[this.hash]?.[format];
  }

  /**
   * @param {string} format
   * @returns {string} everything that the advice on a crop depends on
   */
  getAdviceKey(format) {
    const { same } = formatStore.options;
    return JSON.stringify([this.hash, format, this.getFocus(), same, this.getOwnCrop(format) ?? null]);
  }

  draw() {
    const chosen = this.hash ? formatStore.chosen : [];
    const view = this.state.view ?? {};
    this.root.classList.toggle("board-idle", !this.hash);
    this.root.classList.toggle("board-zones", Boolean(view.zones));
    for (const button of [this.zones, this.frame]) setPressed(button, Boolean(view[button.dataset.view ?? ""]));
    this.hint.textContent = describeEmptyBoard(Boolean(this.hash), chosen.length);
    this.hint.hidden = !this.hint.textContent;
    this.tools.hidden = !chosen.length;
    this.focus.show(this.getFocus());
    this.clear.hidden = !this.getFocus();
    this.layCards(chosen);
    this.showSummary();
    this.askForAdvice();
  }

  /** @param {string[]} chosen formats, in their order on the board */
  layCards(chosen) {
    for (const [format, card] of this.cards) {
      if (chosen.includes(format)) continue;
      card.root.remove();
      this.cards.delete(format);
    }
    chosen.forEach((id, index) => {
      const format = formatStore.formats.get(id);
      if (!format) return;
      const card = this.cards.get(id) ?? this.addCard(format);
      if (this.grid.children[index] !== card.root) this.grid.insertBefore(card.root, this.grid.children[index] ?? null);
      card.setFramed(Boolean(this.state.view?.frame));
      this.showCard(id);
    });
  }

  /**
   * @param {Format} format
   * @returns {CropCard}
   */
  addCard(format) {
    const card = new CropCard(format, {
      setOwnCrop: (id, box) => this.setOwnCrop(id, box),
      resetCrop: (id) => this.resetCrop(id),
    });
    this.cards.set(format.id, card);
    return card;
  }

  /** @param {string} format */
  showCard(format) {
    this.cards.get(format)?.show({
      address: getPreviewAddress(this.hash),
      size: this.size,
      own: this.getOwnCrop(format),
      advice: this.advice.get(this.getAdviceKey(format)),
      hasFocus: Boolean(this.getFocus()),
      options: formatStore.options,
    });
  }

  showSummary() {
    const count = this.cards.size;
    const undecided = findAll('[data-verdict="asks"]', this.grid).length;
    const question = undecided ? ` · ${translate("{count} to decide", { count: undecided })}` : "";
    const formats = count === 1 ? translate("1 format") : translate("{count} formats", { count });
    this.summary.textContent = formats + question;
  }

  askForAdvice() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.loadAdvice(), ADVICE_DELAY_MS);
  }

  /** Ask the studio for the crops that are not known yet. */
  async loadAdvice() {
    const formats = this.size ? formatStore.chosen.filter((id) => !this.advice.has(this.getAdviceKey(id))) : [];
    if (!formats.length) return;
    const round = ++this.round;
    const keys = formats.map((id) => this.getAdviceKey(id));
    const crops = Object.fromEntries(formats.flatMap((id) => (this.getOwnCrop(id) ? [[id, this.getOwnCrop(id)]] : [])));
    const same = Boolean(formatStore.options.same);
    this.root.classList.add("board-busy");
    try {
      const body = { picture: this.hash, formats, focus: this.getFocus(), same, crops };
      /** @type {Advice[]} */
      const answers = await postJson("page/social/advice", body);
      answers.forEach((answer, index) => this.advice.set(keys[index], answer));
      for (const format of this.cards.keys()) this.showCard(format);
      this.showSummary();
    } catch (error) {
      showError(error);
    }
    if (round === this.round) this.root.classList.remove("board-busy");
  }
}

/**
 * @param {string} hash
 * @returns {string} where a small copy of the image is
 */
function getPreviewAddress(hash) {
  return `page/social/look/${hash}`;
}

/**
 * Read the board's value; anything that is no JSON object is an empty board.
 * @param {string | null} value
 * @returns {BoardState}
 */
export function parseState(value) {
  try {
    return JSON.parse(value ?? "") || {};
  } catch {
    return {};
  }
}

/**
 * @param {boolean} hasImage
 * @param {number} formats
 * @returns {string}
 */
function describeEmptyBoard(hasImage, formats) {
  if (!hasImage) return translate("Drop an image, choose formats, and every crop is shown here.");
  return formats ? "" : translate("Choose formats in the list.");
}
