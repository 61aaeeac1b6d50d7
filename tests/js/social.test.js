import assert from "node:assert/strict";
import { test } from "node:test";
import { parseState } from "../../studio/assets/js/social/board.js";
import { isExtended, judgeCrop, listBadges } from "../../studio/assets/js/social/crop_advice.js";
import { formatBytes, hasAllWords } from "../../studio/assets/js/social/format_list.js";

const ADVICE = { box: [0, 0, 1, 1], verdict: "good", faces: 0, whole: 0, keeps: ["the subject"], loses: [], notes: [] };
const couple = {
  ...ADVICE,
  verdict: "check",
  faces: 2,
  whole: 1,
  loses: ["a face"],
  notes: [{ text: "1 of 2 faces fit.", short: "1 of 2 faces" }],
};
const judge = (state) => ({ advice: ADVICE, isOwn: false, isFilled: false, mayAsk: true, ...state });

test("a crop that leaves somebody out is a question, unless the user decided", () => {
  assert.equal(judgeCrop(judge({ advice: couple })), "asks");
  assert.equal(judgeCrop(judge({ advice: couple, mayAsk: false })), "check");
  assert.equal(judgeCrop(judge({ advice: couple, isOwn: true })), "own");
  assert.equal(judgeCrop(judge({ advice: undefined })), "");
});

test("a card says in badges what its crop loses, else that it fits", () => {
  const read = (state) => listBadges(judge(state)).map((badge) => badge.text);
  assert.deepEqual(read({ advice: couple }), ["Who?", "− a face", "1 of 2 faces"]);
  assert.deepEqual(listBadges(judge({})), [{ text: "✓ Fits", title: "Keeps the subject." }]);
  assert.deepEqual(read({ isOwn: true }), ["Your crop"]);
  assert.deepEqual(read({ isFilled: true }), ["Extended"]);
  assert.deepEqual(read({ advice: undefined }), []);
});

test("only an image that fits no crop is extended, in a way that the page can draw", () => {
  const extend = { ...ADVICE, verdict: "extend" };
  assert.equal(isExtended(extend, false, "blur"), true);
  assert.equal(isExtended(extend, true, "blur"), false);
  assert.equal(isExtended(extend, false, "outpaint"), false);
  assert.equal(isExtended(ADVICE, false, "blur"), false);
});

test("formats are found by all words of the search", () => {
  assert.equal(hasAllWords("Instagram Story 1080 × 1920", ["story", "1080"]), true);
  assert.equal(hasAllWords("Instagram Story 1080 × 1920", ["story", "feed"]), false);
  assert.equal(hasAllWords("anything", []), true);
});

test("file sizes are short", () => {
  assert.deepEqual([100_000, 2_000_000, 2_500_000].map(formatBytes), ["100 kB", "2 MB", "2.5 MB"]);
});

test("a board's value that is no JSON is an empty board", () => {
  assert.deepEqual([null, "", "null", "{", '{"view":{}}'].map(parseState), [{}, {}, {}, {}, { view: {} }]);
});
