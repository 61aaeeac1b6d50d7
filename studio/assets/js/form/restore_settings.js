// @ts-check
/** Settings back from an image that is dropped anywhere on Txt2Img, or from its pasted infotext. */

import { find, make, makeButton } from "../common/dom.js";
import { findBox, typeInto } from "../common/gradio_dom.js";
import { requestJson } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { waitUntilRestored } from "./form_memory.js";
import { translate } from "../common/translate.js";

const FIELD = "#restore"; // a hidden field, whose change fills the form
const SIGN = "drop-sign";

/** Let a dropped image fill the form, wherever nothing else takes images. */
export function startSettingsDrop() {
  document.addEventListener("dragover", (event) => {
    const takes = isForForm(event);
    find(`.${SIGN}`)?.toggleAttribute("hidden", !takes);
    if (!takes) return;
    event.preventDefault();
    if (!find(`.${SIGN}`)) {
      document.body.append(make("div", { class: SIGN }, translate("Drop the image to use its settings")));
    }
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hideSign();
  });
  document.addEventListener("drop", (event) => {
    hideSign();
    if (!isForForm(event)) return;
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) restoreFromFile(file);
  });
}

function hideSign() {
  find(`.${SIGN}`)?.remove();
}

/**
 * Whether files are dragged over Txt2Img, and nothing below takes them.
 * @param {DragEvent} event
 */
function isForForm(event) {
  const hasFiles = event.dataTransfer?.types.includes("Files") ?? false;
  return hasFiles && !event.defaultPrevented && Boolean(find("#generate")?.getClientRects().length);
}

/** @param {File} file */
async function restoreFromFile(file) {
  const body = new FormData();
  body.append("file", file);
  try {
    const { settings } = await requestJson("page/settings", { method: "POST", body });
    await restore(settings);
  } catch (error) {
    showError(error);
  }
}

/** @param {string} text settings or infotext */
async function restore(text) {
  await waitUntilRestored("txt2img");
  const box = findBox(FIELD);
  if (box) typeInto(box, text);
}

/**
 * Ask for an infotext or an image file.
 * @param {string} prompt whose text is taken where nothing is pasted
 */
export function openRestoreDialog(prompt) {
  const dialog = make("dialog", { class: "picker restore-dialog", "aria-label": "Restore settings" });
  const text = make("textarea", {
    rows: 5,
    maxlength: 100000,
    "aria-label": "Infotext",
    placeholder: "Paste an infotext of AUTOMATIC1111, Forge or this studio. Empty: the prompt's own text.",
  });
  const file = make("input", { type: "file", accept: "image/*", "aria-label": "Image file" });
  file.addEventListener("change", () => {
    if (file.files?.[0]) restoreFromFile(file.files[0]);
    dialog.close();
  });
  const use = makeButton("Use these settings", () => {
    restore(text.value.trim() ? text.value : prompt);
    dialog.close();
  });
  const close = makeButton("×", () => dialog.close(), { "aria-label": "Close", class: "mini picker-close" });
  const title = make("b", {}, translate("Restore settings"));
  const hint = make("p", { class: "note" }, translate("An image can also be dropped anywhere on this page."));
  dialog.append(
    make("div", { class: "picker-head" }, title, close),
    text,
    use,
    make("label", {}, translate("Or an image:"), " ", file),
    hint,
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  text.focus();
}
