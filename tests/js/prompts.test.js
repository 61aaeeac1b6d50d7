// @ts-check
import assert from "node:assert/strict";
import test from "node:test";

import {
  completeWildcard,
  findOpenWildcard,
  matchNames,
  removePhrase,
} from "../../studio/assets/js/prompts/prompt_edits.js";

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
