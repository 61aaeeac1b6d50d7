// @ts-check
/** A notification and a sound when a long job ends, for those who switched them on. */

import { readPreferences } from "../common/preferences.js";
import { followJobEnds } from "../result/job_ends.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../result/job_ends.js").EndedJob} EndedJob */

export const LONG_SECONDS = 10; // from which a job is long
const TONES = [660, 880]; // Hz, one after the other
const TONE_SECONDS = 0.14;
const VOLUME = 0.15; // of 1
const TITLES = /** @type {Record<string, string>} */ ({
  finished: "Image finished",
  failed: "Job failed",
  cancelled: "Job stopped",
});

/** Start waiting for jobs to end. */
export function startJobAlerts() {
  followJobEnds((job) => {
    if (job.seconds < LONG_SECONDS) return;
    const { notify, sound } = readPreferences();
    if (notify) showNotification(job);
    if (sound) playSound();
  });
}

/**
 * Ask the browser to allow notifications.
 * @returns {Promise<boolean>} whether it does
 */
export async function askForNotifications() {
  if (!("Notification" in window)) return false;
  return (await Notification.requestPermission()) === "granted";
}

/** @param {EndedJob} job */
function showNotification({ status, prompt }) {
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  if (!document.hidden && document.hasFocus()) return; // the user is looking
  const shown = new Notification(translate(TITLES[status] ?? TITLES.finished), { body: prompt, tag: "easel-job" });
  shown.addEventListener("click", () => {
    window.focus();
    shown.close();
  });
}

/** Play two short tones; nothing where the browser has no sound. */
export function playSound() {
  if (!("AudioContext" in window)) return;
  const context = new AudioContext();
  const gain = context.createGain();
  gain.gain.value = VOLUME;
  gain.connect(context.destination);
  TONES.forEach((frequency, place) => {
    const tone = context.createOscillator();
    tone.frequency.value = frequency;
    tone.connect(gain);
    tone.start(context.currentTime + place * TONE_SECONDS);
    tone.stop(context.currentTime + (place + 1) * TONE_SECONDS);
    if (place === TONES.length - 1) tone.addEventListener("ended", () => context.close());
  });
}
