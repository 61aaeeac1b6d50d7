import assert from "node:assert/strict";
import { test } from "node:test";
import { readPaintKey } from "../../studio/assets/js/paint/paint_keys.js";
import { Viewport } from "../../studio/assets/js/paint/viewport.js";

const press = (key, held = {}) =>
  readPaintKey({ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...held });

test("keys stand for commands, with Control and Command alike", () => {
  assert.deepEqual(
    ["B", "e", " ", "ArrowUp", "0", "Escape"].map((key) => press(key)),
    ["brush", "eraser", "paint", "up", "fit", "close"],
  );
  assert.equal(press("z", { ctrlKey: true }), "undo");
  assert.equal(press("Z", { metaKey: true, shiftKey: true }), "redo");
  assert.equal(press("y", { ctrlKey: true }), "redo");
});

test("keys of the browser stay the browser's", () => {
  assert.equal(press("b", { ctrlKey: true }), "");
  assert.equal(press("e", { altKey: true }), "");
  assert.equal(press("q"), "");
});

test("a fitted sheet stands in the middle of its view", () => {
  const viewport = new Viewport();
  viewport.fit({ width: 400, height: 300 }, { width: 100, height: 100 });
  assert.deepEqual([viewport.scale, viewport.x, viewport.y], [3, 50, 0]);
  assert.deepEqual(viewport.toSheet({ x: 200, y: 150 }), { x: 50, y: 50 });
  assert.deepEqual(viewport.toView({ x: 50, y: 50 }), { x: 200, y: 150 });
});

test("zooming keeps what lies under the pointer, within limits", () => {
  const viewport = new Viewport();
  viewport.fit({ width: 400, height: 300 }, { width: 100, height: 100 });
  const pointer = { x: 110, y: 40 };
  const before = viewport.toSheet(pointer);
  viewport.zoom(2, pointer);
  assert.equal(viewport.scale, 6);
  assert.ok(Math.abs(viewport.toSheet(pointer).x - before.x) < 1e-9);
  assert.ok(Math.abs(viewport.toSheet(pointer).y - before.y) < 1e-9);
  viewport.zoom(1e6, pointer);
  assert.equal(viewport.scale, 72);
  viewport.zoom(1e-6, pointer);
  assert.equal(viewport.scale, 1.5);
});
