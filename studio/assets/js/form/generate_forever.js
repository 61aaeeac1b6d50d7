// @ts-check
/** Generates again and again, as the form stands, until it is switched off, or a job is stopped or fails. */

import { askToConfirm } from "../common/ask_dialog.js";
import { find, isPressed, makeButton, setPressed } from "../common/dom.js";
import { followJobEnds } from "../result/job_ends.js";

const LOOK_MS = 200; // between two presses: the button takes one only when the event of the job before has ended
const LOOKS = 50;
const IDLE = "#{prefix}generate:enabled";
const COSTS = ".bar-below [data-costs]"; // studio/tabs/common/cost_line.py
const ACTIVE = ["queued", "loading", "running"];

/**
 * Make the switch of the form whose element ids begin with `prefix`.
 * @param {string} prefix
 * @returns {HTMLButtonElement}
 */
export function makeForeverSwitch(prefix) {
  const button = makeButton("∞ Forever", () => void toggle(button, prefix), {
    title: "Generate again and again, until switched off or stopped",
  });
  setPressed(button, false);
  followJobEnds(({ status, place }) => {
    if (place !== `${prefix}result` || !isPressed(button)) return;
    if (status === "finished") void start(button, prefix);
    else setPressed(button, false);
  });
  return button;
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} prefix
 */
async function toggle(button, prefix) {
  if (isPressed(button)) {
    setPressed(button, false);
    return;
  }
  const question = {
    title: "Generate forever?",
    text: "Images of this model cost money, and it goes on until you stop it.",
    action: "Generate forever",
  };
  const costs = find(COSTS, button.closest(".easel") ?? document);
  if (costs && !(await askToConfirm(question))) return;
  setPressed(button, true);
  if (!isBusy(prefix)) await start(button, prefix);
}

/**
 * Press the form's button until a job runs.
 * @param {HTMLButtonElement} button
 * @param {string} prefix
 */
async function start(button, prefix) {
  for (let look = 0; look < LOOKS && isPressed(button) && !isBusy(prefix); look++) {
    find(IDLE.replace("{prefix}", prefix))?.click();
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
  if (!isBusy(prefix)) setPressed(button, false);
}

/** @param {string} prefix */
function isBusy(prefix) {
  const status = find(`#${prefix}result .result`)?.dataset.status ?? "";
  return ACTIVE.includes(status);
}
