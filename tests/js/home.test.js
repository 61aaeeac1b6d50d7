import assert from "node:assert/strict";
import { test } from "node:test";
import {
  describeBudget,
  describeJob,
  describeModels,
  formatGigabytes,
  listPrompts,
} from "../../studio/assets/js/home/overview_texts.js";

test("a job says what it is and where it stands", () => {
  const job = { task: "img2img", model: "SDXL", status: "running", ahead: 0, progress: 0.256 };
  assert.equal(describeJob(job), "img2img · SDXL · 26 %");
  assert.equal(describeJob({ ...job, status: "queued", ahead: 2 }), "img2img · SDXL · 2 jobs ahead");
  assert.equal(describeJob({ ...job, status: "queued", ahead: 1 }), "img2img · SDXL · 1 job ahead");
  assert.equal(describeJob({ ...job, status: "queued" }), "img2img · SDXL · next in line");
});

test("spending is told with its budget, where there is one", () => {
  assert.equal(describeBudget({ period: "day", spent: 1.5, budget: 5 }), "Today: $1.50 of $5.00");
  assert.equal(describeBudget({ period: "month", spent: 0, budget: 0 }), "This month: $0.00, no limit");
});

test("models and disk are told in short", () => {
  assert.equal(describeModels({ local: 2, cloud: 1, locked: 0, broken: 0 }), "Models: 2 local, 1 in the cloud");
  assert.equal(
    describeModels({ local: 0, cloud: 0, locked: 9, broken: 1 }),
    "Models: 0 local, 0 in the cloud, 9 locked, 1 unavailable",
  );
  assert.deepEqual([4.26e9, 120e9].map(formatGigabytes), ["4.3 GB", "120 GB"]);
});

test("each of the latest prompts is listed once, by its newest image", () => {
  const assets = ["a", "b", "a", " ", "c"].map((prompt, place) => ({ id: String(place), prompt, model: "m" }));
  assert.deepEqual(
    listPrompts(assets).map(({ id, prompt }) => [id, prompt]),
    [
      ["0", "a"],
      ["1", "b"],
      ["4", "c"],
    ],
  );
});
