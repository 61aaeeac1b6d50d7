// @ts-check
/** What stands below a prompt: a random prompt, phrases for what it does not say yet, personas, and advice. */

import { find, make, makeButton } from "../common/dom.js";
import { findBox, typeInto } from "../common/gradio_dom.js";
import { showError } from "../common/toasts.js";
import { makeForeverSwitch } from "../form/generate_forever.js";
import { openLoraPicker } from "../form/lora_picker.js";
import { openRestoreDialog } from "../form/restore_settings.js";
import { ImageDescriber } from "./image_describer.js";
import { fillPersonas } from "./persona_choice.js";
import { removePhrase } from "./prompt_edits.js";
import {
  adviseModel,
  applyPersona,
  drawRandomPrompt,
  enhancePrompt,
  getHelpers,
  listPersonas,
  rewritePrompt,
} from "./prompts_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/**
 * @typedef {object} Options
 * @property {string} prefix of the form's element ids
 * @property {string} pad name of the pad with the form's image, "" for none
 * @property {string[]} subjects what random prompts can be about
 * @property {boolean} restores whether the form takes settings back from images and infotext
 */

class PromptTools {
  /** @param {Options} options */
  constructor({ prefix, pad, subjects, restores }) {
    this.prefix = prefix;
    /** @type {AbortController | null} */
    this.abort = null;
    this.chips = make("span", { class: "prompt-chips", role: "group", "aria-label": "Added phrases" });
    this.advice = make("span", { class: "prompt-advice", role: "status" });
    this.undo = makeButton("Undo", () => this.restore());
    this.undo.hidden = true;
    /** @type {{prompt: string, negative: string} | null} */
    this.before = null;
    this.subject = make(
      "select",
      { "aria-label": "Subject of random prompts" },
      make("option", { value: "" }, translate("Any")),
    );
    this.subject.append(...subjects.map((name) => make("option", { value: name }, capitalise(name))));
    const random = makeButton("⚂ Random prompt", () => this.run(() => this.drawRandom()), {
      title: "Write a random prompt for the chosen model",
    });
    const enhance = makeButton("✦ Enhance", () => this.run(() => this.enhance()), {
      title: "Add what the prompt does not say yet",
    });
    this.rewriter = makeButton("Rewrite", () => this.run(() => this.rewrite()), {
      title: "Let the language model write the prompt anew",
    });
    this.rewriter.hidden = true;
    const lora = makeButton("+ LoRA", () => this.run(() => this.pickLora()), { title: "Add a LoRA to the prompt" });
    const restore = makeButton("↙ Restore", () => openRestoreDialog(readBox(this.prompt)), {
      title: "Take the settings of an image, or paste its infotext",
    });
    restore.hidden = !restores;
    this.stop = makeButton("Stop", () => this.abort?.abort());
    this.stop.hidden = true;
    this.buttons = [lora, restore, random, enhance, this.rewriter];
    this.persona = make("select", {
      "aria-label": "Persona",
      title: "Put the look of a persona behind the prompt",
      onfocus: () => void this.listPersonas(),
      onchange: () => void this.run(() => this.applyPersona()),
    });
    fillPersonas(this.persona, [], "Persona…", "");
    this.advised = ""; // the prompt that was looked at last
    this.describer = pad ? new ImageDescriber(pad, (prompt, negative) => this.write(prompt, negative || null)) : null;
    const describer = this.describer ? [this.describer.root] : [];
    const forever = makeForeverSwitch(prefix);
    const tools = [...this.buttons, forever, this.persona, ...describer, this.stop, this.undo, this.chips, this.advice];
    this.root = make("div", { class: "prompt-tools" }, ...tools);
    random.after(this.subject);
  }

  /** Begin with what has to stand on the page. */
  async start() {
    this.describer?.start();
    // The fields of the form may come after this one.
    document.addEventListener("focusout", (event) => {
      if (event.target === this.prompt) void this.advise();
    });
    const helpers = await getHelpers().catch(() => null); // without them, typing goes on
    this.rewriter.hidden = !helpers?.model;
    this.describer?.show(helpers);
  }

  async listPersonas() {
    try {
      fillPersonas(this.persona, await listPersonas(), "Persona…", this.persona.value);
    } catch (error) {
      showError(error);
    }
  }

  async applyPersona() {
    const name = this.persona.value;
    this.persona.value = "";
    if (!name) return;
    const texts = { prompt: readBox(this.prompt), negativePrompt: readBox(this.negative), model: this.model };
    const styled = await applyPersona(name, texts);
    this.write(styled.prompt, styled.negativePrompt === texts.negativePrompt ? null : styled.negativePrompt);
    this.chips.replaceChildren(...styled.additions.map((addition) => this.makeChip(addition.text)));
  }

  /** Tell where the prompt asks for another look than the model was made for. */
  async advise() {
    const prompt = readBox(this.prompt);
    if (prompt === this.advised) return;
    this.advised = prompt;
    const found = await adviseModel(prompt, this.model).catch(() => null); // a help that nobody asked for
    const isLate = !found || readBox(this.prompt) !== prompt;
    if (!isLate && (found.advice || find("button", this.advice))) this.showAdvice(found.advice, found.switchTo);
  }

  get prompt() {
    return findBox(`#${this.prefix}prompt`);
  }

  get negative() {
    return findBox(`#${this.prefix}negative-prompt`);
  }

  /** The id of the chosen model, which the note below the list of models carries. */
  get model() {
    const view = this.root.closest(".easel") ?? document;
    return find(".model-note [data-model]", view)?.dataset.model ?? "";
  }

  /** @param {() => Promise<void>} act */
  async run(act) {
    this.buttons.forEach((button) => (button.disabled = true));
    try {
      await act();
    } catch (error) {
      showError(error);
    } finally {
      this.buttons.forEach((button) => (button.disabled = false));
    }
  }

  async drawRandom() {
    const drawn = await drawRandomPrompt(this.model, this.subject.value);
    this.write(drawn.prompt, drawn.negativePrompt);
  }

  async enhance() {
    const text = readBox(this.prompt);
    const enhanced = await enhancePrompt(text, this.model);
    if (readBox(this.prompt) !== text) return; // typed on meanwhile
    if (enhanced.additions.length) this.write(enhanced.prompt, null);
    this.chips.replaceChildren(...enhanced.additions.map((addition) => this.makeChip(addition.text)));
    this.showAdvice(
      enhanced.additions.length ? enhanced.advice : enhanced.advice || translate("The prompt says everything already."),
      enhanced.switchTo,
    );
  }

  async rewrite() {
    const text = readBox(this.prompt);
    this.abort = new AbortController();
    this.stop.hidden = false;
    this.showAdvice(translate("Writing …"), "");
    try {
      const written = await rewritePrompt(text, this.model, this.abort.signal);
      if (readBox(this.prompt) === text) this.write(written.prompt, null);
      this.showAdvice(written.advice, "");
    } catch (error) {
      this.showAdvice("", "");
      if (!this.abort.signal.aborted) throw error;
    } finally {
      this.stop.hidden = true;
    }
  }

  async pickLora() {
    await openLoraPicker(
      this.model,
      () => readBox(this.prompt),
      (prompt) => this.write(prompt, null),
    );
  }

  /**
   * @param {string} prompt
   * @param {string | null} negative null leaves it
   */
  write(prompt, negative) {
    this.before = { prompt: readBox(this.prompt), negative: readBox(this.negative) };
    this.undo.hidden = false;
    this.chips.replaceChildren();
    this.showAdvice("", "");
    if (this.prompt) typeInto(this.prompt, prompt);
    if (negative !== null && this.negative) typeInto(this.negative, negative);
  }

  restore() {
    if (!this.before) return;
    if (this.prompt) typeInto(this.prompt, this.before.prompt);
    if (this.negative) typeInto(this.negative, this.before.negative);
    this.before = null;
    this.undo.hidden = true;
    this.chips.replaceChildren();
    this.prompt?.focus();
  }

  /** @param {string} text */
  makeChip(text) {
    const chip = makeButton(`${text} ×`, () => {
      if (this.prompt) typeInto(this.prompt, removePhrase(readBox(this.prompt), text));
      chip.remove();
    });
    chip.setAttribute("aria-label", translate("Remove “{text}”", { text }));
    return chip;
  }

  /**
   * @param {string} text
   * @param {string} model that fits better, "" for none
   */
  showAdvice(text, model) {
    this.advice.replaceChildren(text);
    if (!model) return;
    const field = findBox(`#${this.prefix}switch-model`);
    if (!field) return;
    const change = () => {
      this.advised = "";
      typeInto(field, model);
      this.showAdvice("", "");
    };
    this.advice.append(" ", makeButton("Switch", change));
  }
}

/**
 * Build the buttons into their component.
 * @param {FieldHost} host
 * @param {Options} options
 */
export function mountPromptTools(host, options) {
  const tools = new PromptTools(options);
  host.element.replaceChildren(tools.root);
  void tools.start();
}

/** @param {string} text */
function capitalise(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {HTMLElement | null} box */
function readBox(box) {
  return box instanceof HTMLTextAreaElement || box instanceof HTMLInputElement ? box.value : "";
}
