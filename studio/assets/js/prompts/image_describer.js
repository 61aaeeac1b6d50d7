// @ts-check
/** The button that writes the prompt of the form's image. */

import { make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { followImages } from "../images/pad_registry.js";
import { describeImage } from "./prompts_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./prompts_api.js").Description} Description */

/** @type {Record<string, string>} */
const SPEAKERS = {
  recipe: "From the image's own recipe.",
  infotext: "From the image's own metadata.",
  measured: "Measured: the file contains no prompt.",
};

/**
 * @param {Description} description
 * @returns {string} who gave it
 */
export function nameSpeaker({ source }) {
  return translate(SPEAKERS[source] ?? "Written by {name}.", { name: source });
}

export class ImageDescriber {
  /**
   * @param {string} pad name of the pad whose image is described
   * @param {(prompt: string, negative: string) => void} write
   */
  constructor(pad, write) {
    this.pad = pad;
    this.write = write;
    this.image = "";
    /** @type {AbortController | null} */
    this.abort = null;
    this.look = makeButton("Describe image", () => void this.run(""), {
      title: "Write the prompt that the image has, or what can be measured",
    });
    this.caption = makeButton("Write a caption", () => void this.run("captioner"));
    this.caption.hidden = true;
    this.ask = makeButton("Ask the language model", () => void this.run("chat"));
    this.ask.hidden = true;
    this.stop = makeButton("Stop", () => this.abort?.abort());
    this.stop.hidden = true;
    this.state = make("span", { class: "prompt-advice", role: "status" });
    this.root = make("span", { class: "prompt-tools" }, this.look, this.caption, this.ask, this.stop, this.state);
  }

  /** @param {import("./prompts_api.js").Helpers | null} helpers */
  show(helpers) {
    this.caption.hidden = !helpers?.captioner;
    this.ask.hidden = !helpers?.model;
  }

  start() {
    followImages(this.pad, this.root, (images) => {
      this.image = images.length === 1 ? (images[0] ?? "") : "";
      for (const button of [this.look, this.caption, this.ask]) button.disabled = !this.image;
      this.state.textContent = "";
    });
  }

  /** @param {"" | "captioner" | "chat"} by */
  async run(by) {
    this.abort = new AbortController();
    for (const button of [this.look, this.caption, this.ask]) button.disabled = true;
    this.stop.hidden = !by;
    this.state.textContent = translate("Looking …");
    try {
      const found = await describeImage(this.image, by, this.abort.signal);
      this.write(found.prompt, found.negativePrompt);
      this.state.textContent = nameSpeaker(found);
    } catch (error) {
      this.state.textContent = "";
      if (!this.abort.signal.aborted) showError(error);
    } finally {
      for (const button of [this.look, this.caption, this.ask]) button.disabled = !this.image;
      this.stop.hidden = true;
    }
  }
}
