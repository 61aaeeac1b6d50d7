// @ts-check
/** One thumbnail of the grid. */

import { get, make } from "../common/dom.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./library_api.js").Asset} Asset */

const MAX_ALT = 120; // characters

/** @returns {HTMLElement} an empty thumbnail */
export function makeThumbnail() {
  return make(
    "div",
    { class: "lib-cell", role: "option", "aria-selected": "false" },
    make("img", { alt: "", draggable: "false", decoding: "async" }),
    make("span", { class: "lib-badges", "aria-hidden": "true" }),
    make("span", { class: "lib-kind", "aria-hidden": "true", hidden: true }),
    make("span", { class: "lib-stack", "aria-hidden": "true", hidden: true }),
    make("span", { class: "lib-check", "aria-hidden": "true" }),
  );
}

/**
 * @param {HTMLElement} cell made by `makeThumbnail`
 * @param {Asset[]} stack what lies there, the top first; nothing while it is fetched
 * @param {{isSelected: boolean, opened: "" | "first" | "other"}} state `opened` for one of a stack that is open
 */
export function fillThumbnail(cell, stack, { isSelected, opened }) {
  const [asset] = /** @type {(Asset | undefined)[]} */ (stack);
  cell.setAttribute("aria-selected", String(isSelected));
  cell.classList.toggle("lib-loading", !asset);
  cell.dataset.id = asset?.id ?? "";
  cell.setAttribute("aria-label", asset ? describeStack(stack) : "Loading");
  showImage(/** @type {HTMLImageElement} */ (get("img", cell)), asset?.thumbnail ?? "");
  get(".lib-badges", cell).textContent = asset ? listMarks(asset) : "";
  const kind = get(".lib-kind", cell);
  kind.hidden = !asset || asset.kind === "image";
  kind.textContent = asset?.kind === "video" ? "▶ Video" : "♪ Audio";
  showStack(cell, stack.length, opened);
}

/**
 * @param {HTMLElement} cell
 * @param {number} count of what lies there
 * @param {"" | "first" | "other"} opened
 */
function showStack(cell, count, opened) {
  const badge = get(".lib-stack", cell);
  badge.hidden = count < 2 && opened !== "first";
  badge.textContent = opened ? translate("Close") : translate("{count} images", { count });
  badge.title = opened ? "Put the images of this job together (S)" : "Show all images of this job (S)";
  cell.classList.toggle("lib-of-stack", Boolean(opened));
  cell.classList.toggle("lib-stacked", count > 1);
}

/**
 * @param {HTMLImageElement} image
 * @param {string} address "" for none
 */
function showImage(image, address) {
  if (image.getAttribute("src") === address) return;
  if (address) image.src = address;
  else image.removeAttribute("src");
}

/**
 * @param {Asset} asset
 * @returns {string}
 */
function listMarks({ favourite, rating }) {
  return [favourite ? "♥" : "", rating ? `${rating}★` : ""].filter(Boolean).join(" ");
}

/**
 * @param {Asset[]} stack
 * @returns {string} what a screen reader says of it
 */
function describeStack(stack) {
  const top = describeAsset(stack[0]);
  return stack.length > 1 ? translate("{image}, stack of {count} images", { image: top, count: stack.length }) : top;
}

/**
 * What a screen reader says of an asset.
 * @param {Asset} asset
 * @returns {string}
 */
export function describeAsset(asset) {
  const text = (asset.title || asset.prompt).replace(/\s+/g, " ").slice(0, MAX_ALT);
  const marks = [asset.favourite ? "favourite" : "", asset.rating ? `${asset.rating} stars` : ""].filter(Boolean);
  return [text || `Untitled ${asset.kind}`, ...marks].join(", ");
}
