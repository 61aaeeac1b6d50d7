// @ts-check
/** Which assets are selected: single ones, or everything that the query finds. */

export class Selection {
  constructor() {
    /** @type {Set<string>} ids */
    this.ids = new Set();
    /** Everything that the query finds; then `ids` is empty. */
    this.isWhole = false;
    /** Where a range begins: the index that was chosen last. */
    this.anchor = 0;
  }

  /**
   * @param {string} id
   * @returns {boolean}
   */
  has(id) {
    return this.isWhole || this.ids.has(id);
  }

  /**
   * @param {number} total that the query finds
   * @returns {number}
   */
  count(total) {
    return this.isWhole ? total : this.ids.size;
  }

  /**
   * @param {number} index
   * @param {...string} ids of what lies there
   */
  selectOnly(index, ...ids) {
    this.clear();
    this.ids = new Set(ids);
    this.anchor = index;
  }

  /**
   * Add what lies in a place, or take it away when all of it is selected; of a whole query it is selected alone.
   * @param {number} index
   * @param {...string} ids
   */
  toggle(index, ...ids) {
    const isSelected = !this.isWhole && ids.every((id) => this.ids.has(id));
    this.isWhole = false;
    for (const id of ids) {
      if (isSelected) this.ids.delete(id);
      else this.ids.add(id);
    }
    this.anchor = index;
  }

  /**
   * Select exactly these, such as a range from the anchor; with `others` beside what was selected.
   * @param {Iterable<string>} ids
   * @param {Iterable<string>} [others]
   */
  selectThese(ids, others = []) {
    this.isWhole = false;
    this.ids = new Set([...others, ...ids]);
  }

  /** Select everything that the query finds. */
  selectWhole() {
    this.ids.clear();
    this.isWhole = true;
  }

  /** @param {Iterable<string>} ids that are gone */
  drop(ids) {
    for (const id of ids) this.ids.delete(id);
  }

  clear() {
    this.ids.clear();
    this.isWhole = false;
  }
}

/**
 * @param {number} anchor
 * @param {number} index
 * @returns {{first: number, end: number}} the indices from one to the other, both included
 */
export function spanRange(anchor, index) {
  return { first: Math.min(anchor, index), end: Math.max(anchor, index) + 1 };
}
