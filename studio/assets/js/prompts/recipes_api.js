// @ts-check
/** What the page asks of the studio about saved recipes. */

import { postJson, requestJson } from "../common/requests.js";
import { putJson } from "./prompts_api.js";

const RECIPES = "api/image-studio/recipes";

/** @typedef {Record<string, unknown>} Changes */
/** @typedef {{id: string, name: string, about: string, own: boolean, request: Changes}} Recipe */

/** @returns {Promise<Recipe[]>} */
export async function listRecipes() {
  return (await requestJson(RECIPES)).recipes;
}

/**
 * Keep a recipe with changes under a name; the base stays as it is.
 * @param {string} base
 * @param {string} name
 * @param {Changes} changes
 * @returns {Promise<Recipe>}
 */
export function saveRecipeAs(base, name, changes) {
  return putJson(getAddress(name), { base, changes });
}

/**
 * Make what a recipe asks for, with changes.
 * @param {string} id
 * @param {Changes} changes
 * @returns {Promise<{jobId: string}>}
 */
export function runRecipe(id, changes) {
  return postJson(getAddress(id), { changes });
}

/**
 * @param {unknown} recipe JSON of this or another program
 * @param {string} name "" takes the recipe's own
 * @returns {Promise<Recipe & {notApplied: string[]}>}
 */
export function importRecipe(recipe, name) {
  return postJson(`${RECIPES}/import`, { recipe, name });
}

/** @param {string} id */
export async function deleteRecipe(id) {
  await requestJson(getAddress(id), { method: "DELETE" });
}

/** @param {string} name */
function getAddress(name) {
  return `${RECIPES}/${encodeURIComponent(name)}`;
}
