// @ts-check
/** From a brief to prompts: what was understood as chips, prompts as cards to tick and edit, one job per card. */

import { make, makeButton } from "../common/dom.js";
import { postJson, requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { streamBrief } from "./prompts_api.js";

/** @typedef {import("./prompts_api.js").BriefAnswer} BriefAnswer */
/** @typedef {import("./prompts_api.js").Classification} Classification */
/** @typedef {import("./prompts_api.js").NamedPrompt} NamedPrompt */

const CREATE = "api/image-studio/create";
const JOB = "api/image-studio/jobs";
const POLL_MS = 1000;
const MOST = 8;
const MAX_SEED = 2 ** 32;
const FINAL = ["finished", "failed", "cancelled"];
const DISMISSED = "easel.dismissed-cautions";

export class BriefView {
  constructor() {
    this.text = make("textarea", { rows: 3, "aria-label": "Brief", placeholder: "What are the images for?" });
    this.category = make("input", { type: "text", maxlength: 100, "aria-label": "Category" });
    this.category.placeholder = "Category, such as poster";
    this.count = make("input", { type: "number", min: 1, max: MOST, value: 4, "aria-label": "Number of prompts" });
    this.find = makeButton("Find prompts", () => void this.run(), { class: "mini mini-main" });
    this.stop = makeButton("Stop", () => this.abort?.abort());
    this.stop.hidden = true;
    this.state = make("span", { class: "note", role: "status" });
    this.known = make("div", { class: "prompt-chips", "aria-label": "What was understood" });
    this.cautions = make("ul", { class: "cautions" });
    this.cards = make("div", { class: "brief-cards" });
    this.generate = makeButton("Generate ticked prompts", () => void this.start(), { class: "mini mini-main" });
    this.generate.hidden = true;
    this.results = make("div", { class: "brief-results", "aria-live": "polite" });
    /** @type {AbortController | null} */
    this.abort = null;
    /** @type {BriefAnswer | null} */
    this.answer = null;
    const fields = make(
      "div",
      { class: "wildcard-buttons" },
      this.category,
      this.count,
      this.find,
      this.stop,
      this.state,
    );
    this.root = make(
      "section",
      { class: "brief", "aria-label": "From a brief" },
      make("h3", {}, "From a brief"),
      this.text,
      fields,
      this.known,
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
    const body = { text: this.text.value, category: this.category.value, count: Number(this.count.value) || 4 };
    try {
      await streamBrief(body, this.abort.signal, (name, data) => {
        if (name === "classification") this.showKnown(data);
        else if (name === "delta") this.state.textContent = `Writing … ${(written += data.text.length)} characters`;
        else if (name === "done") this.showAnswer(data);
      });
    } catch (error) {
      if (this.abort.signal.aborted) this.state.textContent = "Stopped.";
      else showError(error);
    } finally {
      this.setBusy(false);
    }
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.find.disabled = busy;
    this.stop.hidden = !busy;
    if (busy) this.state.textContent = "Reading the brief …";
    else if (this.state.textContent?.endsWith("…")) this.state.textContent = "";
  }

  /** @param {Classification} known */
  showKnown(known) {
    const because = known.because;
    const chips = [
      ...known.territories.map((code) => `${code} (${because[code] ?? ""})`),
      ...known.regions,
      known.era,
      known.occasion,
      known.setting,
      known.people ? "people" : "",
    ].filter(Boolean);
    this.known.replaceChildren(...chips.map((text) => this.makeChip(text)));
    const dismissed = readDismissed();
    const cautions = known.cautions.filter((each) => !dismissed.includes(each.because));
    this.cautions.replaceChildren(
      ...known.questions.map((text) => make("li", {}, text)),
      ...cautions.map((each) => makeCaution(each.because, each.text, each.source)),
    );
  }

  /**
   * A chip that was understood wrongly is clicked away, and the brief says so.
   * @param {string} text
   */
  makeChip(text) {
    const chip = makeButton(`${text} ×`, () => {
      chip.remove();
      this.text.value = `${this.text.value.trimEnd()} (not ${text.replace(/ \(.*\)$/, "")})`;
    });
    chip.title = "Not meant";
    return chip;
  }

  /** @param {BriefAnswer} answer */
  showAnswer(answer) {
    this.answer = answer;
    this.cards.replaceChildren(...answer.prompts.map(makeCard));
    this.generate.hidden = !answer.prompts.length;
    const writer = answer.source === "rules" ? "Written by rules." : `Written by ${answer.source}.`;
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
        void this.follow(jobId, prompt);
      }
    } catch (error) {
      showError(error);
    } finally {
      this.generate.disabled = false;
    }
  }

  /**
   * Show a job's images once they are there.
   * @param {string} id
   * @param {string} prompt
   */
  async follow(id, prompt) {
    const place = make("figure", {}, make("figcaption", {}, "Waiting …"));
    this.results.append(place);
    try {
      for (;;) {
        const job = await requestJson(`${JOB}/${id}`);
        if (FINAL.includes(job.status)) {
          const images = job.images.map((/** @type {any} */ image) => make("img", { src: image.url, alt: prompt }));
          place.replaceChildren(...images, make("figcaption", {}, job.error?.error ?? prompt));
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    } catch (error) {
      place.remove();
      showError(error);
    }
  }
}

/** @param {NamedPrompt} prompt */
function makeCard(prompt) {
  const tick = make("input", { type: "checkbox", checked: true });
  return make(
    "div",
    { class: "brief-card" },
    make("label", {}, tick, ` ${prompt.name}`),
    make("textarea", { rows: 4, "aria-label": "Prompt" }, prompt.prompt),
    make("textarea", { rows: 2, "aria-label": "Negative prompt" }, prompt.negativePrompt),
  );
}

/** @param {Element} card */
function readCard(card) {
  const [prompt, negative] = [...card.querySelectorAll("textarea")].map((box) => box.value.trim());
  return { ticked: card.querySelector("input")?.checked ?? false, prompt, negative };
}

/**
 * @param {string} because
 * @param {string} text
 * @param {string} source
 */
function makeCaution(because, text, source) {
  const link = make("a", { href: source, target: "_blank", rel: "noopener noreferrer" }, "Source");
  const item = make("li", {}, make("strong", {}, because), ` ${text} `, link, " ");
  item.append(
    makeButton("Do not show again", () => {
      localStorage.setItem(DISMISSED, JSON.stringify([...readDismissed(), because]));
      item.remove();
    }),
  );
  return item;
}

/** @returns {string[]} */
function readDismissed() {
  try {
    const kept = JSON.parse(localStorage.getItem(DISMISSED) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}
