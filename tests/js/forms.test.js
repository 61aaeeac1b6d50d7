import assert from "node:assert/strict";
import { test } from "node:test";
import { getErrorTitle, requestJson, StudioError } from "../../studio/assets/js/common/requests.js";
import {
  areRestored,
  markRestored,
  packForm,
  rememberForm,
  waitUntilRestored,
} from "../../studio/assets/js/form/form_memory.js";
import { findDraggedResult } from "../../studio/assets/js/images/dropped_files.js";
import { parseImageNames } from "../../studio/assets/js/images/kept_images.js";
import { measureMargins } from "../../studio/assets/js/images/outpaint_plan.js";
import { stepZoom } from "../../studio/assets/js/result/comparison.js";

test("a packet holds the values by name and nothing beyond", () => {
  assert.deepEqual(packForm(["prompt", "steps"], ["a hat", 20, { old: true }]), { prompt: "a hat", steps: 20 });
});

test("what the browser stored stays until the page has restored the form", () => {
  const values = ["", 20, { prompt: "a stored hat" }];
  assert.deepEqual(rememberForm("txt2img", ["prompt", "steps"], values), { prompt: "a stored hat" });
  assert.equal(areRestored(["txt2img"]), false);
  markRestored("txt2img");
  assert.deepEqual(rememberForm("txt2img", ["prompt", "steps"], values), { prompt: "", steps: 20 });
  assert.equal(areRestored(["txt2img"]), true);
  assert.equal(areRestored(["txt2img", "img2img"]), false);
});

test("who waits for a form is told when it is restored, or at once afterwards", async () => {
  const told = [];
  const waits = [1, 2].map((number) => waitUntilRestored("extras").then(() => told.push(number)));
  await Promise.resolve();
  assert.deepEqual(told, []);
  markRestored("extras");
  await Promise.all(waits);
  assert.deepEqual(told, [1, 2]);
  await waitUntilRestored("extras");
});

const errorTitles = { BAD_IMAGE: "Unusable image", UNREACHABLE: "No connection" };
globalThis.window = { easelSettings: { errorTitles } };

test("an error's title is the studio's", () => {
  assert.equal(getErrorTitle("BAD_IMAGE"), "Unusable image");
  assert.equal(getErrorTitle(undefined), "Error");
});

test("an answer that is an error is raised with title, message and hint", async (context) => {
  const answer = { error: "It is no image.", code: "BAD_IMAGE", details: { hint: "Send a PNG." } };
  context.mock.method(globalThis, "fetch", async () => Response.json(answer, { status: 400 }));
  await assert.rejects(requestJson("page/pictures"), (error) => {
    assert.ok(error instanceof StudioError);
    assert.deepEqual([error.title, error.message, error.hint], ["Unusable image", "It is no image.", "Send a PNG."]);
    return true;
  });
});

test("an answer without JSON, or none at all, is raised in words too", async (context) => {
  const fetch = context.mock.method(globalThis, "fetch", async () => new Response("<html>", { status: 502 }));
  await assert.rejects(requestJson("page/pictures"), {
    title: "Error",
    message: "The request failed with status 502.",
  });
  fetch.mock.mockImplementation(async () => {
    throw new TypeError("failed to fetch");
  });
  await assert.rejects(requestJson("page/pictures"), { title: "No connection" });
});

test("only names of kept images are taken from a pad's value", () => {
  const [one, two] = ["a".repeat(64), "0".repeat(64)];
  assert.deepEqual(parseImageNames(`${one} ../secret ${two}`), [one, two]);
  assert.deepEqual(parseImageNames(null), []);
});

test("only results of this studio are recognised when they are dragged", () => {
  const link = "http://here:7860/api/image-studio/images/abc-1";
  assert.equal(findDraggedResult(link, "http://here:7860"), "abc-1");
  assert.equal(findDraggedResult(link, "http://elsewhere"), "");
  assert.equal(findDraggedResult("http://here:7860/other.png", "http://here:7860"), "");
});

test("an image grows by sides, to a size, or to a ratio", () => {
  const size = { width: 160, height: 96 };
  const grow = (wish) => Object.values(measureMargins(wish, size));
  assert.deepEqual(grow({ how: "sides", left: "10", top: -5, right: 2.6 }), [10, 0, 3, 0]);
  assert.deepEqual(grow({ how: "size", width: 201, height: 50 }), [20, 0, 21, 0]);
  assert.deepEqual(grow({ how: "aspect", aspect: "1:1" }), [0, 32, 0, 32]);
  assert.deepEqual(grow({ how: "aspect", aspect: "1:0" }), [0, 0, 0, 0]);
  assert.deepEqual(grow({}), [0, 0, 0, 0]);
});

test("the comparison zooms from 1 to 16 times", () => {
  assert.deepEqual([stepZoom(1, 0.5), stepZoom(2, 2), stepZoom(12, 2)], [1, 4, 16]);
});
