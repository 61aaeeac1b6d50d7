// @ts-check
/** Personas, written and chosen: for whom images are and how they look. */

import { askToConfirm } from "../common/ask_dialog.js";
import { make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { fillPersonas } from "./persona_choice.js";
import { deletePersona, listPersonas, savePersona } from "./prompts_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./prompts_api.js").Persona} Persona */

/** @type {[Exclude<keyof Persona, "name">, string, string][]} field, label and example */
const FIELDS = [
  ["audience", "Audience", "commuters who read for ten seconds"],
  ["tone", "Tone", "dry and friendly"],
  ["look", "Look", "flat shapes, thick outlines"],
  ["palette", "Palette", "two inks on cream paper"],
  ["avoid", "Avoid", "gradients, stock photo smiles"],
];

const HELP =
  "Audience and tone go to a language model, look and palette behind the prompt, Avoid into the negative one.";

/** Told when the personas have changed; its detail are all of them. */
export const PERSONAS_CHANGED = "easel-personas";

export class PersonaEditor {
  constructor() {
    /** @type {Persona[]} */
    this.personas = [];
    this.chosen = make("select", { "aria-label": "Persona to edit", onchange: () => this.open() });
    this.name = make("input", {
      type: "text",
      maxlength: 60,
      "aria-label": "Persona name",
      placeholder: "City poster",
    });
    this.boxes = FIELDS.map(([field, label, example]) => {
      const box = make("textarea", { rows: 1, maxlength: 500, "aria-label": label, placeholder: example });
      return { field, label, box };
    });
    this.state = make("span", { class: "note", role: "status" });
    this.remove = makeButton("Delete", () => void this.drop());
    this.remove.disabled = true;
    const help = make("p", { class: "hint" }, translate(HELP));
    const fields = this.boxes.map(({ label, box }) => make("label", { class: "field" }, translate(label), box));
    const save = makeButton("Save persona", () => void this.keep());
    this.root = make(
      "section",
      { class: "personas", "aria-label": "Personas" },
      make("h3", {}, translate("Personas")),
      help,
      make("label", { class: "field" }, translate("Persona"), this.chosen),
      make("label", { class: "field" }, translate("Name"), this.name),
      ...fields,
      make("div", { class: "wildcard-buttons" }, save, this.remove, this.state),
    );
  }

  /** @param {string | null} [chosen] name of the persona to show, null leaves what is being written */
  async start(chosen = null) {
    try {
      this.personas = await listPersonas();
    } catch (error) {
      showError(error);
    }
    fillPersonas(this.chosen, this.personas, "New persona", chosen ?? this.chosen.value);
    if (chosen !== null) this.open();
    document.dispatchEvent(new CustomEvent(PERSONAS_CHANGED, { detail: this.personas }));
  }

  open() {
    const found = this.personas.find((each) => each.name === this.chosen.value);
    this.name.value = found?.name ?? "";
    for (const { field, box } of this.boxes) box.value = found?.[field] ?? "";
    this.remove.disabled = !found;
    this.state.textContent = "";
  }

  async keep() {
    const fields = Object.fromEntries(this.boxes.map(({ field, box }) => [field, box.value.trim()]));
    try {
      const kept = await savePersona(/** @type {Persona} */ ({ name: this.name.value.trim(), ...fields }));
      await this.start(kept.name);
      this.state.textContent = translate("Saved.");
    } catch (error) {
      showError(error);
    }
  }

  async drop() {
    const name = this.chosen.value;
    const text = translate("The persona “{name}” is deleted. Images keep the prompts that were made with it.", {
      name,
    });
    if (!(await askToConfirm({ title: "Delete persona", text, action: "Delete" }))) return;
    try {
      await deletePersona(name);
      await this.start("");
    } catch (error) {
      showError(error);
    }
  }
}
