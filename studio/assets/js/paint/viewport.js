// @ts-check
/** Where a sheet lies in its view: `x` and `y` in CSS px, `scale` in CSS px per px of the sheet. */

/** @typedef {{x: number, y: number}} Point */
/** @typedef {{width: number, height: number}} Size */

export class Viewport {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.scale = 1;
    this.fitScale = 1;
  }

  /**
   * Show the whole sheet in the middle of the view.
   * @param {Size} view
   * @param {Size} sheet
   */
  fit(view, sheet) {
    this.fitScale = this.scale = Math.min(view.width / sheet.width, view.height / sheet.height);
    this.x = (view.width - sheet.width * this.scale) / 2;
    this.y = (view.height - sheet.height * this.scale) / 2;
  }

  /**
   * Zoom so that what lies at `center` stays there; from half of what fits to 24 times that.
   * @param {number} factor
   * @param {Point} center in the view
   */
  zoom(factor, center) {
    const scale = Math.min(Math.max(this.scale * factor, this.fitScale / 2), Math.max(this.fitScale * 24, 4));
    this.x = center.x - ((center.x - this.x) * scale) / this.scale;
    this.y = center.y - ((center.y - this.y) * scale) / this.scale;
    this.scale = scale;
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
  }

  /**
   * @param {Point} point in the view
   * @returns {Point} on the sheet
   */
  toSheet(point) {
    return { x: (point.x - this.x) / this.scale, y: (point.y - this.y) / this.scale };
  }

  /**
   * @param {Point} point on the sheet
   * @returns {Point} in the view
   */
  toView(point) {
    return { x: this.x + point.x * this.scale, y: this.y + point.y * this.scale };
  }
}
