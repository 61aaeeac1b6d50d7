// @ts-check
/**
 * Pads: fields for images. An image is dropped, pasted, chosen, photographed or dragged from a result; the studio keeps
 * it at once, and the field's value is its name there. In a pad for many, the names have spaces between.
 */

import { make, makeButton } from "../common/dom.js";
import { StudioError } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { openCamera } from "./camera.js";
import { findDraggedResult, listDroppedFiles } from "./dropped_files.js";
import { getImageAddress, keepFile, keepResult, parseImageNames } from "./kept_images.js";
import { announceImages, registerPad } from "./pad_registry.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {{name: string, label: string, many: boolean, hint: string}} PadOptions */
/** @typedef {{label: string, send: () => Promise<import("./kept_images.js").KeptImage>}} Upload */
/** @typedef {{label: string, error: unknown}} SkippedUpload */

const MAX_SHOWN = 60; // thumbnails on a pad for many
const MAX_OPEN_SKIPS = 5; // a longer list of skipped files stays folded

/**
 * Build a pad into its component.
 * @param {FieldHost} host
 * @param {PadOptions} options
 */
export function mountImagePad(host, options) {
  new ImagePad(host, options).mount();
}

class ImagePad {
  /**
   * @param {FieldHost} host
   * @param {PadOptions} options
   */
  constructor(host, options) {
    this.host = host;
    this.options = options;
    const { label, many, hint } = options;
    const chooser = {
      type: "file",
      accept: "image/*",
      multiple: many,
      hidden: true,
      tabindex: "-1",
      "aria-label": label,
    };
    this.file = make("input", chooser);
    this.folder = make("input", {
      type: "file",
      webkitdirectory: "",
      "aria-label": translate("Folder: {name}", { name: label }),
    });
    this.shown = make("div", { class: "pad-shown" });
    this.facts = make("span", { class: "pad-facts", role: "status" });
    this.skipped = make("div", { class: "pad-skips", role: "status" });
    const drop = make(
      "button",
      { type: "button", class: "pad-drop", onclick: () => this.file.click() },
      make("strong", {}, label),
      make("span", {}, hint),
    );
    const className = many ? "pad pad-many" : "pad";
    this.root = make("div", { class: className, role: "group", "aria-label": label });
    this.root.append(drop, this.buildSources(), this.shown, this.buildTools(), this.skipped, this.file);
  }

  mount() {
    const { host, options, root } = this;
    host.element.replaceChildren(root);
    for (const chooser of [this.file, this.folder]) {
      chooser.addEventListener("change", () => {
        this.addFiles([...(chooser.files ?? [])]);
        chooser.value = "";
      });
    }
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("pad-over");
    });
    root.addEventListener("dragleave", () => root.classList.remove("pad-over"));
    root.addEventListener("drop", (event) => this.handleDrop(event));
    host.watch("value", () => this.draw());
    const getImages = () => this.getImages();
    registerPad(options.name, { root, getImages, addFiles: (files) => this.addFiles(files) });
    this.draw();
  }

  /** The ways to add an image that an empty pad offers. */
  buildSources() {
    const camera = makeButton("Camera", () => openCamera((photo) => this.addFiles([photo])));
    return make("div", { class: "pad-ways" }, ...(this.options.many ? [this.buildFolderButton()] : []), camera);
  }

  /** What a filled pad offers. */
  buildTools() {
    const { label, many } = this.options;
    const addLabel = translate(many ? "Add to: {name}" : "Replace: {name}", { name: label });
    const add = makeButton(many ? "Add" : "Replace", () => this.file.click(), { "aria-label": addLabel });
    const remove = makeButton("Remove", () => this.setValue("", true), {
      "aria-label": translate("Remove: {name}", { name: label }),
    });
    const folder = many ? [this.buildFolderButton()] : [];
    return make("div", { class: "pad-tools" }, this.facts, add, ...folder, remove);
  }

  buildFolderButton() {
    const label = translate("Add a folder to: {name}", { name: this.options.label });
    return makeButton("Folder", () => this.folder.click(), { class: "mini pad-folder", "aria-label": label });
  }

  /** @returns {string[]} */
  getImages() {
    return parseImageNames(this.host.props.value);
  }

  draw() {
    const images = this.getImages();
    this.root.classList.toggle("pad-full", images.length > 0);
    this.facts.textContent = images.length > 1 ? translate("{count} images", { count: images.length }) : "";
    this.shown.replaceChildren(...images.slice(0, MAX_SHOWN).map((hash, index) => this.buildThumbnail(hash, index)));
    announceImages(this.options.name, images);
  }

  /**
   * @param {string} hash
   * @param {number} index
   * @returns {HTMLImageElement}
   */
  buildThumbnail(hash, index) {
    const count = this.getImages().length;
    const alt = this.options.many
      ? translate("Image {number} of {count}", { number: index + 1, count })
      : this.options.label;
    const image = make("img", { src: getImageAddress(hash), alt, draggable: "false" });
    image.addEventListener("load", () => {
      if (count === 1) this.facts.textContent = `${image.naturalWidth} × ${image.naturalHeight}`;
    });
    image.addEventListener("error", () => {
      const others = this.getImages().filter((other) => other !== hash);
      this.setValue(others.join(" "), true);
    });
    return image;
  }

  /**
   * @param {string} value
   * @param {boolean} byUser whether the user changed it, not the page
   */
  setValue(value, byUser) {
    if (value === (this.host.props.value ?? "")) return;
    this.host.props.value = value;
    this.draw();
    if (byUser) this.host.trigger("upload");
  }

  /** @param {DragEvent} event */
  async handleDrop(event) {
    event.preventDefault();
    this.root.classList.remove("pad-over");
    const transfer = event.dataTransfer;
    if (!transfer) return;
    const asset = findDraggedResult(transfer.getData("text/uri-list"), location.origin);
    if (asset) {
      this.upload([{ label: "the image", send: () => keepResult(asset) }]);
      return;
    }
    const files = await listDroppedFiles(transfer);
    if (files.length) this.addFiles(files);
    else {
      showError(
        new StudioError(
          translate("No image"),
          translate("Nothing that was dropped is an image."),
          translate("Drop an image file."),
        ),
      );
    }
  }

  /** @param {File[]} files */
  addFiles(files) {
    const wanted = this.options.many ? files : files.slice(0, 1);
    this.upload(wanted.map((file) => ({ label: file.webkitRelativePath || file.name, send: () => keepFile(file) })));
  }

  /** @param {Upload[]} uploads */
  async upload(uploads) {
    this.root.classList.add("pad-busy");
    const kept = [];
    const skipped = [];
    for (const { label, send } of uploads) {
      try {
        kept.push((await send()).hash);
      } catch (error) {
        skipped.push({ label, error });
      }
    }
    this.root.classList.remove("pad-busy");
    this.reportSkipped(skipped, uploads.length);
    if (!kept.length) return;
    this.setValue(this.options.many ? [...new Set([...this.getImages(), ...kept])].join(" ") : kept[0], true);
  }

  /**
   * Report what was not added: a single file in a toast, of several files each with its reason below the others.
   * @param {SkippedUpload[]} skipped
   * @param {number} count of all files
   */
  reportSkipped(skipped, count) {
    this.skipped.replaceChildren();
    if (!skipped.length) return;
    if (count === 1) {
      showError(skipped[0].error);
      return;
    }
    const rows = skipped.map(({ label, error }) => {
      const reason = error instanceof Error ? error.message : String(error);
      return make("tr", {}, make("td", {}, label), make("td", {}, reason));
    });
    const summary = make(
      "summary",
      {},
      translate("{number} of {count} files skipped", { number: skipped.length, count }),
    );
    const details = make("details", { open: skipped.length <= MAX_OPEN_SKIPS }, summary, make("table", {}, ...rows));
    this.skipped.append(details);
  }
}
