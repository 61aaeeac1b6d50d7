// @ts-check
/** What can be done with the shown image, by the buttons below it and by keys. */

import { find, findAll, get, getTarget, make } from "../common/dom.js";
import { openTab } from "../common/open_tab.js";
import { showError } from "../common/toasts.js";
import { changeAssets, countUse, undoChange } from "../library/library_api.js";
import { describeChange, NoticeBar } from "../library/notice_bar.js";
import { requestAsset } from "../library/shown_asset.js";
import { reloadStrips } from "./recent_strip.js";
import { getShownFrame, showFrame } from "./result_view.js";

const ACTIVE = ["queued", "loading", "running"];
const TRASHED = "In the trash.";

/** @type {NoticeBar | null} */
let notices = null;

/** Let the buttons of a result work that are not the result's own. */
export function startResultActions() {
  document.addEventListener("click", (event) => {
    const button = getTarget(event)?.closest(".result [data-act]");
    if (!(button instanceof HTMLElement)) return;
    if (button.dataset.act === "upscale") upscaleShownImage();
    else if (button.dataset.act === "trash") trashShownImage();
    else if (button.dataset.act === "download") countDownload();
  });
}

/**
 * The result of the open tab, null where it has none or a job still runs in it.
 * @returns {HTMLElement | null}
 */
function findIdleResult() {
  const result = findAll(".easel .result").find((each) => each.offsetParent);
  return result && !ACTIVE.includes(result.dataset.status ?? "") ? result : null;
}

/** @returns {HTMLElement | null} the frame of the shown image, null where there is none */
function findIdleFrame() {
  const result = findIdleResult();
  return result && getShownFrame(result);
}

/**
 * Press one of Gradio's buttons of the open tab, when there is an image that it could work on.
 * @param {string} ending how the button's id ends
 * @returns {boolean} whether it was pressed
 */
export function pressImageButton(ending) {
  const view = findIdleFrame()?.closest(".easel");
  const button = view && find(`button[id$="${ending}"]:enabled`, view);
  button?.click();
  return Boolean(button);
}

/**
 * Press one of the buttons that a result has itself.
 * @param {string} selector
 * @returns {boolean} whether it was pressed
 */
export function pressResultButton(selector) {
  const result = findIdleFrame()?.closest(".result");
  const button = result && find(selector, result);
  if (!button?.offsetParent) return false;
  button.click();
  return true;
}

/** @returns {boolean} whether there was an image to enlarge */
export function upscaleShownImage() {
  return pressImageButton("upscale-image");
}

/** @returns {boolean} whether there was an image to show */
export function openShownImageInLibrary() {
  const id = findIdleFrame()?.dataset.id;
  if (!id) return false;
  requestAsset(id);
  openTab("library");
  return true;
}

/**
 * Show the image before or after the shown one.
 * @param {1 | -1} step
 * @returns {boolean} whether there is one
 */
export function showNeighbour(step) {
  const frame = findIdleFrame();
  const frames = frame ? listFrames(frame) : [];
  const next = frame ? frames[frames.indexOf(frame) + step] : undefined;
  if (!next) return false;
  if (document.activeElement?.matches(".result .frame")) next.focus();
  showFrame(next);
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
  return true;
}

/**
 * Move the shown image to the trash; a notice offers to undo it.
 * @returns {boolean} whether there was one
 */
export function trashShownImage() {
  const frame = findIdleFrame();
  if (!frame?.dataset.id) return false;
  trash(frame, frame.dataset.id);
  return true;
}

/**
 * @param {HTMLElement} frame
 * @param {string} id
 */
async function trash(frame, id) {
  try {
    const { undo } = await changeAssets({ ids: [id] }, { trash: true });
    hideFrame(frame);
    reloadStrips();
    showNotice(describeChange(1, "moved to the trash"), async () => {
      await undoChange(undo);
      unhideFrame(frame);
      reloadStrips();
    });
  } catch (error) {
    showError(error);
  }
}

/** @param {HTMLElement} frame */
function hideFrame(frame) {
  const result = /** @type {HTMLElement} */ (frame.closest(".result"));
  const frames = listFrames(frame);
  const place = frames.indexOf(frame);
  const next = frames[place + 1] ?? frames[place - 1];
  frame.hidden = true;
  if (next) showFrame(next);
  else {
    get(".canvas", result).append(make("p", { class: "canvas-note", role: "status" }, TRASHED));
    result.classList.add("result-trashed");
  }
}

/** @param {HTMLElement} frame */
function unhideFrame(frame) {
  const result = frame.closest(".result");
  if (!(result instanceof HTMLElement)) return; // another job has taken its place
  frame.hidden = false;
  find(".canvas-note", result)?.remove();
  result.classList.remove("result-trashed");
  showFrame(frame);
}

/**
 * @param {HTMLElement} frame
 * @returns {HTMLElement[]} the frames of its result that can be shown
 */
function listFrames(frame) {
  return findAll(".frame:not([hidden])", frame.closest(".result") ?? undefined);
}

/**
 * @param {string} text
 * @param {() => Promise<void>} undo
 */
function showNotice(text, undo) {
  if (!notices) {
    notices = new NoticeBar();
    document.body.append(notices.root);
  }
  notices.show(text, () => undo().catch(showError));
}

function countDownload() {
  const id = findIdleFrame()?.dataset.id;
  if (id) countUse(id, "downloaded").catch(() => {}); // a use that is not counted is no reason to complain
}
