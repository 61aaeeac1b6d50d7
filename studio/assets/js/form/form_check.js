// @ts-check
/**
 * What the studio says of a form while it is filled in: the state of its closed accordions, warnings with what puts
 * them right, and the key that its model waits for.
 */

import { find, findAll, make, makeButton } from "../common/dom.js";
import { findBox, showAccordionState, typeInto } from "../common/gradio_dom.js";
import { postJson } from "../common/requests.js";
import { markFormatChip } from "./format_chips.js";
import { openProvider } from "../configurations/sub_pages.js";
import { translate } from "../common/translate.js";

const CHECK_MS = 350; // ms without a change before the studio is asked
/** What the element ids of each form begin with. @type {Record<string, string>} */
const PREFIXES = { txt2img: "", img2img: "i2i-" };

/** @typedef {{text: string, remedy: string, changes: Record<string, unknown>}} FormWarning */
/** @typedef {{title: string, missing: string, reason: string, mayUnlock: boolean}} Lock missing: key or address */
/** @typedef {{accordions: Record<string, string>, warnings: FormWarning[], locked: Lock | null}} FormState */

/** @type {Map<string, ReturnType<typeof setTimeout>>} */
const timers = new Map();
/** @type {Map<string, number>} */
const asked = new Map();
/** Asks again when a key may have come. @type {Map<string, MutationObserver>} */
const watches = new Map();

/**
 * Look at `form` once its values have come to rest.
 * @param {string} form
 * @param {Record<string, unknown>} values
 */
export function scheduleCheck(form, values) {
  if (!(form in PREFIXES)) return;
  clearTimeout(timers.get(form));
  timers.set(
    form,
    setTimeout(() => checkForm(form, values), CHECK_MS),
  );
}

/**
 * @param {string} form
 * @param {Record<string, unknown>} values
 */
async function checkForm(form, values) {
  const number = (asked.get(form) ?? 0) + 1;
  asked.set(form, number);
  /** @type {FormState} */
  let state;
  try {
    state = await postJson("page/form-check", { values });
  } catch {
    return; // what is wrong with the form is reported when it is sent
  }
  if (asked.get(form) !== number) return;
  showState(PREFIXES[form], state);
  if (form === "txt2img") markFormatChip(String(values.for_format ?? ""));
  watchNote(form, state.locked ? () => scheduleCheck(form, values) : null);
}

/**
 * Call `act` when the note below the model changes, as it does when its service gets a key.
 * @param {string} form
 * @param {(() => void) | null} act null to stop
 */
function watchNote(form, act) {
  watches.get(form)?.disconnect();
  const view = find(`#${PREFIXES[form]}generate`)?.closest(".easel");
  if (!act || !view) return;
  const watch = new MutationObserver(act);
  for (const note of findAll(".model-note", view)) watch.observe(note, { childList: true, subtree: true });
  watches.set(form, watch);
}

/**
 * @param {string} prefix
 * @param {FormState} state
 */
function showState(prefix, { accordions, warnings, locked }) {
  for (const [accordion, text] of Object.entries(accordions)) showAccordionState(`${prefix}${accordion}`, text);
  showWarnings(prefix, warnings);
  showLock(prefix, locked);
}

/**
 * @param {string} prefix
 * @param {FormWarning[]} warnings
 */
function showWarnings(prefix, warnings) {
  const bar = find(`#${prefix}generate`)?.closest(".bar-below");
  if (!bar) return;
  const id = `${prefix}warnings`;
  let list = find(`#${id}`);
  if (!list) {
    list = make("ul", { id, class: "form-warnings", role: "status" });
    bar.before(list);
  }
  list.hidden = !warnings.length;
  list.replaceChildren(...warnings.map((warning) => renderWarning(prefix, warning)));
}

/**
 * @param {string} prefix
 * @param {FormWarning} warning
 */
function renderWarning(prefix, { text, remedy, changes }) {
  const item = make("li", {}, make("span", {}, text));
  if (remedy) item.append(makeButton(remedy, () => applyChanges(prefix, changes)));
  return item;
}

/**
 * Write `changes` into the form as typing would.
 * @param {string} prefix
 * @param {Record<string, unknown>} changes
 */
function applyChanges(prefix, changes) {
  for (const [name, value] of Object.entries(changes)) {
    const field = name === "model" ? "switch-model" : name.replaceAll("_", "-");
    const box = findBox(`#${prefix}${field}`);
    if (!box) continue;
    typeInto(box, String(value));
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

/**
 * Put the way to the key or address in the place of Generate while the model waits for one.
 * @param {string} prefix
 * @param {Lock | null} lock
 */
function showLock(prefix, lock) {
  const generate = find(`#${prefix}generate`);
  if (!generate) return;
  find(`#${prefix}enter-key`)?.remove();
  generate.classList.toggle("is-locked", Boolean(lock));
  if (!lock) return;
  const look = generate.className.replace(/\b(generate|is-locked)\b/g, "");
  const act = () => openProvider(lock.title, lock.missing);
  const text = lock.mayUnlock
    ? translate("Enter {missing} for {name} …", { missing: translate(lock.missing), name: lock.title })
    : translate("{name} has no {missing} yet", { missing: translate(lock.missing), name: lock.title });
  const hint = lock.mayUnlock ? lock.reason : translate("An administrator can enter it in Configurations.");
  const attributes = { type: "button", id: `${prefix}enter-key`, class: look, title: hint, onclick: act };
  generate.before(make("button", { ...attributes, disabled: !lock.mayUnlock }, text));
}
