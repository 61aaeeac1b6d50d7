import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { translate } from "../../studio/assets/js/common/translate.js";

afterEach(() => delete globalThis.easelTexts);

test("a text without a translation stays, with its values in place", () => {
  assert.equal(translate("Empty trash"), "Empty trash");
  assert.equal(translate("{count} images", { count: 3 }), "3 images");
});

test("a translation takes the values by their names", () => {
  globalThis.easelTexts = { "{done} of {all}": "von {all} {done}" };
  assert.equal(translate("{done} of {all}", { done: 1, all: 2 }), "von 2 1");
});

test("braces that name no value stay", () => {
  assert.equal(translate("Fields: {seed}"), "Fields: {seed}");
});

test("a value with braces is not looked into", () => {
  assert.equal(translate("{name}", { name: "{name}" }), "{name}");
});
