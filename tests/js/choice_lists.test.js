import assert from "node:assert/strict";
import { test } from "node:test";
import { keepPlace, mergeChoices } from "../../studio/assets/js/form/choice_lists.js";

const CHOICES = ["a", "b", "c", "d"].map((name) => [name.toUpperCase(), name]);

/** @param {unknown[][]} choices */
function names(choices) {
  return choices.map((choice) => choice[1]).join("");
}

test("what the field always has comes first, and no value twice", () => {
  const merged = mergeChoices(
    [
      ["None", "None"],
      ["A", "a"],
    ],
    CHOICES,
  );
  assert.deepEqual(
    merged.map(([, value]) => value),
    ["None", "a", "b", "c", "d"],
  );
});

test("the chosen one stays where the open list marks it", () => {
  assert.equal(names(keepPlace(CHOICES, "c", 0)), "cabd");
  assert.equal(names(keepPlace(CHOICES, "a", 3)), "bcda");
  assert.equal(names(keepPlace(CHOICES, "b", 1)), "abcd");
});

test("the list keeps its order where nothing is marked, or what is marked is gone", () => {
  assert.equal(names(keepPlace(CHOICES, "c", -1)), "abcd");
  assert.equal(names(keepPlace(CHOICES, "x", 1)), "abcd");
  assert.equal(names(keepPlace(CHOICES, "a", 4)), "abcd");
  assert.equal(names(keepPlace(CHOICES, ["a"], 0)), "abcd");
});
