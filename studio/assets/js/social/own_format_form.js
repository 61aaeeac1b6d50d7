// @ts-check
/** The form for a format of the user's own. */

import { make, makeButton } from "../common/dom.js";
import { postJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { formatStore } from "./format_store.js";
import { translate } from "../common/translate.js";

export class OwnFormatForm {
  /** @param {(id: string) => void} onSaved */
  constructor(onSaved) {
    this.onSaved = onSaved;
    this.name = make("input", { type: "text", maxlength: 60 });
    this.width = make("input", { type: "number", min: 16, max: 8192, value: 1200 });
    this.height = make("input", { type: "number", min: 16, max: 8192, value: 900 });
    this.limit = make("input", { type: "number", min: 1, placeholder: "no limit" });
    this.share = make("input", { type: "checkbox" });
    this.shareLabel = make("label", { hidden: true }, translate("For all users"), this.share);
    const form = make(
      "div",
      { class: "formats-form" },
      make("label", {}, translate("Name"), this.name),
      make("label", {}, translate("Width"), this.width),
      make("label", {}, translate("Height"), this.height),
      make("label", {}, translate("Max file size (kB)"), this.limit),
      this.shareLabel,
      makeButton("Save format", () => this.save()),
    );
    this.root = make("details", { class: "formats-own" }, make("summary", {}, translate("Custom format")), form);
  }

  /** @param {boolean} mayShare whether this user may save formats for everybody */
  allowSharing(mayShare) {
    this.shareLabel.hidden = !mayShare;
  }

  async save() {
    try {
      const made = await postJson("page/social/formats", {
        name: this.name.value,
        width: Math.round(Number(this.width.value)),
        height: Math.round(Number(this.height.value)),
        limit: this.limit.value ? Math.round(Number(this.limit.value) * 1000) : null,
        shared: this.share.checked,
      });
      formatStore.setData(made);
      this.onSaved(made.id);
    } catch (error) {
      showError(error);
    }
  }
}
