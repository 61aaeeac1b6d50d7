// @ts-check
/** The pages of Configurations, of which one is shown at a time, and the way to the key of a provider. */

import { find, findAll, make } from "../common/dom.js";
import { chooseFromList, findBox, waitForBox } from "../common/gradio_dom.js";
import { openTab } from "../common/open_tab.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {{pages: Record<string, string>}} Options titles by the pages' names */

const ROOT = "#config";
const CLOUD_PAGE = "cloud";
const SETTINGS_PAGE = "settings";

let wanted = ""; // the page to open on

/**
 * Build the row of pages into its component, and show the first one.
 * @param {FieldHost} host
 * @param {Options} options
 */
export function mountSubPages(host, { pages }) {
  const buttons = Object.entries(pages).map(([name, title]) =>
    make("button", { type: "button", "data-page": name, onclick: () => showSubPage(name) }, title),
  );
  host.element.replaceChildren(make("nav", { class: "config-pages", "aria-label": "Configurations" }, ...buttons));
  showSubPage(wanted || Object.keys(pages)[0]);
}

/** @param {string} name */
function showSubPage(name) {
  wanted = name;
  const root = find(ROOT);
  if (!root) return;
  root.dataset.page = name;
  for (const button of findAll(".config-pages button", root)) {
    if (button.dataset.page === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

/**
 * Open the place where the key of a provider is entered; addresses are settings.
 * @param {string} title of the provider
 * @param {string} missing key or address
 */
export async function openProvider(title, missing) {
  openTab("configurations");
  showSubPage(missing === "key" ? CLOUD_PAGE : SETTINGS_PAGE);
  if (missing !== "key") return;
  if (!(await waitForBox("#cloud-key"))) return;
  showSubPage(CLOUD_PAGE);
  await chooseFromList("#cloud", title);
  findBox("#cloud-key")?.focus();
}
