// @ts-check
/** Mouse, pen and fingers on the paint editor: one paints or moves the sheet, two zoom it. */

/** @typedef {import("./viewport.js").Point} Point */
/** @typedef {import("./paint_editor.js").PaintEditor} PaintEditor */

/**
 * Let the pointers over `view` work the editor.
 * @param {HTMLElement} view
 * @param {PaintEditor} editor
 */
export function listenToPointers(view, editor) {
  /** @type {Map<number, Point>} */
  const pressed = new Map();
  view.addEventListener("pointerdown", (event) => {
    if (!editor.isReady || event.button > 1) return;
    view.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, locate(view, event));
    if (pressed.size > 1) editor.cancelStroke();
    else if (editor.tool !== "hand" && event.button === 0) editor.beginStroke(locate(view, event));
  });
  view.addEventListener("pointermove", (event) => {
    const at = locate(view, event);
    if (event.pointerType !== "touch") editor.showBrush(editor.viewport.toSheet(at));
    const last = pressed.get(event.pointerId);
    if (!last) return;
    if (pressed.size > 1) pinch(editor, last, at, findOther(pressed, event.pointerId));
    else if (editor.isPainting) {
      for (const one of [...(event.getCoalescedEvents?.() ?? []), event]) editor.extendStroke(locate(view, one));
    } else editor.pan(at.x - last.x, at.y - last.y);
    pressed.set(event.pointerId, at);
  });
  const lift = (/** @type {PointerEvent} */ event) => {
    pressed.delete(event.pointerId);
    editor.endStroke();
  };
  view.addEventListener("pointerup", lift);
  view.addEventListener("pointercancel", lift);
  view.addEventListener("pointerleave", () => {
    if (!editor.isPainting) editor.showBrush(null);
  });
  const handleWheel = (/** @type {WheelEvent} */ event) => {
    if (!event.ctrlKey && !event.metaKey && !editor.isWide) return;
    event.preventDefault();
    editor.zoom(Math.exp(-event.deltaY / 400), locate(view, event));
  };
  view.addEventListener("wheel", handleWheel, { passive: false });
}

/**
 * Move and zoom the sheet with two fingers, of which one moved.
 * @param {PaintEditor} editor
 * @param {Point} from
 * @param {Point} to
 * @param {Point} other the finger that stayed
 */
function pinch(editor, from, to, other) {
  const getDistance = (/** @type {Point} */ point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
  editor.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
  const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
  editor.zoom(getDistance(to) / getDistance(from), middle);
}

/**
 * @param {Map<number, Point>} pressed two pointers or more
 * @param {number} id
 * @returns {Point}
 */
function findOther(pressed, id) {
  return [...pressed].filter(([other]) => other !== id)[0][1];
}

/**
 * @param {HTMLElement} view
 * @param {MouseEvent} event
 * @returns {Point} in the view, CSS px
 */
function locate(view, event) {
  const box = view.getBoundingClientRect();
  return { x: event.clientX - box.left - view.clientLeft, y: event.clientY - box.top - view.clientTop };
}
