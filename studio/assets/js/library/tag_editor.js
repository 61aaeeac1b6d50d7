// @ts-check
/** The tags of one asset, to add to and take from. */

import { make, makeButton } from "../common/dom.js";
import { splitTags } from "./bulk_bar.js";
import { translate } from "../common/translate.js";

/**
 * @param {string[]} tags
 * @param {(tags: string[]) => void} onChange
 * @returns {HTMLElement}
 */
export function buildTagEditor(tags, onChange) {
  const chips = tags.map((tag) =>
    makeButton(`${tag} ×`, () => onChange(tags.filter((each) => each !== tag)), {
      "aria-label": translate("Remove the tag {name}", { name: tag }),
    }),
  );
  const box = make("input", { type: "text", placeholder: "Add tags …", maxlength: 300, "aria-label": "Add tags" });
  box.addEventListener("keydown", (event) => {
    event.stopPropagation(); // letters are no shortcuts here
    const { added } = splitTags(box.value);
    if (event.key === "Enter" && added.length) onChange([...new Set([...tags, ...added])]);
  });
  return make("div", { class: "lib-tags", role: "group", "aria-label": "Tags" }, ...chips, box);
}
