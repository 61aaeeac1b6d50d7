// @ts-check
/** The latest images of the library below a result; a click shows one in the result. */

import { find, make, makeButton } from "../common/dom.js";
import { translate } from "../common/translate.js";
import { listAssets } from "../library/library_api.js";
import { describeAsset } from "../library/thumbnail.js";
import { followJobEnds } from "./job_ends.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("../library/library_api.js").Asset} Asset */

const LATEST = 16; // images
const SHOW_BUTTON = "button[id$='show-image']"; // Gradio's, out of sight

/** @type {Set<RecentStrip>} */
const strips = new Set();
let wanted = "";

/**
 * The image that was last picked from a strip.
 * @returns {string} its id
 */
export function getRecentImage() {
  return wanted;
}

/** Fetch the images anew, as after one was moved to the trash. */
export function reloadStrips() {
  for (const strip of strips) strip.load();
}

/**
 * Build the strip into its component.
 * @param {FieldHost} host
 */
export function mountRecentStrip(host) {
  const strip = new RecentStrip();
  host.element.replaceChildren(strip.root);
  strip.start();
}

class RecentStrip {
  constructor() {
    this.images = make("div", { class: "film", role: "group", "aria-label": "Recent images" });
    this.root = make("section", { class: "recent", "aria-label": "Recent images", hidden: true });
    this.root.append(make("h3", {}, translate("Recent")), this.images);
  }

  start() {
    strips.add(this);
    const frame = this.root.parentElement;
    if (!frame) return;
    new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.load();
    }).observe(frame);
    followJobEnds(() => this.load());
  }

  async load() {
    if (!this.root.parentElement?.offsetParent) return;
    try {
      const { assets } = await listAssets({ q: "", order: "newest", trashed: false }, "", LATEST);
      this.show(assets.filter((asset) => asset.kind === "image"));
    } catch {
      // the strip stays as it is: the result itself says what is wrong with the studio
    }
  }

  /** @param {Asset[]} assets */
  show(assets) {
    this.root.hidden = !assets.length;
    const focused = document.activeElement?.getAttribute("data-recent");
    this.images.replaceChildren(...assets.map((asset) => this.buildFrame(asset)));
    if (focused) find(`[data-recent="${CSS.escape(focused)}"]`, this.images)?.focus({ preventScroll: true });
  }

  /**
   * @param {Asset} asset
   * @returns {HTMLElement}
   */
  buildFrame(asset) {
    const attributes = { class: "frame", "data-recent": asset.id, "aria-label": `Show ${describeAsset(asset)}` };
    const button = makeButton("", () => this.open(asset.id), attributes);
    button.append(make("img", { src: asset.thumbnail, alt: "", loading: "lazy" }));
    return button;
  }

  /** @param {string} id */
  open(id) {
    wanted = id;
    const view = this.root.closest(".easel");
    if (view) find(SHOW_BUTTON, view)?.click();
  }
}
