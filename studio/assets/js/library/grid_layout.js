// @ts-check
/** Where thumbnails lie in a grid of equal squares of which only those in view are on the page. */

/**
 * @typedef {object} Grid
 * @property {number} columns
 * @property {number} side px, of a square
 * @property {number} gap px, between two
 */

/**
 * @typedef {object} Range
 * @property {number} first
 * @property {number} end the first one that is no longer in it
 */

/** @typedef {{left: number, top: number, right: number, bottom: number}} Area px, from the grid's upper left corner */

/**
 * Fit as many columns as possible of squares at least `smallest` wide.
 * @param {number} width px
 * @param {number} smallest px
 * @param {number} gap px
 * @returns {Grid}
 */
export function fitGrid(width, smallest, gap) {
  const columns = Math.max(1, Math.floor((width + gap) / (smallest + gap)));
  return { columns, side: Math.max(1, (width - gap * (columns - 1)) / columns), gap };
}

/**
 * @param {Grid} grid
 * @param {number} count of thumbnails
 * @returns {number} px
 */
export function measureHeight(grid, count) {
  const rows = Math.ceil(count / grid.columns);
  return Math.max(0, rows * (grid.side + grid.gap) - grid.gap);
}

/**
 * The thumbnails to be drawn: those in view and `spare` rows above and below.
 * @param {Grid} grid
 * @param {{scrollTop: number, height: number, count: number, spare: number}} view
 * @returns {Range}
 */
export function findVisibleRange(grid, { scrollTop, height, count, spare }) {
  const pitch = grid.side + grid.gap;
  const firstRow = Math.max(0, Math.floor(scrollTop / pitch) - spare);
  const endRow = Math.ceil((scrollTop + height) / pitch) + spare;
  return { first: Math.min(count, firstRow * grid.columns), end: Math.min(count, endRow * grid.columns) };
}

/**
 * @param {Grid} grid
 * @param {number} index
 * @returns {{left: number, top: number}} px
 */
export function placeThumbnail(grid, index) {
  const pitch = grid.side + grid.gap;
  return { left: (index % grid.columns) * pitch, top: Math.floor(index / grid.columns) * pitch };
}

/**
 * The thumbnails that an area touches, in their order.
 * @param {Grid} grid
 * @param {Area} area
 * @param {number} count
 * @returns {number[]}
 */
export function listTouched(grid, area, count) {
  const pitch = grid.side + grid.gap;
  const [left, right] = [area.left, area.right].map((x) => Math.floor(x / pitch));
  const [top, bottom] = [area.top, area.bottom].map((y) => Math.floor(y / pitch));
  const found = [];
  for (let row = Math.max(0, top); row <= bottom; row++) {
    for (let column = Math.max(0, left); column <= Math.min(right, grid.columns - 1); column++) {
      const index = row * grid.columns + column;
      if (index >= count) return found;
      if (isTouched(placeThumbnail(grid, index), grid.side, area)) found.push(index);
    }
  }
  return found;
}

/**
 * Where an arrow key leads, the index itself where it leads out of the grid.
 * @param {string} key as KeyboardEvent has it
 * @param {number} index
 * @param {{columns: number, rows: number, count: number}} grid `rows` that are in view
 * @returns {number | null} null for other keys
 */
export function findNeighbour(key, index, { columns, rows, count }) {
  /** @type {Record<string, number>} */
  const steps = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
    PageUp: -columns * Math.max(1, rows),
    PageDown: columns * Math.max(1, rows),
    Home: -index,
    End: count - 1 - index,
  };
  if (!Object.hasOwn(steps, key) || !count) return null;
  const wanted = index + steps[key];
  if (wanted >= 0 && wanted < count) return wanted;
  if (key === "PageUp") return index % columns;
  return key === "PageDown" || key === "ArrowDown" ? lastBelow(index, columns, count) : index;
}

/**
 * @param {Grid} grid
 * @param {number} index
 * @param {{scrollTop: number, height: number}} view
 * @returns {number} the scroll position at which the thumbnail is in view, as near as possible to the present one
 */
export function scrollToThumbnail(grid, index, { scrollTop, height }) {
  const { top } = placeThumbnail(grid, index);
  if (top < scrollTop) return top;
  return Math.max(scrollTop, top + grid.side - height);
}

/**
 * @param {{left: number, top: number}} corner
 * @param {number} side
 * @param {Area} area
 * @returns {boolean}
 */
function isTouched({ left, top }, side, area) {
  return area.left <= left + side && area.right >= left && area.top <= top + side && area.bottom >= top;
}

/**
 * @param {number} index
 * @param {number} columns
 * @param {number} count
 * @returns {number} the last thumbnail, unless `index` is in its row
 */
function lastBelow(index, columns, count) {
  const last = count - 1;
  return Math.floor(index / columns) === Math.floor(last / columns) ? index : last;
}
