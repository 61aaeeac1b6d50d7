// @ts-check
/** Groups of images that look almost the same, and a button that keeps the best of each. */

import { make, makeButton } from "../common/dom.js";
import { listDuplicates } from "./library_api.js";
import { describeAsset } from "./thumbnail.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./library_api.js").Asset} Asset */

const SHOWN_GROUPS = 50;

export class DuplicatesPanel {
  /** @param {{onOpen: (asset: Asset) => void, onTrash: (assets: Asset[]) => Promise<void>}} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Asset[][]} */
    this.groups = [];
    this.list = make("div", {});
    this.root = make("section", { class: "lib-duplicates", "aria-label": "Near duplicates", hidden: true });
    this.root.append(make("h3", {}, translate("Near duplicates")), this.list);
  }

  /** @param {boolean} isShown */
  setShown(isShown) {
    this.root.hidden = !isShown;
    if (isShown) this.load();
  }

  async load() {
    this.list.replaceChildren(make("p", { class: "note", role: "status" }, translate("Comparing images …")));
    try {
      this.groups = (await listDuplicates()).groups;
      this.draw(SHOWN_GROUPS);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.list.replaceChildren(make("p", { class: "note note-bad", role: "alert" }, text));
    }
  }

  /** @param {number} shown */
  draw(shown) {
    if (!this.groups.length) {
      this.list.replaceChildren(
        make("p", { class: "lib-empty-line" }, translate("No two images look almost the same.")),
      );
      return;
    }
    const rows = this.groups.slice(0, shown).map((group) => this.buildGroup(group));
    if (this.groups.length > shown) {
      rows.push(
        makeButton(translate("Show more of {count} groups", { count: this.groups.length }), () =>
          this.draw(shown + SHOWN_GROUPS),
        ),
      );
    }
    this.list.replaceChildren(...rows);
  }

  /**
   * @param {Asset[]} group
   * @returns {HTMLElement}
   */
  buildGroup(group) {
    const best = findBest(group);
    const thumbs = group.map((asset) => {
      const label = { "aria-label": `Open ${describeAsset(asset)}`, title: asset.created };
      const button = makeButton("", () => this.actions.onOpen(asset), { class: "lib-twin", ...label });
      button.append(make("img", { src: asset.thumbnail, alt: "", loading: "lazy" }));
      button.append(make("small", {}, `${asset.width} × ${asset.height}${asset === best ? " · best" : ""}`));
      return button;
    });
    const others = group.filter((asset) => asset !== best);
    const text =
      others.length === 1
        ? translate("Keep the best, trash the other")
        : translate("Keep the best, trash {count}", { count: others.length });
    const row = make(
      "div",
      { class: "lib-twins", role: "group", "aria-label": `${group.length} similar images` },
      ...thumbs,
    );
    const trash = makeButton(text, async () => {
      await this.actions.onTrash(others);
      this.groups = this.groups.filter((each) => each !== group);
      row.remove();
    });
    row.append(trash);
    return row;
  }
}

/**
 * The image of a group to keep: the favourite, the best rated, the largest, the oldest.
 * @param {Asset[]} group
 * @returns {Asset}
 */
export function findBest(group) {
  const rank = (/** @type {Asset} */ asset) => [Number(asset.favourite), asset.rating, asset.width * asset.height];
  return [...group].sort((one, other) => {
    const [ours, theirs] = [rank(one), rank(other)];
    const place = ours.findIndex((value, index) => value !== theirs[index]);
    return place < 0 ? one.created.localeCompare(other.created) : theirs[place] - ours[place];
  })[0];
}
