// @ts-check
/** The zones of a platform format over the shown image. */

import { find, findAll, getTarget, make, whenBodyExists } from "../common/dom.js";
import { findBox } from "../common/gradio_dom.js";

/** @type {WeakMap<HTMLElement, HTMLImageElement>} the image that an overlay lies over */
const covered = new WeakMap();

/** Lay the zones whenever the shown image or the chosen format changes. */
export function startZoneOverlays() {
  document.addEventListener("change", (event) => {
    if (getTarget(event)?.closest(".show-zones")) updateAllOverlays();
  });
  whenBodyExists(() => {
    const attributeFilter = ["src", "aria-pressed", "data-zones"];
    const options = { childList: true, subtree: true, attributes: true, attributeFilter };
    new MutationObserver(updateAllOverlays).observe(document.body, options);
  });
}

function updateAllOverlays() {
  for (const view of findAll(".easel")) updateOverlay(view);
}

/** @param {HTMLElement} view */
function updateOverlay(view) {
  const image = find(".result .canvas img.shown", view);
  const overlay = find(".result .zone-overlay", view);
  const address = image instanceof HTMLImageElement ? getZonesAddress(view, image) : "";
  if (
    overlay &&
    image instanceof HTMLImageElement &&
    overlay.dataset.src === address &&
    covered.get(overlay) === image
  ) {
    alignOverlay(overlay, image);
    return;
  }
  overlay?.remove();
  if (address && image instanceof HTMLImageElement) addOverlay(image, address);
}

/**
 * @param {HTMLImageElement} image
 * @param {string} address
 */
function addOverlay(image, address) {
  const alt = "Zones of the format over the image";
  const overlay = make("img", { class: "zone-overlay", src: address, alt, "data-src": address });
  covered.set(overlay, image);
  const align = () => alignOverlay(overlay, image);
  image.addEventListener("load", align);
  new ResizeObserver(align).observe(image);
  image.parentElement?.append(overlay);
  align();
}

/**
 * Where the zones of the shown image's format are, "" where none are to be shown.
 * @param {HTMLElement} view
 * @param {HTMLImageElement} image
 * @returns {string}
 */
function getZonesAddress(view, image) {
  const box = findBox(".show-zones", view);
  // the box is missing until its accordion was opened; Social Optimizer has none
  const isWanted = box instanceof HTMLInputElement ? box.checked : !view.classList.contains("easel-social");
  const format = isWanted ? getFormat(view, image) : "";
  return format && `api/image-studio/social/formats/${encodeURIComponent(format)}/zones.svg`;
}

/**
 * The format of the shown image: the chosen one while it forms, its own once it is finished.
 * @param {HTMLElement} view
 * @param {HTMLImageElement} image
 * @returns {string}
 */
function getFormat(view, image) {
  if (image.classList.contains("forming")) return find("[data-zones]", view)?.dataset.zones ?? "";
  const label = find('.result .frame[aria-pressed="true"]', view)?.dataset.label ?? "";
  return label.includes(".") ? label : ""; // a contact sheet and the uncropped image have no zones
}

/**
 * Lay the overlay over the image's pixels; the image's box may be larger than they are.
 * @param {HTMLElement} overlay
 * @param {HTMLImageElement} image
 */
function alignOverlay(overlay, image) {
  const wide = image.naturalWidth || image.width;
  const high = image.naturalHeight || image.height;
  if (!wide || !high) return;
  const scale = Math.min(image.offsetWidth / wide, image.offsetHeight / high);
  const [width, height] = [wide * scale, high * scale];
  const left = image.offsetLeft + (image.offsetWidth - width) / 2;
  const top = image.offsetTop + (image.offsetHeight - height) / 2;
  overlay.style.cssText = `left:${left}px;top:${top}px;width:${width}px;height:${height}px`;
}
