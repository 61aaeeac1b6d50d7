// @ts-check
/** The Prompts tab: from a brief to images, personas, descriptions of images, recipes and wildcards. */

import { make } from "../common/dom.js";
import { BriefView } from "./brief_view.js";
import { DescribeView } from "./describe_view.js";
import { PersonaEditor } from "./persona_editor.js";
import { RecipeList } from "./recipe_list.js";
import { WildcardEditor } from "./wildcard_editor.js";

/** @typedef {import("../common/gradio_dom.js").FieldHost} FieldHost */

/**
 * Build the tab into its component.
 * @param {FieldHost} host
 */
export function mountPromptsView(host) {
  const [brief, personas, describe] = [new BriefView(), new PersonaEditor(), new DescribeView()];
  const [recipes, wildcards] = [new RecipeList(), new WildcardEditor()];
  const parts = [brief, personas, describe, recipes, wildcards].map((part) => part.root);
  host.element.replaceChildren(make("div", { class: "prompts-parts" }, ...parts));
  for (const part of [personas, describe, recipes, wildcards]) void part.start();
}
