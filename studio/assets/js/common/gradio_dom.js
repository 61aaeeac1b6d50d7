// @ts-check
/**
 * Everything that these scripts expect of Gradio's page, but for what loader.js needs before any module is there. Its
 * styles' counterpart is assets/css/gradio.css, and tests/browser/test_gradio_internals.py checks both, so that an
 * upgrade of Gradio fails there and nowhere else.
 */

import { find, make } from "./dom.js";

/** The list of an open drop-down. */
export const OPEN_LISTBOX = "ul[role=listbox]";
/** The choice that an open drop-down marks; `data-index` is its place. */
export const SELECTED_CHOICE = "ul[role=listbox] [aria-selected=true]";
/** One choice of an open drop-down; its label is the choice's. */
const LIST_OPTION = "ul[role=listbox] [role=option]";
const LOOK_MS = 50; // ms between two looks for what Gradio is about to build
const LOOKS = 100;
const KEPT_LOOKS = 10; // after which what was typed counts as kept
/** The label of a field, and the help that may follow it. */
const FIELD_LABEL = "[data-testid=block-info]";
const FIELD_HELP = ".info-text";
/** The box of a drop-down that is typed into. */
export const LIST_BOX = "input[role=combobox]";
/** The frame in a corner that holds Gradio's toasts. */
export const TOAST_FRAME = ".toast-wrap";
/** What closes an error among Gradio's toasts. */
export const TOAST_TITLE = ".toast-wrap .toast-title";
const CLOSE_ERROR = ".toast-body.error .toast-close";
/** What opens and closes an accordion. */
const ACCORDION_LABEL = "button.label-wrap";
/** The class of the body in the dark theme. */
const DARK_CLASS = "dark";

/**
 * What Gradio hands to the script of an HTML component (`js_on_load`).
 * @typedef {object} FieldHost
 * @property {HTMLElement} element the component's own element
 * @property {{value: string | null}} props writing `value` changes the component's value
 * @property {(name: string, act: () => void) => void} watch calls `act` when the server changes a prop
 * @property {(event: string) => void} trigger fires an event that Python code may listen to
 */

/**
 * Find the native box of a Gradio field: its textarea, text box or check box.
 * @param {string} field selector of the component, by its elem_id or elem_classes
 * @param {ParentNode} [root]
 * @returns {HTMLElement | null}
 */
export function findBox(field, root) {
  return find(`${field} :is(textarea, input)`, root);
}

/**
 * @param {Element | null} target of an event
 * @param {string} id of a tab: its title in lower case
 * @returns {boolean} whether it is, or is in, what opens the tab
 */
export function isInTabButton(target, id) {
  return Boolean(target?.closest(`#tab-${id}-button`));
}

/**
 * Write into a Gradio text field as typing would: Svelte listens to `input` and reads the native value.
 * @param {HTMLElement} box the textarea or input
 * @param {string} text
 */
export function typeInto(box, text) {
  const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value")?.set;
  setter?.call(box, text);
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

/**
 * The box of a field that may still have to be built.
 * @param {string} field as in `findBox`
 * @returns {Promise<HTMLElement | null>} null when it does not come
 */
export async function waitForBox(field) {
  for (let look = 0; look < LOOKS && !findBox(field); look++) await pause(LOOK_MS);
  return findBox(field);
}

/**
 * Type into a field that may still have to be built. Gradio writes a new field's own value once more when it is shown,
 * and does so late on a busy machine; then the text is typed again.
 * @param {string} field as in `findBox`
 * @param {string} text
 */
export async function typeWhenBuilt(field, text) {
  await waitForBox(field);
  for (let look = 0, kept = 0; look < LOOKS && kept < KEPT_LOOKS; look++) {
    const box = findBox(field);
    if (!isTextBox(box)) return;
    kept = box.value === text ? kept + 1 : 0;
    if (!kept) typeInto(box, text);
    await pause(LOOK_MS);
  }
}

/**
 * @param {HTMLElement | null} box
 * @returns {box is HTMLTextAreaElement | HTMLInputElement}
 */
function isTextBox(box) {
  return box instanceof HTMLTextAreaElement || box instanceof HTMLInputElement;
}

/**
 * Choose from a drop-down as a user does who types the beginning of a title.
 * @param {string} field as in `findBox`
 * @param {string} title
 */
export async function chooseFromList(field, title) {
  const box = await waitForBox(field);
  if (!box) return;
  box.focus();
  typeInto(box, title);
  for (let look = 0; look < LOOKS; look++) {
    const options = [...document.querySelectorAll(LIST_OPTION)];
    const option = options.find((one) => one.getAttribute("aria-label") === title);
    if (option) {
      option.dispatchEvent(new MouseEvent("mousedown", { bubbles: true, cancelable: true }));
      return;
    }
    await pause(LOOK_MS);
  }
}

/** @param {number} duration ms */
function pause(duration) {
  return new Promise((resolve) => setTimeout(resolve, duration));
}

/**
 * Open an accordion; what is in it is built when it is first opened.
 * @param {string} id
 */
export function openAccordion(id) {
  find(`#${id} ${ACCORDION_LABEL}:not(.open)`)?.click();
}

/**
 * The label of a field that `node` lies in, and the help below it.
 * @param {Element | null} node
 * @returns {{label: HTMLElement | null, text: string}}
 */
export function findHelp(node) {
  const label = node?.closest(FIELD_LABEL);
  if (!(label instanceof HTMLElement)) return { label: null, text: "" };
  const next = label.nextElementSibling;
  return { label, text: next?.matches(FIELD_HELP) ? next.textContent.trim() : "" };
}

/**
 * Write what is set in an accordion beside its title.
 * @param {string} id
 * @param {string} state "" for nothing
 */
export function showAccordionState(id, state) {
  const label = find(`#${id} ${ACCORDION_LABEL}`);
  if (!label) return;
  const sign = find(".accordion-state", label) ?? make("span", { class: "accordion-state" });
  sign.textContent = state;
  if (!state) sign.remove();
  else if (!sign.isConnected) label.firstElementChild?.after(sign);
}

/** Let the focused field report its value, which Gradio's number fields do when they lose the focus. */
export function commitFocusedField() {
  document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
}

/** @returns {boolean} */
export function isDark() {
  return document.body.classList.contains(DARK_CLASS);
}

/** Close the errors among Gradio's toasts. */
export function closeGradioErrors() {
  document.querySelectorAll(CLOSE_ERROR).forEach((button) => button instanceof HTMLElement && button.click());
}

/**
 * Where Gradio's toasts end, in px from the top of the window; 0 when none is shown.
 * @returns {number}
 */
export function measureToastBottom() {
  const frame = find(TOAST_FRAME);
  return frame?.childElementCount ? frame.getBoundingClientRect().bottom : 0;
}
