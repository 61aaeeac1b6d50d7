// @ts-check
/** Saved recipes: run with changes, saved under another name, passed on as a file, imported and deleted. */

import { askForText, askToConfirm } from "../common/ask_dialog.js";
import { make, makeButton } from "../common/dom.js";
import { StudioError } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { showResult } from "./job_results.js";
import { readChanges } from "./recipe_changes.js";
import { deleteRecipe, importRecipe, listRecipes, runRecipe, saveRecipeAs } from "./recipes_api.js";
import { translate } from "../common/translate.js";

/** @typedef {import("./recipes_api.js").Recipe} Recipe */

export class RecipeList {
  constructor() {
    /** @type {Recipe[]} */
    this.recipes = [];
    this.chosen = make("select", { "aria-label": "Recipe", onchange: () => this.open() });
    this.about = make("p", { class: "hint" });
    this.holds = make("textarea", {
      rows: 6,
      readonly: true,
      spellcheck: false,
      "aria-label": "Settings of the recipe",
    });
    this.changes = make("textarea", { rows: 3, spellcheck: false, "aria-label": "Changes" });
    this.changes.placeholder = "prompt: a pear in the rain\nseed: 7\nsteps: 30";
    this.state = make("span", { class: "note", role: "status" });
    this.results = make("div", { class: "brief-results", "aria-live": "polite" });
    this.remove = makeButton("Delete", () => void this.guard(() => this.drop()));
    this.file = make("input", { type: "file", accept: ".json,application/json", hidden: true });
    this.file.setAttribute("aria-label", translate("Recipe file"));
    this.file.addEventListener("change", () => void this.guard(() => this.readFile()));
    this.root = this.build();
  }

  build() {
    const help = translate("One change a line: field, colon, value; nothing behind the colon takes the default.");
    const buttons = make(
      "div",
      { class: "wildcard-buttons" },
      makeButton("Run", () => void this.guard(() => this.run()), { class: "mini mini-main" }),
      makeButton("Save as…", () => void this.guard(() => this.saveAs())),
      makeButton("Download", () => this.download()),
      this.remove,
      makeButton("Import…", () => this.file.click()),
      this.file,
      this.state,
    );
    return make(
      "section",
      { class: "recipes", "aria-label": "Recipes" },
      make("h3", {}, translate("Recipes")),
      make("label", { class: "field" }, translate("Recipe"), this.chosen),
      this.about,
      this.holds,
      make("label", { class: "field" }, translate("Changes"), this.changes),
      make("p", { class: "hint" }, help),
      buttons,
      this.results,
    );
  }

  /** @param {() => Promise<void>} act */
  async guard(act) {
    try {
      await act();
    } catch (error) {
      showError(error);
    }
  }

  /** @param {string} [chosen] id of the recipe to show */
  async start(chosen = "") {
    await this.guard(async () => {
      this.recipes = await listRecipes();
      const options = this.recipes.map(({ id, name, own }) =>
        make("option", { value: id }, own ? name : translate("{name} (included)", { name })),
      );
      this.chosen.replaceChildren(...options);
      if (this.recipes.some(({ id }) => id === chosen)) this.chosen.value = chosen;
      this.open();
    });
  }

  /** @returns {Recipe | undefined} */
  get recipe() {
    return this.recipes.find(({ id }) => id === this.chosen.value);
  }

  open() {
    const { recipe } = this;
    this.about.textContent = recipe?.about ?? "";
    this.holds.value = recipe ? JSON.stringify(recipe.request, null, 2) : "";
    this.remove.disabled = !recipe?.own;
    this.state.textContent = "";
  }

  requireRecipe() {
    const { recipe } = this;
    if (!recipe) {
      throw new StudioError(
        translate("No recipe"),
        translate("No recipe is chosen."),
        translate("Choose one, or import one."),
      );
    }
    return recipe;
  }

  async run() {
    const recipe = this.requireRecipe();
    const { jobId } = await runRecipe(recipe.id, readChanges(this.changes.value));
    void showResult(this.results, jobId, recipe.name);
  }

  async saveAs() {
    const recipe = this.requireRecipe();
    const changes = readChanges(this.changes.value);
    const name = await askForText({ title: "Save recipe", label: "Name", value: recipe.name, action: "Save" });
    if (!name) return;
    const kept = await saveRecipeAs(recipe.id, name, changes);
    await this.start(kept.id);
    this.state.textContent = translate("Saved as “{name}”.", { name: kept.name });
  }

  download() {
    const { recipe } = this;
    if (!recipe) return;
    const { id, name, about, request } = recipe;
    const text = JSON.stringify({ name, ...(about ? { about } : {}), request }, null, 2);
    const link = make("a", { download: `${id}.json` });
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async drop() {
    const recipe = this.requireRecipe();
    const text = translate("The recipe “{name}” is deleted. Images that were made with it stay.", {
      name: recipe.name,
    });
    if (!(await askToConfirm({ title: "Delete recipe", text, action: "Delete" }))) return;
    await deleteRecipe(recipe.id);
    await this.start();
  }

  async readFile() {
    const [file] = this.file.files ?? [];
    if (!file) return;
    const text = await file.text();
    this.file.value = "";
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      throw new StudioError(
        translate("No recipe"),
        translate("{name} is no JSON.", { name: file.name }),
        translate("Choose a recipe, graph or template file."),
      );
    }
    const named = typeof data?.name === "string" && data.name.trim();
    const kept = await importRecipe(data, named ? "" : file.name.replace(/\.json$/i, "").slice(0, 60));
    await this.start(kept.id);
    const left = kept.notApplied.length
      ? ` ${translate("Not applied: {names}.", { names: kept.notApplied.join(", ") })}`
      : "";
    this.state.textContent = translate("Imported as “{name}”.", { name: kept.name }) + left;
  }
}
