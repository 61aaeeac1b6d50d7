// @ts-check
/** Images that moderation holds back: why, an appeal by their user, and the decision of an administrator. */

import { askForOptionalText } from "../common/ask_dialog.js";
import { make, makeButton } from "../common/dom.js";
import { postJson, requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { describeVerdict } from "./user_texts.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./user_texts.js").HeldImage} HeldImage */

const HELD = "api/image-studio/moderation/held";

export class HeldImages {
  /** @param {{decides: boolean, user: string}} viewer `decides` shows the images of all users, with their release */
  constructor({ decides, user }) {
    this.decides = decides;
    this.user = user;
    this.root = make("div", { class: "table-frame" });
  }

  async load() {
    /** @type {{images: HeldImage[]}} */
    const { images } = await requestJson(`${HELD}?everybody=${this.decides}`);
    const none = make("p", { class: "note" }, translate("No images are held back."));
    this.root.replaceChildren(...(images.length ? images.map((image) => this.buildRow(image)) : [none]));
  }

  /**
   * @param {HeldImage} image
   * @returns {HTMLElement}
   */
  buildRow(image) {
    const isOwn = image.user === this.user;
    const text = make("div", {}, make("strong", {}, image.user), make("p", { class: "note" }, describeVerdict(image)));
    const buttons = make("div", { class: "users-buttons" });
    if (isOwn && !image.appeal) buttons.append(makeButton("Ask for release", () => this.appeal(image)));
    if (this.decides) {
      const original = { href: `${HELD}/${image.id}/original`, target: "_blank", rel: "noopener", class: "mini" };
      buttons.append(
        make("a", original, translate("Show original")),
        makeButton("Release", () => this.release(image)),
      );
    }
    text.append(buttons);
    const thumbnail = isOwn ? [make("img", { src: image.thumbnail, alt: "", width: 64, height: 64 })] : [];
    return make("div", { class: "held-image" }, ...thumbnail, text);
  }

  /** @param {HeldImage} image */
  async appeal(image) {
    const label = "Why should it be shown?";
    const text = await askForOptionalText({ title: "Ask for release", label, value: "", action: "Ask" });
    if (text !== null) await this.run(`${HELD}/${image.id}/appeal`, { text });
  }

  /** @param {HeldImage} image */
  release(image) {
    return this.run(`${HELD}/${image.id}/release`, {});
  }

  /**
   * @param {string} address
   * @param {unknown} body
   */
  async run(address, body) {
    try {
      await postJson(address, body);
      await this.load();
    } catch (error) {
      showError(error);
    }
  }
}
