// @ts-check
/** What the list of formats and the board share: the platforms' data, the chosen formats, the form's options. */

import { requestJson } from "../common/requests.js";

/** @typedef {import("./crop_geometry.js").Box} Box */

/**
 * The platform's screen around a format, in its own px.
 * @typedef {object} DeviceFrame
 * @property {number} width
 * @property {number} height
 * @property {number} left
 * @property {number} top
 * @property {number} slot width of the image
 * @property {boolean} round
 * @property {string} svg
 */

/**
 * @typedef {object} Format
 * @property {string} id
 * @property {string} name
 * @property {string} platform title
 * @property {number} width px
 * @property {number} height px
 * @property {string} type file type
 * @property {number | null} limit bytes
 * @property {boolean} published whether the platform itself publishes the numbers
 * @property {string} sure how reliable the numbers are
 * @property {string} sources
 * @property {boolean} deletable whether this user may delete it
 * @property {Box} safe zone
 * @property {string} zones SVG
 * @property {DeviceFrame | null} frame
 */

/** @typedef {{id: string, title: string, formats: Format[]}} Platform */
/** @typedef {{platforms: Platform[], problems: string[], as_of: string, may_share: boolean}} FormatData */

/**
 * The options of the form that the board draws with; null where the form has no value.
 * @typedef {object} BoardOptions
 * @property {boolean} [same]
 * @property {string} [extend]
 * @property {string} [border]
 * @property {string | null} [text]
 * @property {string | null} [font]
 * @property {number | null} [size]
 * @property {number | null} [margin]
 * @property {string | null} [colour]
 * @property {string | null} [stroke]
 * @property {string | null} [anchor]
 */

class FormatStore {
  constructor() {
    /** @type {FormatData | null} */
    this.data = null;
    /** @type {Map<string, Format>} */
    this.formats = new Map();
    /** @type {string[]} */
    this.chosen = [];
    /** @type {BoardOptions} */
    this.options = {};
    /** @type {Map<HTMLElement, () => void>} */
    this.listeners = new Map();
    /** @type {Promise<void> | null} */
    this.loading = null;
  }

  /**
   * Load the formats, once.
   * @returns {Promise<void>}
   */
  load() {
    this.loading ??= requestJson("page/social/formats").then(
      (data) => this.setData(data),
      (error) => {
        this.loading = null;
        throw error;
      },
    );
    return this.loading;
  }

  /** @param {FormatData} data */
  setData(data) {
    this.data = data;
    const formats = data.platforms.flatMap(({ title: platform, formats: ones }) =>
      ones.map((one) => ({ ...one, platform })),
    );
    this.formats = new Map(formats.map((one) => [one.id, one]));
  }

  /** @param {string[]} ids */
  setChosen(ids) {
    this.chosen = ids;
    this.#announce();
  }

  /** @param {BoardOptions} options */
  setOptions(options) {
    this.options = options;
    this.#announce();
  }

  /**
   * Call `listener` at every change, while `node` is on the page.
   * @param {HTMLElement} node
   * @param {() => void} listener
   */
  follow(node, listener) {
    this.listeners.set(node, listener);
  }

  #announce() {
    for (const [node, listener] of this.listeners) {
      if (node.isConnected) listener();
      else this.listeners.delete(node);
    }
  }
}

export const formatStore = new FormatStore();
