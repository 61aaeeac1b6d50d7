// @ts-check
import assert from "node:assert/strict";
import test from "node:test";

import {
  completeWildcard,
  findOpenWildcard,
  matchNames,
  removePhrase,
} from "../../studio/assets/js/prompts/prompt_edits.js";
import { listKnownValues, removeValue, writeValue } from "../../studio/assets/js/prompts/brief_corrections.js";
import { readChanges } from "../../studio/assets/js/prompts/recipe_changes.js";
import { getTerritoryName, listTerritoryNames } from "../../studio/assets/js/prompts/territory_names.js";

/** @type {import("../../studio/assets/js/prompts/brief_api.js").Classification} */
const KNOWN = {
  territories: ["JP", "PT"],
  regions: [],
  audience: "",
  era: "1920s",
  occasion: "",
  setting: "outdoors",
  people: true,
  cautions: [],
  questions: [],
  because: { JP: "kyoto", PT: "portugal" },
};

/** @param {import("../../studio/assets/js/prompts/brief_corrections.js").Corrections} said */
const list = (said) => listKnownValues(KNOWN, said).map((value) => value.text);

test("an added phrase is taken back with its comma", () => {
  assert.equal(removePhrase("a cat, soft light, calm mood", "soft light"), "a cat, calm mood");
  assert.equal(removePhrase("a cat, soft light, calm mood", "calm mood"), "a cat, soft light");
  assert.equal(removePhrase("a cat, soft light AND a dog:0.6", "soft light"), "a cat AND a dog:0.6");
  assert.equal(removePhrase("a cat", "soft light"), "a cat");
});

test("an added sentence is taken back part by part", () => {
  const prompt = "A cat sleeps. Soft light, wide shot.";
  assert.equal(removePhrase(prompt, "soft light"), "A cat sleeps. Wide shot.");
  assert.equal(removePhrase(prompt, "wide shot"), "A cat sleeps. Soft light.");
  assert.equal(removePhrase("A cat sleeps. Soft light.", "soft light"), "A cat sleeps.");
});

test("a wildcard is completed only while its name is typed", () => {
  assert.deepEqual(findOpenWildcard("a __ani", 7), { start: 4, typed: "ani" });
  assert.deepEqual(findOpenWildcard("__", 2), { start: 2, typed: "" });
  assert.deepEqual(findOpenWildcard("{__@pets/sm", 11), { start: 4, typed: "pets/sm" });
  assert.equal(findOpenWildcard("my_lora__v2", 11), null);
  assert.equal(findOpenWildcard("a __animal__", 12), null);
  assert.equal(findOpenWildcard("__animal__ and", 14), null);
  assert.deepEqual(findOpenWildcard("__animal__ and __co", 19), { start: 17, typed: "co" });
});

test("completion writes the name and closes it", () => {
  const open = { start: 4, typed: "ani" };
  assert.deepEqual(completeWildcard("a __ani on wood", open, "animal"), { text: "a __animal__ on wood", caret: 12 });
  assert.deepEqual(completeWildcard("a __ani__ x", open, "animal"), { text: "a __animal__ x", caret: 12 });
});

test("names that begin with what was typed come first", () => {
  assert.deepEqual(matchNames(["big/cat", "cat", "catalog", "dog"], "CAT", 2), ["cat", "catalog"]);
  assert.deepEqual(matchNames(["a", "b"], "", 8), ["a", "b"]);
});

test("what was understood is listed value by value", () => {
  assert.deepEqual(list({}), ["Japan", "Portugal", "Time: 1920s", "Setting: outdoors", "People"]);
  assert.deepEqual(listKnownValues(KNOWN, {})[0]?.because, "kyoto");
});

test("a correction takes the place of what was understood, and of nothing else", () => {
  const [japan, , time, , people] = listKnownValues(KNOWN, {});
  assert.ok(japan && time && people);
  let said = writeValue(KNOWN, {}, "territories", "Korea", "Japan");
  assert.deepEqual(said, { territories: ["Korea", "Portugal"] });
  said = removeValue(KNOWN, said, time);
  said = removeValue(KNOWN, said, people);
  said = writeValue(KNOWN, said, "audience", "children");
  said = writeValue(KNOWN, said, "territories", "Ghana");
  assert.deepEqual(said, { territories: ["Korea", "Portugal", "Ghana"], era: "", people: false, audience: "children" });
  assert.deepEqual(list(said), ["Korea", "Portugal", "Ghana", "Audience: children", "Setting: outdoors", "No people"]);
  assert.deepEqual(removeValue(KNOWN, {}, japan), { territories: ["Portugal"] });
  assert.deepEqual(writeValue(KNOWN, {}, "territories", "", "Japan"), { territories: ["Portugal"] });
});

test("territories have their usual English names", () => {
  assert.equal(getTerritoryName("GB"), "United Kingdom");
  assert.equal(getTerritoryName("QQ"), "QQ");
  const names = listTerritoryNames();
  assert.ok(names.length > 240 && names.length < 300, String(names.length));
  assert.ok(names.includes("Japan") && !names.includes("European Union"));
});

test("changes of a recipe are read line by line", () => {
  const text =
    'prompt: a pear: ripe\n\n seed : 7\nhires.scale: 1.5\nhires.steps: 4\nstyles: ["a"]\nsampler:\nmodel: flux';
  assert.deepEqual(readChanges(text), {
    prompt: "a pear: ripe",
    seed: 7,
    hires: { scale: 1.5, steps: 4 },
    styles: ["a"],
    sampler: null,
    model: "flux",
  });
  assert.deepEqual(readChanges(""), {});
  assert.throws(() => readChanges("steps: 3\njust words"), /Line 2/);
  assert.equal(/** @type {any} */ ({}).polluted, undefined);
});
