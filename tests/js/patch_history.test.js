import assert from "node:assert/strict";
import { test } from "node:test";
import { PatchHistory } from "../../studio/assets/js/paint/patch_history.js";

/** A drawing that is one number; a patch holds the number that stood there before. */
function makeDrawing(limit = 40) {
  const drawing = { value: 0 };
  const history = new PatchHistory((patch) => {
    const revert = drawing.value;
    drawing.value = patch;
    return revert;
  }, limit);
  const draw = (value) => {
    history.record(drawing.value);
    drawing.value = value;
  };
  return { drawing, history, draw };
}

test("undo and redo walk through the changes", () => {
  const { drawing, history, draw } = makeDrawing();
  draw(1);
  draw(2);
  assert.equal(history.undo(), true);
  assert.equal(drawing.value, 1);
  history.undo();
  assert.equal(drawing.value, 0);
  assert.deepEqual([history.canUndo, history.canRedo], [false, true]);
  history.redo();
  history.redo();
  assert.equal(drawing.value, 2);
  assert.equal(history.redo(), false);
});

test("a new change ends what could be redone", () => {
  const { drawing, history, draw } = makeDrawing();
  draw(1);
  history.undo();
  draw(5);
  assert.equal(history.canRedo, false);
  history.undo();
  assert.equal(drawing.value, 0);
});

test("only the last changes can be undone", () => {
  const { drawing, history, draw } = makeDrawing(2);
  for (const value of [1, 2, 3]) draw(value);
  while (history.canUndo) history.undo();
  assert.equal(drawing.value, 1);
  assert.equal(history.undo(), false);
});
