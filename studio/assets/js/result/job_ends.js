// @ts-check
/** Tells when a job whose result a tab shows has ended. */

import { findAll } from "../common/dom.js";
import { followPageChanges } from "../common/page_changes.js";

const ACTIVE = ["queued", "loading", "running"];

/**
 * @typedef {object} EndedJob
 * @property {string} status finished, failed or cancelled
 * @property {number} seconds that this page saw it run, 0 when it came ended
 * @property {string} prompt of its first image, "" for none
 * @property {string} place id of the component that shows it, "" for none
 */

/** @type {Set<(job: EndedJob) => void>} */
const listeners = new Set();
/** @type {Map<string, number>} when a job was first seen active, by its id, in ms */
const active = new Map();
/** @type {Set<string>} jobs whose end was reported */
const ended = new Set();

/**
 * Call `listener` for each job that ends.
 * @param {(job: EndedJob) => void} listener
 */
export function followJobEnds(listener) {
  listeners.add(listener);
  if (listeners.size === 1) followPageChanges(lookAtResults);
}

function lookAtResults() {
  for (const result of findAll(".result[data-job]")) {
    const { job = "", status = "" } = result.dataset;
    if (!job) continue;
    if (ACTIVE.includes(status)) {
      active.set(job, active.get(job) ?? Date.now());
      ended.delete(job); // it is taken up again
    } else if (!ended.has(job)) reportEnd(job, status, result);
  }
}

/**
 * @param {string} job
 * @param {string} status
 * @param {HTMLElement} result
 */
function reportEnd(job, status, result) {
  const seconds = (Date.now() - (active.get(job) ?? Date.now())) / 1000;
  active.delete(job);
  ended.add(job);
  const prompt = result.querySelector("img.shown")?.getAttribute("alt") ?? "";
  const place = result.closest("[id$=result]")?.id ?? "";
  for (const listener of listeners) listener({ status, seconds, prompt, place });
}
