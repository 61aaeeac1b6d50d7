// @ts-check
/**
 * What Python code may call: `window.easel`. Its callers are the `js=` and `js_on_load=` scripts in studio/tabs. Until
 * this module has loaded, studio/serving/page_assets.py's stand-in notes the calls and returns promises, so that
 * scripts that may run as the page loads must `await` what they call.
 */

import { getWantedTab } from "./common/open_tab.js";
import { listChoices } from "./form/choice_lists.js";
import { areRestored, markRestored, packForm, rememberForm } from "./form/form_memory.js";
import { openTextFile } from "./form/text_file.js";
import { getShownAsset } from "./library/shown_asset.js";
import { mountPromptTools } from "./prompts/prompt_tools.js";
import { getRecentImage, mountRecentStrip } from "./result/recent_strip.js";
import { getShownImage, getShownSeed } from "./result/result_view.js";

/** @typedef {import("./common/gradio_dom.js").FieldHost} FieldHost */
/** @typedef {(host: FieldHost, options: any) => void} Mount */

/**
 * The fields that fill an HTML component; those that the first tab does not show are loaded when a page first has one.
 * @type {Record<string, () => Promise<Mount>>}
 */
const FIELDS = {
  pad: async () => (await import("./images/image_pad.js")).mountImagePad,
  paint: async () => (await import("./paint/paint_editor.js")).mountPaintEditor,
  plan: async () => (await import("./images/outpaint_plan.js")).mountOutpaintPlan,
  formats: async () => (await import("./social/format_list.js")).mountFormatList,
  board: async () => (await import("./social/board.js")).mountBoard,
  home: async () => (await import("./home/start_page.js")).mountStartPage,
  configPages: async () => (await import("./configurations/sub_pages.js")).mountSubPages,
  prompts: async () => mountPromptTools,
  promptsView: async () => (await import("./prompts/prompts_view.js")).mountPromptsView,
  users: async () => (await import("./users/users_panel.js")).mountUsersPanel,
  library: async () => (await import("./library/library_view.js")).mountLibrary,
  recent: async () => mountRecentStrip,
};

const api = {
  /**
   * Build a field of ours into a Gradio HTML component.
   * @param {keyof FIELDS} kind
   * @param {FieldHost} host
   * @param {Record<string, unknown>} options
   */
  mountField: async (kind, host, options) => (await FIELDS[kind]())(host, options),
  listChoices,
  openTextFile,
  packForm,
  rememberForm,
  markRestored,
  areRestored,
  getShownSeed,
  getRecentImage,
  getWantedTab,
  /** The id of the image that the open tab shows, "" where there is none. */
  getShownImage: () => getShownAsset() || getShownImage(),
  /**
   * Tell the board of the Social Optimizer what the form says.
   * @param {import("./social/format_store.js").BoardOptions} options
   */
  setBoardOptions: async (options) => (await import("./social/format_store.js")).formatStore.setOptions(options),
  /** Whether every form has its stored values back. */
  get restored() {
    return areRestored(window.easelSettings.forms);
  },
};

/** @typedef {typeof api} PageApi */

/** Put the API in place of its stand-in, and make the calls that came before. */
export function installPageApi() {
  const calls = window.easelEarlyCalls ?? [];
  window.easel = api;
  /** @type {Record<string, any>} */
  const functions = api;
  for (const [name, values, done] of calls) done(functions[name](...values));
}
