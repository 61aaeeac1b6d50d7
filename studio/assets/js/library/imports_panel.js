// @ts-check
/** Folders of other programs that the library reads, with the progress of each. */

import { make, makeButton } from "../common/dom.js";
import { showError } from "../common/toasts.js";
import { controlImport, listImports } from "./library_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./library_api.js").ImportFolder} ImportFolder */

const POLL_MS = 1000;
const BUSY = ["waiting", "scanning"];
const HELP =
  "Output folders of other programs. Who runs the studio sets them, with import_folders in config.json or" +
  " --import-folders. Their files are read where they are, and never written to.";
/** What the states of a folder are called. @type {Record<string, string>} */
const STATES = { watching: "up to date", offline: "not reachable", waiting: "waiting", scanning: "scanning" };

export class ImportsPanel {
  /** @param {() => void} onImported new files were found */
  constructor(onImported) {
    this.onImported = onImported;
    this.timer = 0;
    this.wasBusy = false;
    this.list = make("div", { class: "lib-folders" });
    this.root = make("section", { class: "lib-imports", "aria-label": "Import", hidden: true });
    this.root.append(make("h3", {}, translate("Import")), make("p", { class: "note" }, translate(HELP)), this.list);
  }

  /** @param {boolean} isShown */
  setShown(isShown) {
    this.root.hidden = !isShown;
    clearTimeout(this.timer);
    if (isShown) this.load();
  }

  async load() {
    clearTimeout(this.timer);
    try {
      const { folders } = await listImports();
      this.draw(folders);
      const isBusy = folders.some((folder) => BUSY.includes(folder.state));
      if (this.wasBusy && !isBusy) this.onImported();
      this.wasBusy = isBusy;
      if (isBusy && !this.root.hidden) this.timer = window.setTimeout(() => this.load(), POLL_MS);
    } catch (error) {
      this.list.replaceChildren(make("p", { class: "note note-bad" }, error instanceof Error ? error.message : ""));
    }
  }

  /** @param {ImportFolder[]} folders */
  draw(folders) {
    if (!folders.length) {
      this.list.replaceChildren(make("p", { class: "lib-empty-line" }, translate("No folders are set up for import.")));
      return;
    }
    this.list.replaceChildren(...folders.map((folder) => this.buildRow(folder)));
  }

  /**
   * @param {ImportFolder} folder
   * @returns {HTMLElement}
   */
  buildRow(folder) {
    const isBusy = BUSY.includes(folder.state);
    const control = async (/** @type {"scan" | "cancel"} */ action) => {
      try {
        await controlImport(folder.id, action);
        this.wasBusy = true;
        await this.load();
      } catch (error) {
        showError(error);
      }
    };
    const button = isBusy
      ? makeButton("Cancel", () => control("cancel"))
      : makeButton("Scan again", () => control("scan"));
    const head = make("div", { class: "lib-folder-head" }, make("strong", {}, folder.path), button);
    const row = make("div", { class: "lib-folder", "data-state": folder.state }, head);
    row.append(make("p", { class: "note", role: "status" }, describeFolder(folder)));
    if (isBusy) row.append(buildProgress(folder));
    if (folder.error) row.append(make("p", { class: "note note-bad" }, folder.error));
    return row;
  }
}

/**
 * @param {ImportFolder} folder
 * @returns {HTMLElement}
 */
function buildProgress({ path, found, done }) {
  const percent = found ? Math.round((100 * done) / found) : 0;
  const fill = make("span", {});
  fill.style.width = `${percent}%`;
  const attributes = {
    class: "bar",
    role: "progressbar",
    "aria-label": translate("Import of {path}", { path }),
    "aria-valuenow": percent,
  };
  return make("div", { ...attributes, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
}

/**
 * @param {ImportFolder} folder
 * @returns {string}
 */
export function describeFolder({ program, state, found, done }) {
  const files = found ? `${done.toLocaleString("en")} of ${found.toLocaleString("en")} files` : "";
  return [program, STATES[state] ?? state, files].filter(Boolean).join(" · ");
}
