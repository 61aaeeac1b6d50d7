// @ts-check
/** A sign that the form and the running job come back after a reload, which takes some seconds on a busy machine. */

import { make } from "../common/dom.js";
import { areRestored } from "./form_memory.js";
import { translate } from "../common/translate.js";

const LOOK_MS = 100; // ms between two looks
const PATIENCE_MS = 60000; // ms after which the sign goes even so

/** Show the sign until all forms are restored; nothing where the browser kept none before. */
export function startRestoreSign() {
  if (!window.easelHasStoredForm) return;
  const sign = make("div", { class: "restoring", role: "status" }, translate("Bringing back your work …"));
  document.body.append(sign);
  const end = Date.now() + PATIENCE_MS;
  const timer = setInterval(() => {
    if (!areRestored(window.easelSettings.forms) && Date.now() < end) return;
    clearInterval(timer);
    sign.remove();
  }, LOOK_MS);
}
