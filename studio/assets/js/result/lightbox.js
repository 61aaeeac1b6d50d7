// @ts-check
/** The shown image, as large as the window allows. */

import { getTarget, make } from "../common/dom.js";

/**
 * Whether `node` is a finished image of the result.
 * @param {Element | null} node
 * @returns {node is HTMLImageElement}
 */
export function isEnlargeable(node) {
  return Boolean(node?.matches(".result img.shown:not(.forming)"));
}

/**
 * Show `image` in a dialog that a click or Escape closes.
 * @param {HTMLImageElement} image
 */
export function enlargeImage(image) {
  const large = make("img", { src: image.src, alt: image.alt });
  const dialog = make("dialog", { class: "lightbox", "aria-label": image.alt }, large);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    image.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Enlarge the result when it is clicked. */
export function startLightbox() {
  document.addEventListener("click", (event) => {
    const target = getTarget(event);
    if (isEnlargeable(target)) enlargeImage(target);
  });
}
