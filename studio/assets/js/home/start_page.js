// @ts-check
/** The start page: the latest images, jobs, spending, the machine, and shortcuts. */

import { get, make, makeButton } from "../common/dom.js";
import { openTab } from "../common/open_tab.js";
import { requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { chooseTemplate } from "../form/template_cards.js";
import { listAssets } from "../library/library_api.js";
import { requestAsset, setShownAsset } from "../library/shown_asset.js";
import { describeAsset } from "../library/thumbnail.js";
import { describeBudget, describeJob, describeModels, formatGigabytes, listPrompts } from "./overview_texts.js";
import { translate } from "../common/translate.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {import("../library/library_api.js").Asset} Asset */
/** @typedef {import("./overview_texts.js").Job} Job */
/** @typedef {import("./overview_texts.js").Overview} Overview */

const LATEST = 18; // images
const BUSY_MS = 2000; // between two looks while a job runs
const IDLE_MS = 15000;
const REUSE = "#home-reuse"; // a button of Gradio's, out of sight
const SHORTCUTS = ["Txt2Img", "Img2Img", "Extras", "Social Optimizer", "Compare", "Library"];

/**
 * Build the start page into its component.
 * @param {FieldHost} host
 */
export function mountStartPage(host) {
  const page = new StartPage();
  host.element.replaceChildren(page.root);
  page.start();
}

class StartPage {
  constructor() {
    this.timer = 0;
    this.isBusy = false;
    this.latest = make("div", { class: "home-latest" });
    this.jobs = make("div", {});
    this.prompts = make("div", { class: "home-list" });
    this.templates = make("div", { class: "chips home-chips" });
    this.spending = make("div", {});
    this.machine = make("div", {});
    const shortcuts = SHORTCUTS.map((title) =>
      makeButton(title, () => openTab(title.toLowerCase()), { class: "chip" }),
    );
    this.templatesBlock = buildBlock("Templates", this.templates);
    this.promptsBlock = buildBlock("Recent prompts", this.prompts);
    this.root = make("div", { class: "home" });
    this.root.append(
      buildBlock("Continue with", make("div", { class: "chips home-chips" }, ...shortcuts), "home-wide"),
      buildBlock("Jobs", this.jobs),
      buildBlock("Spending", this.spending),
      buildBlock("Latest images", this.latest, "home-wide"),
      this.promptsBlock,
      this.templatesBlock,
      buildBlock("Models and machine", this.machine, "home-wide"),
    );
  }

  start() {
    new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.load(true);
    }).observe(this.root);
    document.addEventListener("visibilitychange", () => document.hidden || this.load(false));
  }

  /**
   * Ask for everything, and again after a while as long as the page is looked at.
   * @param {boolean} withImages
   */
  async load(withImages) {
    clearTimeout(this.timer);
    if (!this.root.offsetParent || document.hidden) return;
    try {
      const wasBusy = this.isBusy;
      /** @type {Overview} */
      const overview = await requestJson("page/home");
      this.show(overview);
      if (withImages || (wasBusy && !this.isBusy)) await this.loadImages();
    } catch (error) {
      showFailure(this.jobs, error);
    }
    this.timer = window.setTimeout(() => this.load(this.isBusy), this.isBusy ? BUSY_MS : IDLE_MS);
  }

  async loadImages() {
    try {
      const { assets } = await listAssets({ q: "", order: "newest", trashed: false }, "", LATEST);
      this.showImages(assets);
    } catch (error) {
      showFailure(this.latest, error);
    }
  }

  /** @param {Overview} overview */
  show({ jobs, spending, models, templates, machine }) {
    this.isBusy = jobs.length > 0;
    const none = make("p", { class: "note" }, translate("Nothing is running."));
    this.jobs.replaceChildren(...(jobs.length ? jobs.map((job) => this.buildJob(job)) : [none]));
    this.templatesBlock.hidden = !templates.length;
    this.templates.replaceChildren(
      ...templates.map(({ id, name }) => makeButton(name, () => chooseTemplate(id), { class: "chip" })),
    );
    this.spending.replaceChildren(
      ...spending.map((each) => buildMeter(describeBudget(each), each.budget ? each.spent / each.budget : null)),
    );
    this.machine.replaceChildren(make("p", {}, describeModels(models)), ...(machine ? buildMachine(machine) : []));
  }

  /**
   * @param {Job} job
   * @returns {HTMLElement}
   */
  buildJob(job) {
    const stop = makeButton("Stop", () => this.stopJob(job.id), {
      "aria-label": translate("Stop {name}", { name: describeJob(job) }),
    });
    const text = make("span", { class: "home-job-text" }, make("b", {}, job.prompt || job.task), describeJob(job));
    const fill = make("span", {});
    fill.style.width = `${Math.round(job.progress * 100)}%`;
    return make("div", { class: "home-job" }, text, stop, make("div", { class: "bar", "aria-hidden": "true" }, fill));
  }

  /** @param {string} id */
  async stopJob(id) {
    try {
      await requestJson(`api/image-studio/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
      await this.load(false);
    } catch (error) {
      showError(error);
    }
  }

  /** @param {Asset[]} assets */
  showImages(assets) {
    const empty = make("p", { class: "note" }, translate("No images yet. Describe one in Txt2Img."));
    this.latest.replaceChildren(...(assets.length ? assets.map((asset) => this.buildThumbnail(asset)) : [empty]));
    const prompts = listPrompts(assets);
    this.promptsBlock.hidden = !prompts.length;
    this.prompts.replaceChildren(
      ...prompts.map(({ id, prompt, model }) => {
        const label = { class: "home-prompt", title: "Use its settings in Txt2Img" };
        const button = makeButton("", () => this.useSettings(id), label);
        button.append(make("span", {}, prompt), make("small", {}, model));
        return button;
      }),
    );
  }

  /**
   * @param {Asset} asset
   * @returns {HTMLElement}
   */
  buildThumbnail(asset) {
    const open = () => {
      requestAsset(asset.id);
      openTab("library");
    };
    const button = makeButton("", open, { class: "home-thumb", "aria-label": `Open ${describeAsset(asset)}` });
    button.append(make("img", { src: asset.thumbnail, alt: "", loading: "lazy" }));
    return button;
  }

  /** @param {string} id of an image */
  useSettings(id) {
    setShownAsset(id, this.root);
    get(REUSE, document).click();
  }
}

/**
 * @param {string} title
 * @param {HTMLElement} content
 * @param {string} [classes]
 * @returns {HTMLElement}
 */
function buildBlock(title, content, classes = "") {
  const attributes = { class: `home-block ${classes}`, "aria-label": title };
  return make("section", attributes, make("h3", {}, translate(title)), content);
}

/**
 * @param {string} text
 * @param {number | null} share that is used, null for no bar
 * @returns {HTMLElement}
 */
function buildMeter(text, share) {
  const meter = make("div", { class: "home-meter" }, make("p", {}, text));
  if (share === null) return meter;
  const fill = make("span", {});
  fill.style.width = `${Math.min(100, Math.round(share * 100))}%`;
  meter.append(make("div", { class: `bar ${share >= 0.9 ? "bar-full" : ""}`, "aria-hidden": "true" }, fill));
  return meter;
}

/**
 * @param {import("./overview_texts.js").Machine} machine
 * @returns {HTMLElement[]}
 */
function buildMachine({ disk, memory, resident }) {
  const describe = (/** @type {{free: number, total: number}} */ { free, total }) =>
    translate("{free} of {total} free", { free: formatGigabytes(free), total: formatGigabytes(total) });
  const measure = (/** @type {{free: number, total: number}} */ { free, total }) => (total ? 1 - free / total : null);
  const held = resident.length
    ? translate("In memory: {names}", { names: resident.join(", ") })
    : translate("No model is in memory.");
  return [
    buildMeter(translate("Disk: {free}", { free: describe(disk) }), measure(disk)),
    buildMeter(
      translate("Memory ({device}): {free}", { device: memory.device, free: describe(memory) }),
      measure(memory),
    ),
    make("p", { class: "note" }, held),
  ];
}

/**
 * @param {HTMLElement} place
 * @param {unknown} error
 */
function showFailure(place, error) {
  const text = error instanceof Error ? error.message : String(error);
  place.replaceChildren(make("p", { class: "note note-bad", role: "alert" }, text));
}
