// @ts-check
/**
 * Keeps the keyboard's place. A button that starts a job is disabled by it, and a result is drawn anew while its job
 * runs: the focus would fall back to the top of the page each time.
 */

import { find, findAll, getTarget } from "./dom.js";
import { followPageChanges } from "./page_changes.js";

const DISABLED_MS = 400; // ms after a key or a press until its button may be disabled

/** @type {{element: HTMLElement, view: HTMLElement, twin: string} | null} the last focused part of a view */
let last = null;

/** Start keeping it. */
export function startFocusKeeper() {
  document.addEventListener("focusin", (event) => remember(getTarget(event)));
  document.addEventListener("click", () => setTimeout(restoreFocus, DISABLED_MS));
  followPageChanges(restoreFocus);
}

/** @param {Element | null} target */
function remember(target) {
  const view = target?.closest(".easel");
  const isOurs = target instanceof HTMLElement && view instanceof HTMLElement;
  last = isOurs ? { element: target, view, twin: describeTwin(target) } : null;
}

/**
 * A selector of what takes the element's place when its result or its field is drawn anew.
 * @param {HTMLElement} element
 * @returns {string}
 */
function describeTwin(element) {
  const { act = "", id = "", view = "" } = element.dataset;
  if (act) return `.result [data-act="${CSS.escape(act)}"]`;
  if (view) return `.result [data-view="${CSS.escape(view)}"]`;
  if (element.matches(".result .frame")) return `.result .frame[data-id="${CSS.escape(id)}"]`;
  if (element.matches(".result *")) return ".result img.shown";
  const place = element.closest(".easel [id]");
  return place ? `#${CSS.escape(place.id)}:is(button), #${CSS.escape(place.id)} :is(input, textarea, button)` : "";
}

function restoreFocus() {
  if (!last || !isFocusLost()) return;
  const { element, view, twin } = last;
  if (!view.offsetParent) return;
  const next = element.isConnected ? findEnabled(element, view) : findTwin(twin, view);
  (next ?? findResult(view))?.focus({ preventScroll: true });
}

/**
 * @param {string} twin selector, "" for none
 * @param {HTMLElement} view
 * @returns {HTMLElement | null}
 */
function findTwin(twin, view) {
  const found = twin ? findAll(twin, view).find((each) => each.offsetParent) : undefined;
  return found ?? find("button.generate:enabled", view);
}

/** @returns {boolean} */
function isFocusLost() {
  const { activeElement } = document;
  const isDisabled = activeElement instanceof HTMLButtonElement && activeElement.disabled;
  return !activeElement || activeElement === document.body || isDisabled;
}

/**
 * Stop for a Generate that is disabled, and the other way round; null while the element itself can have the focus.
 * @param {HTMLElement} element
 * @param {HTMLElement} view
 * @returns {HTMLElement | null}
 */
function findEnabled(element, view) {
  const isDisabled = element instanceof HTMLButtonElement && element.disabled;
  if (!isDisabled) return null;
  return find(element.matches(".generate") ? "button.stop:enabled" : "button.generate:enabled", view);
}

/**
 * @param {HTMLElement} view
 * @returns {HTMLElement | null}
 */
function findResult(view) {
  const isDisabled = last?.element instanceof HTMLButtonElement && last.element.disabled;
  if (last?.element.isConnected && !isDisabled) return null; // the user left it for the page itself
  const result = find(".result", view);
  result?.setAttribute("tabindex", "-1");
  return result;
}
