// @ts-check
/** The Prompts tab: from a brief to images, and wildcards. */

import { BriefView } from "./brief_view.js";
import { WildcardEditor } from "./wildcard_editor.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */

/**
 * Build the tab into its component.
 * @param {FieldHost} host
 */
export function mountPromptsView(host) {
  const editor = new WildcardEditor();
  host.element.replaceChildren(new BriefView().root, editor.root);
  void editor.start();
}
