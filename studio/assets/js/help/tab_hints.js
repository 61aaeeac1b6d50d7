// @ts-check
/** The heading of each tab, and a hint that says what the tab is for; once closed, it does not come back. */

import { find, make, makeButton } from "../common/dom.js";
import { followPageChanges } from "../common/page_changes.js";
import { changePreferences, readPreferences } from "../common/preferences.js";
import { translate } from "../common/translate.js";
import { openHelp } from "./help_button.js";
import { TAB_TEXTS } from "./tab_texts.js";

/** Put the hints that were not closed onto the tabs, also those that are opened later. */
export function startTabHints() {
  followPageChanges(() => {
    for (const { tab, title, text } of TAB_TEXTS) {
      const panel = find(`#tab-${tab.replaceAll(" ", "-")}`);
      if (!panel || "hinted" in panel.dataset) continue;
      panel.dataset.hinted = "";
      if (!readPreferences().closedHints.includes(tab)) panel.prepend(buildHint(tab, text));
      // screen readers go from heading to heading
      panel.prepend(make("h2", { class: "for-readers" }, translate(title)));
    }
  });
}

/**
 * @param {string} tab
 * @param {string} text
 * @returns {HTMLElement}
 */
function buildHint(tab, text) {
  const close = makeButton("Got it", () => closeHint(hint, tab), { "data-hint-close": tab });
  const help = makeButton("Help", () => openHelp());
  const hint = make("div", { class: "tab-hint", role: "note" }, make("p", {}, translate(text)), help, close);
  return hint;
}

/**
 * @param {HTMLElement} hint
 * @param {string} tab
 */
function closeHint(hint, tab) {
  const { closedHints } = readPreferences();
  changePreferences({ closedHints: [...closedHints.filter((each) => each !== tab), tab] });
  hint.remove();
  find("button[role=tab][aria-selected=true]")?.focus({ preventScroll: true });
}
