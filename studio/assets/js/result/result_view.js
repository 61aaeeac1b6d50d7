// @ts-check
/**
 * The result of a job: which of its images is shown, and its recipe. The HTML comes from
 * studio/tabs/common/result_panel.py; a frame is a thumbnail below the shown image, and its data attributes describe
 * the image.
 */

import { find, findAll, get, getTarget, isPressed, make, setPressed } from "../common/dom.js";
import { showComparison } from "./comparison.js";
import { setMarkedImage } from "./result_marks.js";
import { translate } from "../common/translate.js";

const COPIED_MS = 1500;

/**
 * The tab that is open: its form and its result.
 * @returns {HTMLElement}
 */
export function getShownView() {
  return findAll(".easel").find((view) => view.offsetParent) ?? document.body;
}

/**
 * The frame of the shown image, null before the first image.
 * @param {HTMLElement} root
 * @returns {HTMLElement | null}
 */
export function getShownFrame(root) {
  const frame = ".result .frame:not([hidden])";
  return find(`${frame}[aria-pressed="true"]`, root) ?? find(frame, root);
}

/**
 * The seed of the shown image as text, because numbers lose digits above 2**53; null where there is none.
 * @returns {string | null}
 */
export function getShownSeed() {
  return getShownFrame(getShownView())?.dataset.seed || null;
}

/**
 * The id of the shown image, "" where there is none.
 * @returns {string}
 */
export function getShownImage() {
  return getShownFrame(getShownView())?.dataset.id ?? "";
}

/** Let clicks choose an image, a format of the recipe, and what the recipe's buttons do. */
export function startResultView() {
  document.addEventListener("click", (event) => {
    const target = getTarget(event)?.closest(".result :is(.frame, .segment, [data-act])");
    if (!(target instanceof HTMLElement)) return;
    if (target.matches(".frame")) showFrame(target);
    else if (target.matches(".segment")) showRecipeText(getRecipe(target), target.dataset.view ?? "");
    else if (target.dataset.act === "copy") copyRecipe(target);
    else if (target.dataset.act === "compare") setComparison(getResult(target), !isPressed(target));
  });
}

/**
 * Show the image of `frame`, with its facts and recipe.
 * @param {HTMLElement} frame
 */
export function showFrame(frame) {
  const result = getResult(frame);
  for (const other of findAll(".frame", result)) setPressed(other, other === frame);
  const image = find(".canvas img.shown", result);
  if (!(image instanceof HTMLImageElement)) return;
  const { src = "", alt = "", width, height } = frame.dataset;
  Object.assign(image, { src, alt, width: Number(width), height: Number(height) });
  const recipe = find(".recipe", result);
  if (recipe) showRecipe(recipe, frame.dataset);
}

/**
 * @param {HTMLElement} recipe
 * @param {DOMStringMap} data of the frame
 */
function showRecipe(recipe, data) {
  get('[data-fact="size"]', recipe).textContent = `${data.width} × ${data.height}`;
  get('[data-fact="seed"]', recipe).textContent = data.seed ? translate("Seed {seed}", { seed: data.seed }) : "";
  get('[data-fact="model"]', recipe).textContent = data.model ?? "";
  const link = get('[data-act="download"]', recipe);
  link.setAttribute("href", data.src ?? "");
  link.setAttribute("download", data.name ?? "");
  setMarkedImage(recipe, data.id ?? "");
  const compare = get('[data-act="compare"]', recipe);
  compare.hidden = !data.before;
  setComparison(getResult(recipe), isPressed(compare) && Boolean(data.before));
  showHistory(get(".chain", recipe), JSON.parse(data.chain || "[]"));
  showRecipeText(recipe, get('.segment[aria-pressed="true"]', recipe).dataset.view ?? "");
}

/**
 * @param {HTMLElement} list
 * @param {string[]} steps
 */
function showHistory(list, steps) {
  list.replaceChildren(...steps.map((step) => make("li", {}, step)));
  list.hidden = steps.length < 2;
}

/**
 * @param {HTMLElement} recipe
 * @param {string} format infotext or recipe
 */
function showRecipeText(recipe, format) {
  for (const button of findAll(".segment", recipe)) setPressed(button, button.dataset.view === format);
  const frame = getShownFrame(getResult(recipe));
  get("[data-text]", recipe).textContent = frame?.dataset[format] ?? "";
}

/**
 * @param {HTMLElement} result
 * @param {boolean} wanted
 */
function setComparison(result, wanted) {
  setPressed(get('[data-act="compare"]', result), wanted);
  showComparison(get(".canvas", result), wanted ? (getShownFrame(result)?.dataset.before ?? "") : "");
}

/** @param {HTMLElement} button */
async function copyRecipe(button) {
  const text = get("[data-text]", getRecipe(button)).textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
  const label = button.textContent;
  button.textContent = translate("Copied");
  setTimeout(() => (button.textContent = label), COPIED_MS);
}

/**
 * Copy without the clipboard API, which browsers keep to secure pages.
 * @param {string} text
 */
function copyBySelection(text) {
  const area = make("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * @param {HTMLElement} node
 * @returns {HTMLElement}
 */
function getResult(node) {
  return /** @type {HTMLElement} */ (node.closest(".result"));
}

/**
 * @param {HTMLElement} node
 * @returns {HTMLElement}
 */
function getRecipe(node) {
  return /** @type {HTMLElement} */ (node.closest(".recipe"));
}
