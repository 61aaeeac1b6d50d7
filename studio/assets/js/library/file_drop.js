// @ts-check
/** Adding files of one's own to the library: dropped on it, or chosen. */

import { find, make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { listDroppedFiles } from "../images/dropped_files.js";
import { uploadAsset } from "./library_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./notice_bar.js").NoticeBar} NoticeBar */

const ACCEPTED = "image/png,image/jpeg,image/webp,image/avif,video/mp4,video/webm,audio/*";

export class FileDrop {
  /**
   * @param {HTMLElement} zone where files may be dropped
   * @param {NoticeBar} notices
   * @param {() => void} onAdded
   */
  constructor(zone, notices, onAdded) {
    this.notices = notices;
    this.onAdded = onAdded;
    this.input = make("input", { type: "file", multiple: true, accept: ACCEPTED, hidden: true });
    this.input.addEventListener("change", () => {
      this.add([...(this.input.files ?? [])]);
      this.input.value = "";
    });
    this.button = makeButton("Add files", () => this.input.click());
    zone.append(this.input);
    const setOver = (/** @type {boolean} */ isOver) => zone.classList.toggle("lib-over", isOver);
    zone.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    });
    zone.addEventListener("dragleave", (event) => {
      if (!(event.relatedTarget instanceof Node && zone.contains(event.relatedTarget))) setOver(false);
    });
    zone.addEventListener("drop", async (event) => {
      setOver(false);
      if (!event.dataTransfer?.types.includes("Files") || find("dialog[open]")) return;
      event.preventDefault();
      this.add(await listDroppedFiles(event.dataTransfer));
    });
  }

  /**
   * Send files one after the other; one that is refused does not stop the others.
   * @param {File[]} files
   */
  async add(files) {
    let added = 0;
    /** @type {unknown[]} */
    const errors = [];
    for (const [place, file] of files.entries()) {
      this.notices.show(translate("Adding {number} of {count} files …", { number: place + 1, count: files.length }));
      try {
        await uploadAsset(file);
        added += 1;
      } catch (error) {
        errors.push(error);
      }
    }
    if (!files.length) return;
    this.notices.show(describeUpload(added, errors.length));
    if (errors.length) showError(errors[0]);
    if (added) this.onAdded();
  }
}

/**
 * @param {number} added
 * @param {number} refused
 * @returns {string}
 */
export function describeUpload(added, refused) {
  const text = added === 1 ? translate("1 file added.") : translate("{count} files added.", { count: added });
  return refused ? `${text} ${translate("{count} refused.", { count: refused })}` : text;
}
