// @ts-check
/** A prompt for an image: its own, what can be measured, or what a captioner or the chat server's model sees. */

import { make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { mountImagePad } from "../images/image_pad.js";
import { followImages } from "../images/pad_registry.js";
import { writeIntoForm } from "./form_prompt.js";
import { nameSpeaker } from "./image_describer.js";
import { describeImage, getHelpers } from "./prompts_api.js";
import { translate } from "../common/translate.js";

const PAD = "describe-source";
export class DescribeView {
  constructor() {
    /** @type {string} */
    this.image = "";
    /** @type {AbortController | null} */
    this.abort = null;
    const pad = make("div", { class: "pad-slot" });
    const hint = translate("Drop, paste or choose a file");
    mountImagePad(makeHost(pad), { name: PAD, label: translate("Image"), many: false, hint });
    this.look = makeButton("Describe", () => void this.run(""), { class: "mini mini-main" });
    this.caption = makeButton("Write a caption", () => void this.run("captioner"), {
      title: "By a network here; its weights are downloaded in Configurations",
    });
    this.ask = makeButton("Ask the language model", () => void this.run("chat"));
    this.ask.hidden = true;
    this.stop = makeButton("Stop", () => this.abort?.abort());
    this.stop.hidden = true;
    this.state = make("span", { class: "note", role: "status" });
    this.prompt = make("textarea", { rows: 4, "aria-label": "Description" });
    this.negative = make("textarea", { rows: 2, "aria-label": "Negative prompt" });
    const use = makeButton("Use in Txt2Img", () => {
      void writeIntoForm(this.prompt.value, this.negative.value).catch(showError);
    });
    this.found = make("div", { class: "described" }, this.prompt, this.negative, use);
    this.found.hidden = true;
    this.root = make(
      "section",
      { class: "describe", "aria-label": "Describe an image" },
      make("h3", {}, translate("Describe an image")),
      pad,
      make("div", { class: "wildcard-buttons" }, this.look, this.caption, this.ask, this.stop, this.state),
      this.found,
    );
  }

  async start() {
    followImages(PAD, this.root, ([image]) => {
      this.image = image ?? "";
      for (const button of [this.look, this.caption, this.ask]) button.disabled = !image;
      this.found.hidden = true;
      this.state.textContent = "";
    });
    try {
      this.ask.hidden = !(await getHelpers()).model;
    } catch (error) {
      showError(error);
    }
  }

  /** @param {"" | "captioner" | "chat"} by */
  async run(by) {
    this.abort = new AbortController();
    const buttons = [this.look, this.caption, this.ask];
    buttons.forEach((button) => (button.disabled = true));
    this.stop.hidden = !by;
    this.state.textContent = translate("Looking …");
    try {
      const found = await describeImage(this.image, by, this.abort.signal);
      this.prompt.value = found.prompt;
      this.negative.value = found.negativePrompt;
      this.negative.hidden = !found.negativePrompt;
      this.found.hidden = false;
      this.state.textContent = nameSpeaker(found);
    } catch (error) {
      this.state.textContent = this.abort.signal.aborted ? translate("Stopped.") : "";
      if (!this.abort.signal.aborted) showError(error);
    } finally {
      buttons.forEach((button) => (button.disabled = !this.image));
      this.stop.hidden = true;
    }
  }
}

/**
 * What a field of Gradio's gives a pad, for one that stands in a view of ours.
 * @param {HTMLElement} element
 * @returns {import("../common/gradio_dom.js").FieldHost}
 */
function makeHost(element) {
  return { element, props: { value: "" }, watch: () => {}, trigger: () => {} };
}
