// @ts-check
/** Before and after: the source lies over the result up to a line that a slider moves. */

import { find, get, make, makeButton } from "../common/dom.js";
import { translate } from "../common/translate.js";

const MAX_ZOOM = 16;

/**
 * Show the comparison over the shown image, or remove it.
 * @param {HTMLElement} canvas
 * @param {string} before address of the source, "" to remove the comparison
 */
export function showComparison(canvas, before) {
  find(".compare", canvas)?.remove();
  if (!before) return;
  const after = /** @type {HTMLImageElement} */ (get("img.shown", canvas)).src;
  canvas.append(buildComparison(before, after));
}

/**
 * The next zoom factor, 1 to 16.
 * @param {number} factor the present one
 * @param {number} step
 * @returns {number}
 */
export function stepZoom(factor, step) {
  return Math.min(MAX_ZOOM, Math.max(1, factor * step));
}

/**
 * @param {string} before
 * @param {string} after
 * @returns {HTMLElement}
 */
function buildComparison(before, after) {
  const label = "Before and after";
  const slider = make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": label });
  const factor = make("output", {}, "1×");
  const cover = make("div", { class: "compare" });
  const zoom = (/** @type {number} */ step) => {
    const wanted = stepZoom(Number(cover.dataset.zoom) || 1, step);
    cover.dataset.zoom = String(wanted);
    cover.style.setProperty("--zoom", String(wanted));
    factor.textContent = `${Math.round(wanted * 10) / 10}×`;
  };
  cover.append(
    make("div", { class: "compare-side" }, make("img", { src: after, alt: "" })),
    make("div", { class: "compare-side compare-before" }, make("img", { src: before, alt: "The image before" })),
    make("i", { "aria-hidden": "true" }),
    make("span", {}, translate("Before")),
    make("span", {}, translate("After")),
    slider,
    make(
      "div",
      { class: "compare-zoom" },
      makeButton("−", () => zoom(0.5), { "aria-label": "Zoom out" }),
      factor,
      makeButton("+", () => zoom(2), { "aria-label": "Zoom in" }),
    ),
  );
  cover.style.setProperty("--at", "50%");
  slider.addEventListener("input", () => cover.style.setProperty("--at", `${slider.value}%`));
  slider.addEventListener("pointermove", (event) => moveZoomCenter(cover, event));
  const handleWheel = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8);
  };
  slider.addEventListener("wheel", handleWheel, { passive: false });
  return cover;
}

/**
 * Keep what lies under the pointer in place while zooming, and move the pointer over the enlarged image.
 * @param {HTMLElement} cover
 * @param {PointerEvent} event
 */
function moveZoomCenter(cover, event) {
  const box = cover.getBoundingClientRect();
  cover.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
  cover.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
}
