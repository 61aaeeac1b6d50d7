import assert from "node:assert/strict";
import { test } from "node:test";
import {
  clamp,
  placeCrop,
  placeWhole,
  roundBox,
  scaleBox,
  shiftBox,
  spanBox,
} from "../../studio/assets/js/social/crop_geometry.js";

const near = (box, expected) => assert.deepEqual(roundBox(box, 6), expected);

test("a drag spans a box in either direction", () => {
  near(spanBox([0.2, 0.3], [0.6, 0.9]), [0.2, 0.3, 0.6, 0.9]);
  near(spanBox([0.6, 0.9], [0.2, 0.3]), [0.2, 0.3, 0.6, 0.9]);
});

test("a click marks a small box that stays on the image", () => {
  near(spanBox([0.5, 0.5], [0.5, 0.5]), [0.44, 0.44, 0.56, 0.56]);
  near(spanBox([0, 1], [0, 1]), [0, 0.88, 0.12, 1]);
});

test("a box keeps its size when it is moved against an edge", () => {
  near(shiftBox([0.2, 0.2, 0.6, 0.6], 0.9, -0.9), [0.6, 0, 1, 0.4]);
  near(shiftBox([0.2, 0.2, 0.6, 0.6], 0.1, 0), [0.3, 0.2, 0.7, 0.6]);
});

test("a box keeps its shape when it is scaled, and stops at the image and at the smallest crop", () => {
  near(scaleBox([0.4, 0.4, 0.6, 0.8], 1.5), [0.35, 0.3, 0.65, 0.9]);
  near(scaleBox([0, 0, 0.2, 0.4], 10), [0, 0, 0.5, 1]);
  const smallest = scaleBox([0.4, 0.4, 0.6, 0.8], 1e-6);
  near([smallest[2] - smallest[0], smallest[3] - smallest[1], 0, 0], [0.08, 0.16, 0, 0]);
});

test("a crop fills its card", () => {
  assert.deepEqual(placeCrop([0.25, 0, 0.75, 1]), { left: -0.5, top: -0, width: 2, height: 1 });
});

test("an extended image stands whole about the middle of the safe zone", () => {
  const format = { width: 1080, height: 1920, safe: [0, 0, 1, 0.5] };
  const placement = placeWhole([1080, 960], format);
  assert.deepEqual(placement, { left: 0, top: 0, width: 1, height: 0.5 });
  assert.equal(placeWhole([1080, 960], { ...format, safe: [0, 0, 1, 1] }).top, 0.25);
});

test("a limit below the lower one is ignored", () => {
  assert.equal(clamp(5, 0, -1), 0);
});
