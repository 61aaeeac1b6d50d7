// @ts-check
/** Names of wildcards offered below a prompt while `__` and a name are typed. */

import { getTarget, make } from "../common/dom.js";
import { typeInto } from "../common/gradio_dom.js";
import { completeWildcard, findOpenWildcard, matchNames } from "./prompt_edits.js";
import { listWildcards } from "./prompts_api.js";

const PROMPT = ".prompt textarea";
const MOST = 8;
const FRESH_MS = 10_000;
const LIST_ID = "wildcard-names";

class Completion {
  constructor() {
    /** @type {string[]} */
    this.names = [];
    this.asked = -FRESH_MS;
    this.chosen = 0;
    /** @type {HTMLTextAreaElement | null} */
    this.box = null;
    this.list = make("ul", { id: LIST_ID, class: "completion", role: "listbox", "aria-label": "Wildcards" });
    this.list.hidden = true;
    this.list.addEventListener("mousedown", (event) => this.pick(event));
    document.body.append(this.list);
  }

  /** @param {HTMLTextAreaElement} box */
  async update(box) {
    if (!findOpenWildcard(box.value, box.selectionStart)) return this.close();
    await this.refresh();
    const open = findOpenWildcard(box.value, box.selectionStart); // typed on meanwhile
    const found = open ? matchNames(this.names, open.typed, MOST) : [];
    if (!found.length || document.activeElement !== box) return this.close();
    this.show(box, found);
  }

  async refresh() {
    if (performance.now() - this.asked < FRESH_MS) return;
    this.asked = performance.now();
    try {
      this.names = (await listWildcards()).map((each) => each.name);
    } catch {
      this.asked = -FRESH_MS; // completion is a help: without it, typing goes on
    }
  }

  /**
   * @param {HTMLTextAreaElement} box
   * @param {string[]} names
   */
  show(box, names) {
    this.box = box;
    this.list.replaceChildren(
      ...names.map((name, index) => make("li", { id: `${LIST_ID}-${index}`, role: "option" }, name)),
    );
    const place = box.getBoundingClientRect();
    this.list.style.left = `${place.left + window.scrollX}px`;
    this.list.style.top = `${place.bottom + window.scrollY + 2}px`;
    this.list.hidden = false;
    box.setAttribute("aria-controls", LIST_ID);
    box.setAttribute("aria-autocomplete", "list");
    this.choose(0);
  }

  /** @param {number} index */
  choose(index) {
    const options = [...this.list.children];
    this.chosen = (index + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === this.chosen)));
    this.box?.setAttribute("aria-activedescendant", `${LIST_ID}-${this.chosen}`);
  }

  accept() {
    const name = this.list.children[this.chosen]?.textContent;
    const box = this.box;
    const open = box && findOpenWildcard(box.value, box.selectionStart);
    this.close();
    if (!name || !box || !open) return;
    const done = completeWildcard(box.value, open, name);
    typeInto(box, done.text);
    box.setSelectionRange(done.caret, done.caret);
  }

  close() {
    this.list.hidden = true;
    this.box?.removeAttribute("aria-activedescendant");
    this.box = null;
  }

  /** @param {MouseEvent} event */
  pick(event) {
    const option = getTarget(event)?.closest("li");
    if (!option) return;
    event.preventDefault(); // the focus stays in the prompt
    this.choose([...this.list.children].indexOf(option));
    this.accept();
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    if (this.list.hidden || event.target !== this.box) return;
    if (event.key === "ArrowDown") this.choose(this.chosen + 1);
    else if (event.key === "ArrowUp") this.choose(this.chosen - 1);
    else if ((event.key === "Enter" && !event.ctrlKey && !event.metaKey) || event.key === "Tab") this.accept();
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** Offer names in every prompt of the page. */
export function startWildcardCompletion() {
  /** @type {Completion | null} */
  let completion = null;
  document.addEventListener("input", (event) => {
    const box = getTarget(event);
    if (!(box instanceof HTMLTextAreaElement) || !box.matches(PROMPT)) return;
    completion ??= new Completion();
    void completion.update(box);
  });
  document.addEventListener("keydown", (event) => completion?.handleKey(event), true);
  document.addEventListener("focusout", () => completion?.close());
}
