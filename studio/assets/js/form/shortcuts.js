// @ts-check
/** Keyboard shortcuts, and example prompts to click on. */

import { find, findAll, getTarget } from "../common/dom.js";
import { commitFocusedField, findBox, OPEN_LISTBOX, typeInto } from "../common/gradio_dom.js";
import { readPreferences } from "../common/preferences.js";
import { openHelp } from "../help/help_button.js";
import { enlargeImage, isEnlargeable } from "../result/lightbox.js";
import {
  openShownImageInLibrary,
  pressImageButton,
  pressResultButton,
  showNeighbour,
  trashShownImage,
  upscaleShownImage,
} from "../result/result_actions.js";
import { getShownView } from "../result/result_view.js";
import { translate } from "../common/translate.js";

/**
 * @typedef {object} Shortcut
 * @property {string} key as `KeyboardEvent.key` has it, in lower case
 * @property {string} [shown] how the key is written; by default as it is
 * @property {string} label
 * @property {() => boolean} run says whether it did anything
 */

/** Keys that work while nothing is typed. @type {readonly {group: string, shortcuts: readonly Shortcut[]}[]} */
export const SHORTCUTS = [
  {
    group: "Page",
    shortcuts: [
      { key: "?", label: "Help and shortcuts", run: () => openHelp() },
      { key: "/", label: "Go to the prompt, or the search of the Library", run: () => focusMainField() },
      { key: "n", shown: "N", label: "Skip this image", run: () => pressInView("button[id$='skip']:enabled") },
    ],
  },
  {
    group: "Shown image",
    shortcuts: [
      { key: "arrowleft", shown: "←", label: "Previous image", run: () => showNeighbour(-1) },
      { key: "arrowright", shown: "→", label: "Next image", run: () => showNeighbour(1) },
      { key: "u", shown: "U", label: "Use all settings", run: () => pressImageButton("use-settings") },
      { key: "s", shown: "S", label: "Use seed", run: () => pressImageButton("use-seed") },
      { key: "f", shown: "F", label: "Favourite", run: () => pressResultButton(".heart") },
      ...[1, 2, 3, 4, 5].map((stars) => ({
        key: String(stars),
        label: stars === 1 ? translate("Rate with 1 star") : translate("Rate with {count} stars", { count: stars }),
        run: () => pressResultButton(`.star:nth-child(${stars})`),
      })),
      { key: "x", shown: "X", label: "Upscale 2×", run: () => upscaleShownImage() },
      { key: "d", shown: "D", label: "Download", run: () => pressResultButton('[data-act="download"]') },
      { key: "delete", shown: "Delete", label: "Move to trash", run: () => trashShownImage() },
      { key: "l", shown: "L", label: "Open in Library", run: () => openShownImageInLibrary() },
    ],
  },
  {
    group: "Send the shown image to",
    shortcuts: [
      { key: "i", shown: "I", label: "Img2Img", run: () => pressImageButton("-send-img2img") },
      { key: "p", shown: "P", label: "Inpaint", run: () => pressImageButton("-send-inpaint") },
      { key: "e", shown: "E", label: "Extras", run: () => pressImageButton("-send-extras") },
      { key: "o", shown: "O", label: "Social Optimizer", run: () => pressImageButton("-send-social") },
    ],
  },
];

/** Where keys have meanings of their own. */
const OWN_KEYS = "dialog, .library, .paint, [role=dialog], [role=listbox], [contenteditable]";
/** Fields in which letters are text. */
const TYPED = "textarea, select, input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=file])";
/** Where arrow keys have a meaning. */
const ARROWED = "input, [role=tab], [role=slider], [role=listbox] *, [tabindex='0']:not(.result *)";

const COMMIT_MS = 50; // ms in which Gradio takes in what was typed

/** Start listening. */
export function startShortcuts() {
  document.addEventListener("keydown", handleKey);
  document.addEventListener("click", (event) => {
    const chip = getTarget(event)?.closest(".chip");
    if (chip instanceof HTMLElement) useExample(chip);
  });
}

/** @param {KeyboardEvent} event */
function handleKey(event) {
  if (event.defaultPrevented) return;
  const target = getTarget(event);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) startJob(event);
  else if (event.key === "Escape") stopJob();
  else if (event.key === "Enter" && isEnlargeable(target)) enlargeImage(target);
  else if (!event.ctrlKey && !event.metaKey && !event.altKey) runShortcut(event, target);
}

/**
 * @param {KeyboardEvent} event
 * @param {Element | null} target
 */
function runShortcut(event, target) {
  const key = event.key.toLowerCase();
  const isTaken = target?.closest(OWN_KEYS) && key !== "/";
  if (find("dialog[open], .paint.wide") || isTaken || target?.matches(TYPED)) return;
  if (key.startsWith("arrow") ? target?.matches(ARROWED) : !readPreferences().keys) return;
  const shortcut = SHORTCUTS.flatMap(({ shortcuts }) => shortcuts).find((each) => each.key === key);
  if (shortcut?.run()) event.preventDefault();
}

/** @param {KeyboardEvent} event */
function startJob(event) {
  const button = find("button.generate", getShownView());
  if (!(button instanceof HTMLButtonElement) || button.disabled || !button.offsetParent) return;
  event.preventDefault();
  commitFocusedField();
  button.click();
}

/** Stop the running job, unless Escape closes something that is open. */
function stopJob() {
  if (find(`dialog[open], ${OPEN_LISTBOX}, .paint.wide`)) return;
  const status = find(".result", getShownView())?.dataset.status ?? "";
  if (["queued", "loading", "running"].includes(status)) pressInView("button.stop:enabled");
}

/**
 * Press a button of the open tab.
 * @param {string} selector
 * @returns {boolean} whether there is one
 */
function pressInView(selector) {
  const button = find(selector, getShownView());
  if (!button?.offsetParent) return false;
  button.click();
  return true;
}

/** @returns {boolean} whether the open tab has a prompt or a search */
function focusMainField() {
  const search = findAll("input.lib-search").find((each) => each.offsetParent);
  const box = search ?? findBox(".prompt", getShownView());
  if (!box?.offsetParent) return false;
  box.focus();
  return true;
}

/**
 * Write an example into the prompt and draw it.
 * @param {HTMLElement} chip
 */
function useExample(chip) {
  const view = chip.closest(".easel");
  const box = view && findBox(".prompt", view);
  if (!box) return;
  typeInto(box, chip.dataset.prompt ?? "");
  box.focus();
  const button = find("button.generate", view);
  setTimeout(() => button?.click(), COMMIT_MS);
}
