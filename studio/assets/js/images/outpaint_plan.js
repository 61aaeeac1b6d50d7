// @ts-check
/** The canvas as outpainting will make it: the image, and around it what is to be drawn. */

import { make } from "../common/dom.js";
import { getImageAddress } from "./kept_images.js";
import { followImages } from "./pad_registry.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {"left" | "top" | "right" | "bottom"} Side */
/** @typedef {Record<Side, number>} Margins px that the image grows by at each side */
/** @typedef {{width: number, height: number}} Size px */

/** @type {Side[]} */
const SIDES = ["left", "top", "right", "bottom"];
const RATIO = /^([\d.]+)[:/]([\d.]+)$/;

/**
 * Build the plan into its component.
 * @param {FieldHost} host
 * @param {{over: string}} options `over` names the pad with the image
 */
export function mountOutpaintPlan(host, { over }) {
  const frame = make("div", { class: "plan", role: "img" });
  const text = make("p", { class: "note", role: "status" });
  const image = make("img", { alt: "", draggable: "false" });
  host.element.replaceChildren(frame, text);
  frame.append(image);
  const draw = () => drawPlan(host.props.value, frame, text, image);
  image.addEventListener("load", draw);
  host.watch("value", draw);
  followImages(over, frame, ([hash]) => {
    if (hash) image.src = getImageAddress(hash);
    else image.removeAttribute("src");
    draw();
  });
}

/**
 * @param {string | null} value the field's value
 * @param {HTMLElement} frame
 * @param {HTMLElement} text
 * @param {HTMLImageElement} image
 */
function drawPlan(value, frame, text, image) {
  const size = { width: image.naturalWidth, height: image.naturalHeight };
  frame.hidden = text.hidden = !size.width || !image.getAttribute("src");
  if (frame.hidden) return;
  const { left, top, right, bottom } = measureMargins(JSON.parse(value || "{}"), size);
  const width = left + size.width + right;
  const height = top + size.height + bottom;
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty("--shape", String(width / height));
  const position = `left:${(100 * left) / width}%;top:${(100 * top) / height}%`;
  image.style.cssText = `${position};width:${(100 * size.width) / width}%;height:${(100 * size.height) / height}%`;
  const margins = translate("left {left}, top {top}, right {right}, bottom {bottom}", { left, top, right, bottom });
  text.textContent = `${size.width} × ${size.height} grows to ${width} × ${height} px: ${margins}.`;
  frame.setAttribute("aria-label", text.textContent);
}

/**
 * How far the image grows at each side.
 * @param {Record<string, any>} wish `how` it grows (sides, size or aspect), and the numbers for that
 * @param {Size} size of the image
 * @returns {Margins}
 */
export function measureMargins(wish, size) {
  if (wish.how === "sides") return readMargins(wish);
  const canvas = measureCanvas(wish, size);
  const across = Math.max(0, canvas.width - size.width);
  const down = Math.max(0, canvas.height - size.height);
  const [left, top] = [across >> 1, down >> 1];
  return { left, top, right: across - left, bottom: down - top };
}

/**
 * @param {Record<string, any>} wish
 * @returns {Margins}
 */
function readMargins(wish) {
  const [left, top, right, bottom] = SIDES.map((side) => Math.max(0, Math.round(Number(wish[side]) || 0)));
  return { left, top, right, bottom };
}

/**
 * The canvas that is asked for; a side of 0 does not grow.
 * @param {Record<string, any>} wish
 * @param {Size} size
 * @returns {Size}
 */
function measureCanvas(wish, size) {
  if (wish.how === "size") return { width: Number(wish.width) || 0, height: Number(wish.height) || 0 };
  const ratio = wish.how === "aspect" ? RATIO.exec(wish.aspect || "") : null;
  const shape = ratio ? Number(ratio[1]) / Number(ratio[2]) : 0;
  if (!(shape > 0 && Number.isFinite(shape))) return { width: 0, height: 0 };
  return { width: Math.round(size.height * shape), height: Math.round(size.width / shape) };
}
