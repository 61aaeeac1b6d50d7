// @ts-check
/** One asset with everything that is known of it. */

import { find, make, makeButton, setPressed } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { translate } from "../common/translate.js";
import { enlargeImage } from "../result/lightbox.js";
import { makeFavouriteButton, makeStars, readMarkKey, showStars } from "./asset_marks.js";
import { countUse, getAsset, patchAsset } from "./library_api.js";
import { buildSendButtons } from "./send_buttons.js";
import { setShownAsset } from "./shown_asset.js";
import { buildTagEditor } from "./tag_editor.js";

/** @typedef {import("./library_api.js").Asset} Asset */
/** @typedef {import("./library_api.js").AssetDetail} AssetDetail */
/** @typedef {import("./library_api.js").AssetPatch} AssetPatch */
/** @typedef {import("./library_api.js").BulkChange} BulkChange */
/** @typedef {import("./library_api.js").Relative} Relative */

/**
 * @typedef {object} DetailActions
 * @property {() => void} onClose
 * @property {(step: 1 | -1) => void} onStep to the next or the last asset of the list
 * @property {(assets: Asset[], change: BulkChange, done: string) => Promise<void>} onChange
 * @property {(asset: Asset) => void} onChanged it was changed here
 * @property {(asset: Asset) => void} onSimilar
 */

/** What uses are called. @type {Record<string, string>} */
const USES = {
  sent: "sent to a tab",
  downloaded: "downloaded",
  exported: "exported",
  parent: "used as a source",
  reused: "settings used again",
};

export class DetailView {
  /** @param {DetailActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {AssetDetail | null} */
    this.asset = null;
    this.id = ""; // of what is shown, or about to be
    this.round = 0;
    const back = makeButton("← Library", () => actions.onClose(), { class: "mini lib-back" });
    this.previous = makeButton("‹", () => actions.onStep(-1), {
      "aria-label": "Previous image",
      title: "Previous (←)",
    });
    this.next = makeButton("›", () => actions.onStep(1), { "aria-label": "Next image", title: "Next (→)" });
    this.favourite = makeFavouriteButton((favourite) => this.mark({ favourite }));
    this.stars = makeStars((rating) => this.mark({ rating }));
    this.trash = makeButton("Move to trash", () => this.toggleTrash());
    this.download = make("a", { class: "mini", download: true }, translate("Download"));
    this.download.addEventListener("click", () => this.countUse("downloaded"));
    const head = [back, this.previous, this.next, this.favourite, this.stars, this.download, this.trash];
    this.media = make("div", { class: "lib-media" });
    this.side = make("div", { class: "lib-side" });
    this.root = make("section", { class: "lib-detail", "aria-label": "Image", tabindex: -1, hidden: true });
    this.root.append(make("div", { class: "lib-detail-head" }, ...head), this.media, this.side);
    this.root.addEventListener("keydown", (event) => this.handleKey(event));
  }

  /** @returns {boolean} */
  get isOpen() {
    return !this.root.hidden;
  }

  /**
   * Show an asset; what the list knows of it is shown until the rest has come.
   * @param {string} id
   * @param {Asset | null} known
   */
  async open(id, known) {
    const round = ++this.round;
    this.id = id;
    this.root.hidden = false;
    setShownAsset(id, this.root);
    this.asset = null;
    if (known) {
      this.showMarks(known);
      this.showMedia(known);
    } else this.media.replaceChildren();
    this.side.replaceChildren(make("p", { class: "note", role: "status" }, translate("Loading …")));
    this.root.focus({ preventScroll: true });
    try {
      const asset = await getAsset(id);
      if (round === this.round) this.show(asset, !known);
    } catch (error) {
      if (round === this.round) this.showFailure(error);
    }
  }

  close() {
    this.round += 1;
    this.root.hidden = true;
    this.asset = null;
    this.media.replaceChildren(); // which also stops a video
    setShownAsset("", this.root);
  }

  /**
   * @param {AssetDetail} asset
   * @param {boolean} withMedia
   */
  show(asset, withMedia) {
    this.asset = asset;
    this.showMarks(asset);
    if (withMedia) this.showMedia(asset);
    this.side.replaceChildren(
      ...[
        this.buildTitle(asset),
        buildFacts(asset),
        this.buildPrompt(asset),
        this.buildSection(
          "Tags",
          buildTagEditor(asset.tags, (tags) => this.patch({ tags })),
        ),
        this.buildCollections(asset),
        this.buildNote(asset),
        this.buildActions(asset),
        this.buildHistory(asset),
        buildRecipe(asset),
        buildUses(asset),
      ].filter((part) => part !== null),
    );
  }

  /** @param {unknown} error */
  showFailure(error) {
    const { message = String(error), hint = "" } = /** @type {{message?: string, hint?: string}} */ (error);
    this.side.replaceChildren(make("p", { class: "note note-bad", role: "alert" }, [message, hint].join(" ")));
  }

  /** @param {Asset} asset */
  showMarks(asset) {
    setPressed(this.favourite, asset.favourite);
    showStars(this.stars, asset.rating);
    this.trash.textContent = translate(asset.trashed ? "Restore" : "Move to trash");
    this.download.href = asset.url;
  }

  /** @param {Asset} asset */
  showMedia(asset) {
    const alt = asset.title || asset.prompt || "Image without a prompt";
    if (asset.kind === "image") {
      const { width, height, url } = asset;
      const enlarge = () => enlargeImage(image);
      const image = make("img", { src: url, alt, width, height, tabindex: 0, role: "button", title: "Enlarge" });
      image.addEventListener("click", enlarge);
      image.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.stopPropagation();
        enlarge();
      });
      this.media.replaceChildren(image);
    } else {
      const player = make(asset.kind, { controls: true, src: asset.url, preload: "metadata", "aria-label": alt });
      this.media.replaceChildren(player);
    }
  }

  /**
   * @param {AssetDetail} asset
   * @returns {HTMLElement}
   */
  buildTitle(asset) {
    const box = make("input", {
      type: "text",
      class: "lib-title",
      value: asset.title,
      maxlength: 200,
      "aria-label": "Title",
    });
    box.placeholder = translate("Title");
    this.saveOnChange(box, () => ({ title: box.value.trim() }));
    return box;
  }

  /**
   * @param {AssetDetail} asset
   * @returns {HTMLElement}
   */
  buildNote(asset) {
    const box = make("textarea", { rows: 2, maxlength: 10_000, "aria-label": "Note", placeholder: "Note" });
    box.value = asset.note;
    this.saveOnChange(box, () => ({ note: box.value }));
    return this.buildSection("Note", box);
  }

  /**
   * @param {HTMLInputElement | HTMLTextAreaElement} box
   * @param {() => AssetPatch} read
   */
  saveOnChange(box, read) {
    box.addEventListener("keydown", (event) => event.stopPropagation()); // letters are no shortcuts here
    box.addEventListener("change", () => this.patch(read()));
  }

  /**
   * @param {string} title
   * @param {...HTMLElement} content
   * @returns {HTMLElement}
   */
  buildSection(title, ...content) {
    const heading = title ? [make("h4", {}, translate(title))] : [];
    return make("div", { class: "lib-section" }, ...heading, ...content);
  }

  /**
   * @param {AssetDetail} asset
   * @returns {HTMLElement | null}
   */
  buildPrompt(asset) {
    if (!asset.prompt && !asset.negative_prompt) return null;
    const parts = [make("p", { class: "lib-prompt" }, asset.prompt)];
    if (asset.negative_prompt) {
      parts.push(make("p", { class: "lib-prompt lib-negative" }, `Not: ${asset.negative_prompt}`));
    }
    return this.buildSection("Prompt", ...parts);
  }

  /**
   * What can be done with an image; no tab takes sound or video.
   * @param {AssetDetail} asset
   * @returns {HTMLElement | null}
   */
  buildActions(asset) {
    if (asset.kind !== "image") return null;
    const send = buildSendButtons((use) => this.countUse(use), Boolean(asset.request || asset.infotext));
    const similar = makeButton("More like this", () => this.actions.onSimilar(asset));
    return this.buildSection("Send to", send, make("div", { class: "lib-more-like" }, similar));
  }

  /**
   * @param {AssetDetail} asset
   * @returns {HTMLElement | null}
   */
  buildCollections(asset) {
    if (!asset.collections.length) return null;
    const chips = asset.collections.map(({ id, name }) => {
      const remove = () => this.change({ remove_from: id }, translate("removed from {name}", { name }));
      return makeButton(`${name} ×`, remove, { "aria-label": translate("Remove from {name}", { name }) });
    });
    return this.buildSection("Collections", make("div", { class: "lib-tags" }, ...chips));
  }

  /**
   * What the asset came from and what came from it.
   * @param {AssetDetail} asset
   * @returns {HTMLElement | null}
   */
  buildHistory(asset) {
    const { parents, children, history } = asset;
    if (!parents.length && !children.length && history.length < 2) return null;
    const parts = [];
    if (parents.length) parts.push(this.buildRelatives("Made from", parents));
    if (history.length > 1) parts.push(make("ol", { class: "chain" }, ...history.map((step) => make("li", {}, step))));
    if (children.length) parts.push(this.buildRelatives("Made from this", children));
    return this.buildSection("History", ...parts);
  }

  /**
   * @param {string} label
   * @param {Relative[]} relatives
   * @returns {HTMLElement}
   */
  buildRelatives(label, relatives) {
    const buttons = relatives.map(({ id, thumbnail }, place) => {
      const attributes = { class: "lib-relative", "aria-label": `${label}, ${place + 1} of ${relatives.length}` };
      const button = makeButton("", () => this.open(id, null), attributes);
      button.append(make("img", { src: thumbnail, alt: "", loading: "lazy" }));
      return button;
    });
    return make("div", { class: "lib-relatives" }, make("small", {}, translate(label)), ...buttons);
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    const isTyping = event.target instanceof HTMLInputElement && event.target.type === "text";
    if (isTyping || event.target instanceof HTMLTextAreaElement) return;
    const change = this.asset && readMarkKey(event, this.asset);
    if (event.key === "Escape") this.actions.onClose();
    else if (event.key === "ArrowLeft") this.actions.onStep(-1);
    else if (event.key === "ArrowRight") this.actions.onStep(1);
    else if (event.key === "Delete") this.toggleTrash();
    else if (change) this.mark(change);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {{favourite?: boolean, rating?: number}} change */
  mark(change) {
    this.change(change, change.rating === undefined ? describeFavourite(change.favourite) : "rated");
  }

  async toggleTrash() {
    const { asset } = this;
    if (!asset) return;
    if (asset.trashed) await this.change({ restore: true }, "restored");
    else await this.change({ trash: true }, "moved to the trash");
  }

  /**
   * Change the asset so that it can be undone.
   * @param {BulkChange} change
   * @param {string} done
   */
  async change(change, done) {
    const { asset } = this;
    if (!asset) return;
    await this.actions.onChange([asset], change, done);
    if (this.asset?.id === asset.id) await this.refresh();
  }

  /** Ask for the shown asset again, as after it was changed. */
  async refresh() {
    const { asset, round } = this;
    if (!asset) return;
    try {
      const now = await getAsset(asset.id);
      if (round === this.round) this.show(now, false);
    } catch (error) {
      showError(error);
    }
  }

  /** @param {AssetPatch} patch */
  async patch(patch) {
    const { asset } = this;
    if (!asset) return;
    try {
      const changed = await patchAsset(asset.id, patch);
      this.actions.onChanged(changed);
      if (this.asset?.id !== asset.id || !patch.tags) return;
      this.show({ ...asset, ...changed }, false);
      find(".lib-tags input", this.side)?.focus();
    } catch (error) {
      showError(error);
    }
  }

  /** @param {"sent" | "downloaded" | "reused"} use */
  countUse(use) {
    if (this.asset) countUse(this.asset.id, use).catch(() => {}); // a use that is not counted is no reason to complain
  }
}

/**
 * @param {boolean | undefined} favourite
 * @returns {string}
 */
function describeFavourite(favourite) {
  return favourite ? "marked as a favourite" : "no longer a favourite";
}

/**
 * @param {AssetDetail} asset
 * @returns {HTMLElement}
 */
function buildFacts(asset) {
  const facts = [
    asset.kind === "audio" ? "" : `${asset.width} × ${asset.height}`,
    asset.model,
    asset.model ? translate("Seed {seed}", { seed: asset.seed_text }) : "",
    asset.task.replaceAll("_", " "),
    asset.source,
    new Date(asset.created).toLocaleString(),
  ];
  return make("p", { class: "facts lib-facts" }, ...facts.filter(Boolean).map((fact) => make("span", {}, fact)));
}

/**
 * @param {AssetDetail} asset
 * @returns {HTMLElement | null}
 */
function buildRecipe(asset) {
  const texts = [
    ["Infotext", asset.infotext ?? ""],
    ["JSON", asset.request_text ?? ""],
  ].filter(([, text]) => text);
  if (!texts.length) return null;
  const body = make("pre", { tabindex: 0 }, texts[0][1]);
  const choose = (/** @type {MouseEvent} */ event) => {
    for (const each of buttons) setPressed(each, each === event.currentTarget);
    body.textContent = texts[buttons.findIndex((each) => each === event.currentTarget)][1];
  };
  const buttons = texts.map(([name], place) => {
    const button = makeButton(name, choose, { class: "segment" });
    setPressed(button, place === 0);
    return button;
  });
  const segments = make("div", { class: "segments", role: "group", "aria-label": "Recipe format" }, ...buttons);
  return make("details", { class: "recipe lib-recipe" }, make("summary", {}, translate("Recipe")), segments, body);
}

/**
 * @param {AssetDetail} asset
 * @returns {HTMLElement | null}
 */
function buildUses(asset) {
  const uses = Object.entries(asset.use_counts).filter(([, count]) => count);
  if (!uses.length) return null;
  const texts = uses.map(([use, count]) => `${USES[use] ?? use} ${count} ×`);
  return make("p", { class: "note lib-uses" }, `Used: ${texts.join(", ")}`);
}
