// @ts-check
/** A line at the foot of the library that says what was done, and offers to undo it. */

import { make, makeButton } from "../common/dom.js";
import { translate } from "../common/translate.js";

const NOTICE_MS = 10000;

export class NoticeBar {
  constructor() {
    this.timer = 0;
    this.text = make("span", { role: "status" });
    this.button = makeButton("Undo", () => this.press());
    /** @type {(() => void) | null} */
    this.action = null;
    this.root = make("div", { class: "lib-notice", hidden: true }, this.text, this.button);
  }

  /**
   * @param {string} text
   * @param {(() => void) | null} [undo]
   */
  show(text, undo = null) {
    clearTimeout(this.timer);
    this.text.textContent = text;
    this.action = undo;
    this.button.hidden = !undo;
    this.root.hidden = false;
    this.timer = window.setTimeout(() => this.hide(), NOTICE_MS);
  }

  hide() {
    this.root.hidden = true;
  }

  press() {
    this.hide();
    this.action?.();
  }
}

/**
 * @param {number} count
 * @param {string} done such as "moved to the trash"
 * @returns {string}
 */
export function describeChange(count, done) {
  const values = { count: count.toLocaleString("en"), done: translate(done) };
  return count === 1 ? translate("1 image {done}.", values) : translate("{count} images {done}.", values);
}
