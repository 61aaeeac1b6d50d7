// @ts-check
/** Work that must be done before a job may start: images and masks on their way to the studio. */

import { getTarget } from "./dom.js";

/** The buttons that wait for it. */
const WAITING_BUTTONS = "button.generate, button.waits";

/** @type {Set<Promise<unknown>>} */
const pending = new Set();
/** @type {Map<HTMLElement, () => void>} */
const flushers = new Map();

/**
 * Let jobs wait for `promise`.
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>} the same promise
 */
export function trackPending(promise) {
  pending.add(promise);
  const remove = () => pending.delete(promise);
  promise.then(remove, remove);
  return promise;
}

/**
 * Call `flush` before a job starts, while `node` is on the page; it sends at once what it would have sent later.
 * @param {HTMLElement} node
 * @param {() => void} flush
 */
export function onBeforeJob(node, flush) {
  flushers.set(node, flush);
}

/** Make the buttons that start jobs wait for pending work. */
export function holdButtonsForPendingWork() {
  document.addEventListener("click", waitBeforeClick, true);
}

/** @param {MouseEvent} event */
async function waitBeforeClick(event) {
  const button = getTarget(event)?.closest("button");
  if (!button?.matches(WAITING_BUTTONS)) return;
  for (const [node, flush] of flushers) {
    if (node.isConnected) flush();
    else flushers.delete(node);
  }
  if (!pending.size) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  await Promise.allSettled([...pending]);
  setTimeout(() => button.click());
}
