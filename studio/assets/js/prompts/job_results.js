// @ts-check
/** Images of jobs, shown where they were asked for once they are there. */

import { make } from "../common/dom.js";
import { requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { translate } from "../common/translate.js";

const JOB = "api/image-studio/jobs";
const POLL_MS = 1000;
const FINAL = ["finished", "failed", "cancelled"];

/**
 * Show a job's images in `list` once they are there.
 * @param {HTMLElement} list
 * @param {string} id of the job
 * @param {string} text what they show
 */
export async function showResult(list, id, text) {
  const place = make("figure", {}, make("figcaption", {}, translate("Waiting …")));
  list.append(place);
  try {
    for (;;) {
      const job = await requestJson(`${JOB}/${id}`);
      if (FINAL.includes(job.status)) {
        const images = job.images.map((/** @type {any} */ image) => make("img", { src: image.url, alt: text }));
        place.replaceChildren(...images, make("figcaption", {}, job.error?.error ?? text));
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } catch (error) {
    place.remove();
    showError(error);
  }
}
