// @ts-check
/** Undo and redo of changes that are kept as patches: what stood there before. */

/**
 * A patch changes the drawing back; `swap` applies it and returns the patch that reverts it.
 * @template P
 */
export class PatchHistory {
  /**
   * @param {(patch: P) => P} swap
   * @param {number} limit how many changes can be undone
   */
  constructor(swap, limit) {
    this.swap = swap;
    this.limit = limit;
    /** @type {P[]} */
    this.undoable = [];
    /** @type {P[]} */
    this.redoable = [];
  }

  get canUndo() {
    return this.undoable.length > 0;
  }

  get canRedo() {
    return this.redoable.length > 0;
  }

  /**
   * Note a change that was just made.
   * @param {P} patch reverts it
   */
  record(patch) {
    this.undoable.push(patch);
    if (this.undoable.length > this.limit) this.undoable.shift();
    this.redoable.length = 0;
  }

  /** @returns {boolean} whether there was something to undo */
  undo() {
    return this.#move(this.undoable, this.redoable);
  }

  /** @returns {boolean} whether there was something to redo */
  redo() {
    return this.#move(this.redoable, this.undoable);
  }

  clear() {
    this.undoable.length = this.redoable.length = 0;
  }

  /**
   * @param {P[]} from
   * @param {P[]} to
   * @returns {boolean}
   */
  #move(from, to) {
    const patch = from.pop();
    if (patch === undefined) return false;
    to.push(this.swap(patch));
    return true;
  }
}
