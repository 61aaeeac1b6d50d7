// @ts-check
/** What the start page says of jobs, money and machine. */

import { translate } from "../common/translate.js";

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} task
 * @property {string} prompt
 * @property {string} model
 * @property {string} status
 * @property {number} ahead jobs before it
 * @property {number} progress 0 to 1
 */

/** @typedef {{period: string, spent: number, budget: number}} Spending US dollars */
/** @typedef {{local: number, cloud: number, locked: number, broken: number}} Models */

/**
 * @typedef {object} Machine
 * @property {{free: number, total: number}} disk bytes
 * @property {{device: string, free: number, total: number}} memory bytes
 * @property {string[]} resident titles of the models in memory
 */

/**
 * @typedef {object} Overview
 * @property {Job[]} jobs
 * @property {Spending[]} spending
 * @property {Models} models
 * @property {{id: string, name: string, purpose: string}[]} templates
 * @property {Machine | null} machine null where the user may not see it
 */

const GIGABYTE = 1e9;
const MAX_PROMPTS = 6;

/**
 * Where a job stands, in one line.
 * @param {Job} job
 * @returns {string}
 */
export function describeJob({ task, model, status, ahead, progress }) {
  const places = ahead === 1 ? translate("1 job ahead") : translate("{count} jobs ahead", { count: ahead });
  const state = status === "queued" ? (ahead ? places : "next in line") : `${Math.round(progress * 100)} %`;
  return [task.replaceAll("_", " "), model, state].join(" · ");
}

/**
 * @param {Spending} spending
 * @returns {string}
 */
export function describeBudget({ period, spent, budget }) {
  const name = period === "day" ? "Today" : "This month";
  return `${name}: $${spent.toFixed(2)}${budget ? ` of $${budget.toFixed(2)}` : ", no limit"}`;
}

/**
 * @param {Models} models
 * @returns {string}
 */
export function describeModels({ local, cloud, locked, broken }) {
  const parts = [translate("{count} local", { count: local }), translate("{count} in the cloud", { count: cloud })];
  if (locked) parts.push(translate("{count} locked", { count: locked }));
  if (broken) parts.push(translate("{count} unavailable", { count: broken }));
  return translate("Models: {counts}", { counts: parts.join(", ") });
}

/**
 * @param {number} bytes
 * @returns {string}
 */
export function formatGigabytes(bytes) {
  return `${(bytes / GIGABYTE).toFixed(bytes < 10 * GIGABYTE ? 1 : 0)} GB`;
}

/**
 * The different prompts of the latest images, each with the image that was made with it last.
 * @param {{id: string, prompt: string, model: string}[]} assets newest first
 * @returns {{id: string, prompt: string, model: string}[]}
 */
export function listPrompts(assets) {
  /** @type {Map<string, {id: string, prompt: string, model: string}>} */
  const found = new Map();
  for (const { id, prompt, model } of assets) {
    if (prompt.trim() && !found.has(prompt)) found.set(prompt, { id, prompt, model });
  }
  return [...found.values()].slice(0, MAX_PROMPTS);
}
