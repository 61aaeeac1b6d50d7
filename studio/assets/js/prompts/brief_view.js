// @ts-check
/** From a brief to prompts: what was understood as chips, prompts as cards to tick and edit, one job per card. */

import { make, makeButton } from "../common/dom.js";
import { postJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { streamBrief } from "./brief_api.js";
import { makeCard, readCard } from "./brief_cards.js";
import { BriefFilters } from "./brief_filters.js";
import { makeNotices } from "./cautions.js";
import { showResult } from "./job_results.js";
import { KnownChips } from "./known_chips.js";
import { fillPersonas } from "./persona_choice.js";
import { PERSONAS_CHANGED } from "./persona_editor.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./brief_api.js").BriefAnswer} BriefAnswer */
/** @typedef {import("./brief_api.js").Classification} Classification */

const CREATE = "api/image-studio/create";
const MOST = 8;
const MAX_SEED = 2 ** 32;
const CATEGORIES = [
  "Poster",
  "Social media post",
  "Product photo",
  "Book cover",
  "Album cover",
  "Header image",
  "Illustration",
  "Icon",
  "Packaging",
  "Greeting card",
];

export class BriefView {
  constructor() {
    this.text = make("textarea", { rows: 3, "aria-label": "Brief", placeholder: "What are the images for?" });
    this.category = make("input", { type: "text", maxlength: 100, "aria-label": "Category", list: "categories" });
    this.category.placeholder = translate("Category, such as poster");
    this.persona = make("select", { "aria-label": "Persona" });
    fillPersonas(this.persona, [], "No persona", "");
    document.addEventListener(PERSONAS_CHANGED, (event) => {
      if (event instanceof CustomEvent) fillPersonas(this.persona, event.detail, "No persona", this.persona.value);
    });
    this.count = make("input", { type: "number", min: 1, max: MOST, value: 4, "aria-label": "Number of prompts" });
    this.find = makeButton("Find prompts", () => void this.run(), { class: "mini mini-main" });
    this.stop = makeButton("Stop", () => this.abort?.abort());
    this.stop.hidden = true;
    this.state = make("span", { class: "note", role: "status" });
    this.known = new KnownChips(() => {
      this.state.textContent = translate("Corrected. Press Find prompts to use it.");
    });
    this.filters = new BriefFilters(() => this.known.clear());
    for (const box of [this.text, this.category]) box.addEventListener("input", () => this.known.clear());
    this.cautions = make("ul", { class: "cautions" });
    this.cards = make("div", { class: "brief-cards" });
    this.generate = makeButton("Generate ticked prompts", () => void this.start(), { class: "mini mini-main" });
    this.generate.hidden = true;
    this.results = make("div", { class: "brief-results", "aria-live": "polite" });
    /** @type {AbortController | null} */
    this.abort = null;
    /** @type {BriefAnswer | null} */
    this.answer = null;
    this.root = this.build();
  }

  build() {
    const categories = CATEGORIES.map((name) => make("option", { value: name }));
    const fields = make("div", { class: "wildcard-buttons" }, this.category, this.persona, this.count);
    fields.append(make("datalist", { id: "categories" }, ...categories));
    return make(
      "section",
      { class: "brief", "aria-label": "From a brief" },
      make("h3", {}, translate("From a brief")),
      this.text,
      fields,
      this.filters.root,
      make("div", { class: "wildcard-buttons" }, this.find, this.stop, this.state),
      this.known.root,
      this.cautions,
      this.cards,
      this.generate,
      this.results,
    );
  }

  async run() {
    this.abort = new AbortController();
    this.setBusy(true);
    this.cards.replaceChildren();
    this.generate.hidden = true;
    let written = 0;
    const body = {
      text: this.text.value,
      category: this.category.value.trim(),
      filters: this.filters.values,
      persona: this.persona.value,
      count: Number(this.count.value) || 4,
      corrections: this.known.said,
    };
    try {
      await streamBrief(body, this.abort.signal, (name, data) => {
        if (name === "classification") this.showKnown(data);
        else if (name === "delta") {
          this.state.textContent = translate("Writing … {count} characters", { count: (written += data.text.length) });
        } else if (name === "done") this.showAnswer(data);
      });
    } catch (error) {
      if (this.abort.signal.aborted) this.state.textContent = translate("Stopped.");
      else showError(error);
    } finally {
      this.setBusy(false);
    }
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.find.disabled = busy;
    this.stop.hidden = !busy;
    if (busy) this.state.textContent = translate("Reading the brief …");
    else if (/…( .+)?$/.test(this.state.textContent ?? "")) this.state.textContent = "";
  }

  /** @param {Classification} known */
  showKnown(known) {
    this.known.show(known);
    this.cautions.replaceChildren(...makeNotices(known));
  }

  /** @param {BriefAnswer} answer */
  showAnswer(answer) {
    this.answer = answer;
    this.cards.replaceChildren(...answer.prompts.map(makeCard));
    this.generate.hidden = !answer.prompts.length;
    const writer =
      answer.source === "rules"
        ? translate("Written by rules.")
        : translate("Written by {name}.", { name: answer.source });
    this.state.textContent = [writer, ...answer.notes].join(" ");
  }

  async start() {
    const config = this.answer?.config ?? {};
    const seed = Math.floor(Math.random() * MAX_SEED);
    const cards = [...this.cards.children].filter((card) => readCard(card).ticked);
    this.generate.disabled = true;
    try {
      for (const card of cards) {
        const { prompt, negative } = readCard(card);
        const asked = { ...config, prompt, ...(negative ? { negative_prompt: negative } : {}), seed };
        const { jobId } = await postJson(CREATE, asked);
        void showResult(this.results, jobId, prompt);
      }
    } catch (error) {
      showError(error);
    } finally {
      this.generate.disabled = false;
    }
  }
}
