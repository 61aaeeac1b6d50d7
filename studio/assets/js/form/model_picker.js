// @ts-check
/**
 * The list of models: those on this computer, then each service folded, with a search over all of them. It opens in
 * place of the list of Gradio's field, which goes on to show the chosen model.
 */

import { find, findAll, getTarget, make, makeButton } from "../common/dom.js";
import { findBox, typeInto } from "../common/gradio_dom.js";
import { requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { translate } from "../common/translate.js";

/** @typedef {{id: string, title: string, state: string}} Model */
/** @typedef {{title: string, state: string, local: boolean, models: Model[]}} Group */

/** The fields by what the element ids of their form begin with. @type {Record<string, string>} */
const FIELDS = { model: "", "i2i-model": "i2i-" };
const FIELD = Object.keys(FIELDS)
  .map((id) => `#${id}`)
  .join(", ");
const MOVES = { ArrowDown: 1, ArrowUp: -1 };

let isOpening = false; // while the list is fetched, so that a second key opens no second one

/** Let the picker open in the place of the fields' own lists. */
export function startModelPicker() {
  const open = (/** @type {Event} */ event) => {
    const field = getTarget(event)?.closest(FIELD);
    if (!field || !getTarget(event)?.closest("input, .wrap")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === "click") openPicker(field.id);
  };
  for (const type of ["pointerdown", "mousedown", "click"]) document.addEventListener(type, open, true);
  document.addEventListener("focus", keepListClosed, true);
  document.addEventListener("keydown", openByKey, true);
}

/** @param {Event} event */
function keepListClosed(event) {
  const box = getTarget(event);
  if (!(box instanceof HTMLInputElement) || !box.closest(FIELD)) return;
  event.stopImmediatePropagation();
  box.readOnly = true;
  box.setAttribute("aria-haspopup", "dialog");
}

/** @param {KeyboardEvent} event */
function openByKey(event) {
  const field = getTarget(event)?.closest(FIELD);
  if (!field || event.key === "Tab" || event.key === "Shift") return;
  event.stopImmediatePropagation();
  const typed = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (!typed && !["Enter", "ArrowDown", "ArrowUp"].includes(event.key)) return;
  event.preventDefault();
  openPicker(field.id, typed ? event.key.trim() : "");
}

/**
 * @param {string} field its element id
 * @param {string} [typed] what is searched for already
 */
async function openPicker(field, typed = "") {
  if (isOpening) return;
  isOpening = true;
  const prefix = FIELDS[field];
  const mode = find(`#${prefix}mode input:checked`);
  const operation = findBox(`#${prefix}operation`);
  const query = new URLSearchParams();
  if (mode instanceof HTMLInputElement) query.set("mode", mode.value);
  if (operation instanceof HTMLInputElement) query.set("operation", operation.value);
  try {
    const groups = await requestJson(`page/models?${query}`);
    new ModelPicker(groups, findChosenModel(field), (model) => chooseModel(prefix, model)).open(typed);
  } catch (error) {
    showError(error);
  } finally {
    isOpening = false;
  }
}

/**
 * @param {string} prefix
 * @param {string} model
 */
function chooseModel(prefix, model) {
  const box = findBox(`#${prefix}switch-model`);
  if (box) typeInto(box, model);
}

/** @param {string} field */
function findChosenModel(field) {
  const view = find(`#${field}`)?.closest(".easel") ?? document;
  return find(".model-note [data-model]", view)?.dataset.model ?? "";
}

class ModelPicker {
  /**
   * @param {Group[]} groups
   * @param {string} chosen
   * @param {(model: string) => void} choose
   */
  constructor(groups, chosen, choose) {
    this.choose = choose;
    this.opener = document.activeElement;
    this.search = make("input", { type: "search", placeholder: "Search models", "aria-label": "Search models" });
    this.search.addEventListener("input", () => this.filter());
    this.none = make("p", { class: "note", role: "status", hidden: true }, translate("No model has this name."));
    const parts = groups.map((group) => this.renderGroup(group, chosen));
    const list = make("div", { class: "picker-list" }, ...parts, this.none);
    const close = makeButton("×", () => this.root.close(), { "aria-label": "Close", class: "mini picker-close" });
    const head = make("div", { class: "picker-head" }, this.search, close);
    this.root = make("dialog", { class: "picker model-picker", "aria-label": "Models" }, head, list);
    this.root.addEventListener("keydown", (event) => this.move(event));
    this.root.addEventListener("click", (event) => event.target === this.root && this.root.close());
    this.root.addEventListener("close", () => this.leave());
  }

  /** @param {string} typed */
  open(typed) {
    document.body.append(this.root);
    this.root.showModal();
    this.search.value = typed;
    this.filter();
    this.search.focus();
    find("[aria-current]", this.root)?.scrollIntoView({ block: "nearest" });
  }

  leave() {
    this.root.remove();
    if (this.opener instanceof HTMLElement) this.opener.focus();
  }

  /**
   * @param {Group} group
   * @param {string} chosen
   */
  renderGroup(group, chosen) {
    const holds = group.models.some((model) => model.id === chosen);
    const count =
      group.models.length === 1 ? translate("1 model") : translate("{count} models", { count: group.models.length });
    const facts = [count, group.state].filter(Boolean).join(" · ");
    const title = make("summary", {}, make("b", {}, group.title), make("small", {}, facts));
    const open = group.local || holds;
    const models = group.models.map((model) => this.renderModel(model, chosen));
    const details = make("details", { class: "picker-group", open, "data-open": String(open) }, title, ...models);
    return details;
  }

  /**
   * @param {Model} model
   * @param {string} chosen
   */
  renderModel(model, chosen) {
    const act = () => {
      this.root.close();
      if (model.id !== chosen) this.choose(model.id);
    };
    const button = make("button", { type: "button", class: "picker-model", "data-model": model.id, onclick: act });
    button.append(model.title);
    if (model.state) button.append(make("small", {}, model.state));
    if (model.id === chosen) button.setAttribute("aria-current", "true");
    return button;
  }

  /** Show the models whose title or id has every word that is searched for. */
  filter() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const group of findAll(".picker-group", this.root)) {
      const title = find("summary b", group)?.textContent ?? "";
      let some = 0;
      for (const button of findAll(".picker-model", group)) {
        const text = `${title} ${button.textContent} ${button.dataset.model}`.toLowerCase();
        button.hidden = !words.every((word) => text.includes(word));
        some += button.hidden ? 0 : 1;
      }
      group.hidden = !some;
      group.toggleAttribute("open", words.length ? true : group.dataset.open === "true");
      shown += some;
    }
    this.none.hidden = shown > 0;
  }

  /** @param {KeyboardEvent} event */
  move(event) {
    if (event.key === "Enter" && event.target === this.search) {
      this.listPlaces()
        .find((place) => place.matches(".picker-model"))
        ?.click();
      event.preventDefault();
      return;
    }
    const step = MOVES[/** @type {keyof typeof MOVES} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    const places = [this.search, ...this.listPlaces()];
    const now = places.findIndex((place) => place === document.activeElement);
    places[Math.max(0, Math.min(places.length - 1, now + step))].focus();
  }

  /** The titles of groups and the models that are shown, from top to bottom. */
  listPlaces() {
    return findAll("summary, .picker-model", this.root).filter((place) => place.getClientRects().length > 0);
  }
}
