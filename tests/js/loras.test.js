import assert from "node:assert/strict";
import { test } from "node:test";
import { addLora, formatBlocks, readBlocks } from "../../studio/assets/js/form/lora_picker.js";

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

test("weights of blocks are written into the tag and read back from it", () => {
  const tagged = addLora("a fox", "neon", 0.8, [], formatBlocks("IN04: 0.5, OUT03-out05 = 0") ?? "");
  assert.equal(tagged, "a fox <lora:neon:0.8:lbw=IN04=0.5,OUT03-out05=0>");
  assert.equal(readBlocks(tagged, "neon"), "IN04=0.5,OUT03-out05=0");
  assert.equal(addLora(tagged, "neon", 1, [], readBlocks(tagged, "neon")), tagged.replace("0.8", "1"));
  assert.equal(readBlocks("<lora:neon:1> <lora:other:1:lbw=IN04=0>", "neon"), "");
  assert.equal(addLora(tagged, "neon", 1, []), "a fox <lora:neon:1>");
});

test("what are no weights of blocks is not written", () => {
  assert.equal(formatBlocks(" "), "");
  assert.equal(formatBlocks(Array(17).fill("1").join(", ")), Array(17).fill("1").join(","));
  for (const text of ["1, 2, 3", "IN4: 1", "IN04", "XX04: 1", "IN04: much", "MIDD", "IN04: 1, 0.5", "IN04: 1>"]) {
    assert.equal(formatBlocks(text), null, text);
  }
});
