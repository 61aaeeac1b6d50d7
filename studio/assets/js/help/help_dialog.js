// @ts-check
/** Help: what the tabs are for, the shortcuts, and what happens when a long job ends. */

import { make, makeButton } from "../common/dom.js";
import { changePreferences, readPreferences } from "../common/preferences.js";
import { translate } from "../common/translate.js";
import { SHORTCUTS } from "../form/shortcuts.js";
import { askForNotifications, LONG_SECONDS, playSound } from "./job_alerts.js";
import { TAB_TEXTS } from "./tab_texts.js";

/** Shortcuts that also work while a prompt is typed. */
const ALWAYS = [
  { shown: "Ctrl+Enter", label: "Generate, or the tab's main button (⌘+Enter on a Mac)" },
  { shown: "Escape", label: "Stop the job, or close what is open" },
];
const BLOCKED = "The browser blocks notifications of this page. Allow them in its site settings, then try again.";

/** Open the help; what had the focus gets it back when it is closed. */
export function showHelp() {
  const before = document.activeElement;
  const close = makeButton("Close", () => dialog.close(), { class: "mini help-close" });
  const dialog = make(
    "dialog",
    { class: "help", "aria-labelledby": "help-title" },
    make("div", { class: "help-head" }, make("h2", { id: "help-title" }, translate("Help")), close),
    buildShortcuts(),
    buildSettings(),
    buildTabs(),
    buildLinks(),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement) before.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}

/** @returns {HTMLElement} */
function buildShortcuts() {
  const single = SHORTCUTS.flatMap(({ group, shortcuts }) => [
    make("h4", {}, translate(group)),
    buildKeyList(shortcuts.filter(({ key }) => !/^[2-5]$/.test(key)).map(describeShortcut)),
  ]);
  return make("section", {}, make("h3", {}, translate("Shortcuts")), buildKeyList(ALWAYS), ...single);
}

/**
 * @param {{key: string, shown?: string, label: string}} shortcut
 * @returns {{shown: string, label: string}}
 */
function describeShortcut({ key, shown = key, label }) {
  return key === "1" ? { shown: "1 – 5", label: "Rate with stars" } : { shown, label };
}

/**
 * @param {readonly {shown: string, label: string}[]} keys
 * @returns {HTMLElement}
 */
function buildKeyList(keys) {
  const rows = keys.flatMap(({ shown, label }) => [
    make("dt", {}, make("kbd", {}, shown)),
    make("dd", {}, translate(label)),
  ]);
  return make("dl", { class: "help-keys" }, ...rows);
}

/** @returns {HTMLElement} */
function buildSettings() {
  const { keys, notify, sound } = readPreferences();
  const note = make("p", { class: "note note-bad", role: "status", hidden: true }, translate(BLOCKED));
  const notifications = buildSwitch("Show a notification when a long job ends", notify, async (wanted, box) => {
    box.checked = wanted && (await askForNotifications());
    note.hidden = box.checked || !wanted;
    changePreferences({ notify: box.checked });
  });
  const sounds = buildSwitch("Play a sound when a long job ends", sound, (wanted) => {
    changePreferences({ sound: wanted });
    if (wanted) playSound();
  });
  const letters = buildSwitch("Use single keys as shortcuts", keys, (wanted) => changePreferences({ keys: wanted }));
  const long = translate("Long is {seconds} seconds and more. This browser remembers these settings.", {
    seconds: LONG_SECONDS,
  });
  return make(
    "section",
    {},
    make("h3", {}, translate("In this browser")),
    notifications,
    note,
    sounds,
    letters,
    make("p", { class: "note" }, long),
    makeButton("Show all hints again", () => showHintsAgain()),
  );
}

/**
 * @param {string} label
 * @param {boolean} isOn
 * @param {(wanted: boolean, box: HTMLInputElement) => void} onChange
 * @returns {HTMLElement}
 */
function buildSwitch(label, isOn, onChange) {
  const box = make("input", { type: "checkbox" });
  box.checked = isOn;
  box.addEventListener("change", () => onChange(box.checked, box));
  return make("label", { class: "help-switch" }, box, translate(label));
}

function showHintsAgain() {
  changePreferences({ closedHints: [] });
  location.reload(); // forms and jobs are brought back
}

/** @returns {HTMLElement} */
function buildTabs() {
  const rows = TAB_TEXTS.flatMap(({ title, text }) => [
    make("dt", {}, translate(title)),
    make("dd", {}, translate(text)),
  ]);
  return make("section", {}, make("h3", {}, translate("Tabs")), make("dl", { class: "help-tabs" }, ...rows));
}

/** @returns {HTMLElement} */
function buildLinks() {
  const api = make("a", { href: "api/docs", target: "_blank", rel: "noopener" }, translate("HTTP API"));
  return make("section", {}, make("h3", {}, translate("More")), make("p", {}, api, " for other programs and scripts."));
}
