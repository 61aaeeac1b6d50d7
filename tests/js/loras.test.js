import assert from "node:assert/strict";
import { test } from "node:test";
import { addLora } from "../../studio/assets/js/form/lora_picker.js";

test("a tag is added after the prompt, with the words that it lacks", () => {
  assert.equal(addLora("a fox", "styles/neon", 0.8, []), "a fox <lora:styles/neon:0.8>");
  assert.equal(addLora("", "neon", 1, ["glow"]), "<lora:neon:1>, glow");
  assert.equal(addLora("a Glow", "neon", 1, ["glow", "sign"]), "a Glow <lora:neon:1>, sign");
});

test("a tag that is there gets the new weight", () => {
  assert.equal(addLora("a <lora:neon:0.5:0.6> fox", "neon", 0.8, []), "a <lora:neon:0.8> fox");
  assert.equal(addLora("<LORA:a+b (1)>", "a+b (1)", 2, []), "<lora:a+b (1):2>");
  assert.equal(addLora("<lora:neon2:1>", "neon", 1, []), "<lora:neon2:1> <lora:neon:1>");
  assert.equal(addLora("<lora:$&:1>", "$&", 0.5, []), "<lora:$&:0.5>");
});
