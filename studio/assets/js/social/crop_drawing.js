// @ts-check
/** How a card draws its format: the device around it, the extension of the image, the text over it. */

import { find, make } from "../common/dom.js";
import { formatPlacement } from "./crop_geometry.js";

/** @typedef {import("./crop_geometry.js").Placement} Placement */
/** @typedef {import("./format_store.js").BoardOptions} BoardOptions */
/** @typedef {import("./format_store.js").Format} Format */

const MAX_HEIGHT = 300; // px of a card's image
const MIRRORED_COPIES = [-1, 1, -2, 2, -3, 3, -4, 4];
/** The text over an image where the form says nothing else. */
const DEFAULT_TEXT = {
  text: "",
  font: "",
  size: 0.07,
  margin: 0.05,
  colour: "#ffffff",
  stroke: "#000000",
  anchor: "bottom",
};

/**
 * Give the crop its shape, and lay the platform's screen around it where `frame` is wanted.
 * @param {HTMLElement} device
 * @param {HTMLElement} crop
 * @param {Format} format
 * @param {boolean} isFramed
 */
export function drawDevice(device, crop, format, isFramed) {
  find(".device-frame", device)?.remove();
  const frame = isFramed ? format.frame : null;
  const shape = format.width / format.height;
  const aspect = `aspect-ratio:${format.width}/${format.height}`;
  device.classList.toggle("device-on", Boolean(frame));
  crop.style.cssText = `${aspect};--highest:${MAX_HEIGHT}px;--shape:${shape}`;
  device.style.cssText = "";
  if (!frame) return;
  device.style.cssText = `aspect-ratio:${frame.width}/${frame.height};--shape:${frame.width / frame.height}`;
  const hidden = frame.round ? (frame.slot - frame.slot / shape) / 2 : 0; // a circle shows the middle
  const left = (100 * frame.left) / frame.width;
  const top = (100 * (frame.top + hidden)) / frame.height;
  const place = `position:absolute;left:${left}%;top:${top}%;width:${(100 * frame.slot) / frame.width}%`;
  crop.style.cssText = `${place};${aspect};${frame.round ? "clip-path:circle(closest-side);" : ""}`;
  const lines = make("div", { class: "device-frame", "aria-hidden": "true" });
  lines.innerHTML = frame.svg; // the studio makes it of its own data and escapes labels
  device.append(lines);
}

/**
 * Draw what surrounds the image where it does not fill its card.
 * @param {HTMLElement} ground
 * @param {string} source address of the image
 * @param {Placement} placement
 * @param {{how: string, border: string | undefined}} extension "" where nothing surrounds it
 */
export function drawExtension(ground, source, placement, { how, border }) {
  ground.dataset.how = how;
  ground.style.background = how === "colour" ? (border ?? "") : "";
  const copies = [];
  if (how === "blur") copies.push(make("img", { src: source, alt: "", class: "blurred" }));
  if (how === "mirror") copies.push(...buildMirroredCopies(source, placement));
  ground.replaceChildren(...copies);
}

/**
 * @param {string} source
 * @param {Placement} placement
 * @returns {HTMLElement[]}
 */
function buildMirroredCopies(source, placement) {
  const isAcross = placement.width < 0.999;
  return MIRRORED_COPIES.map((step) => {
    const copy = make("img", { src: source, alt: "" });
    const left = placement.left + (isAcross ? step * placement.width : 0);
    const top = placement.top + (isAcross ? 0 : step * placement.height);
    const flip = isAcross ? "scaleX(-1)" : "scaleY(-1)";
    copy.style.cssText = `${formatPlacement({ ...placement, left, top })};transform:${step % 2 ? flip : "none"}`;
    return copy;
  });
}

/**
 * Draw the text roughly where it will stand; the studio draws its own glyphs at export.
 * @param {HTMLElement} node
 * @param {Format} format
 * @param {BoardOptions} options
 */
export function drawText(node, format, options) {
  const given = Object.entries(options).filter(([, value]) => value !== null && !Number.isNaN(value));
  const { text, font, size, margin, colour, stroke, anchor } = { ...DEFAULT_TEXT, ...Object.fromEntries(given) };
  const [left, top, right, bottom] = format.safe;
  const shape = format.width / format.height;
  const room = margin * Math.min((right - left) * shape, bottom - top);
  const sides = [left + room / shape, 1 - right + room / shape, top + room, 1 - bottom + room];
  const [l, r, t, b] = sides.map((side) => `${100 * side}%`);
  const across = pickEnd(anchor, "left", "right");
  const align = { start: "left", end: "right", center: "center" }[across];
  const place = `left:${l};right:${r};top:${t};bottom:${b}`;
  const flow = `justify-content:${flexEnd(across)};align-items:${flexEnd(pickEnd(anchor, "top", "bottom"))}`;
  node.style.cssText = `${place};${flow};color:${colour};--rim:${stroke};text-align:${align}`;
  const weight = /bold/i.test(font) || !font ? 700 : 400;
  const family = `"${font.replaceAll('"', "")}","DejaVu Sans",sans-serif`;
  const words = make("span", {}, text);
  words.style.cssText = `font-size:${100 * size}cqh;font-family:${family};font-weight:${weight}`;
  node.replaceChildren(words);
}

/**
 * @param {string} anchor
 * @param {string} start
 * @param {string} end
 * @returns {"start" | "end" | "center"}
 */
function pickEnd(anchor, start, end) {
  if (anchor.includes(start)) return "start";
  return anchor.includes(end) ? "end" : "center";
}

/**
 * @param {"start" | "end" | "center"} end
 * @returns {string}
 */
function flexEnd(end) {
  return end === "center" ? end : `flex-${end}`;
}
