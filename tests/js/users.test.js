import assert from "node:assert/strict";
import { test } from "node:test";
import {
  describeEntry,
  describeLimits,
  describeUsage,
  describeVerdict,
  parseLimits,
} from "../../studio/assets/js/users/user_texts.js";

test("what a user has used is told with its limits, where there are any", () => {
  const usage = { imagesToday: 3, diskBytes: 2 ** 29, jobs: 1, spentDay: 0, spentMonth: 1.5 };
  assert.equal(
    describeUsage({ usage, applied: { images_per_day: 50, disk_gb_per_user: 1 } }),
    "3 of 50 images today · 0.50 of 1 GiB · 1 job · $1.50 this month",
  );
  assert.equal(
    describeUsage({ usage, applied: { images_per_day: 0, disk_gb_per_user: 0 } }),
    "3 images today · 0.50 GiB · 1 job · $1.50 this month",
  );
});

test("limits are read as they are written", () => {
  const limits = { images_per_day: "50", moderation: "block" };
  assert.deepEqual(parseLimits(describeLimits(limits)), limits);
  assert.deepEqual(parseLimits(" "), {});
});

test("an entry of the audit log tells its facts", () => {
  const entry = { time: "2026-01-01T00:00:00", user: "root", event: "user_changed", of: "ann", limits: { a: 1 } };
  assert.equal(describeEntry(entry), 'user changed – of: ann, limits: {"a":1}');
});

test("a held image says which filter found what, and what its user says", () => {
  const verdict = { by: "The image filter", category: "sexual content", stage: "image", score: 0.934, limit: 0.8 };
  const found = "The image filter finds sexual content in the image (0.93, the limit is 0.80).";
  assert.equal(describeVerdict({ verdict, appeal: "" }), found);
  assert.equal(describeVerdict({ verdict, appeal: "a statue" }), `${found} Appeal: a statue`);
});
