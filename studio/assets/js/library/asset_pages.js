// @ts-check
/**
 * The list of assets that a query finds, fetched page by page in order. Of pages far from what is shown only the cursor
 * and the number of assets are kept, so that memory does not grow while one scrolls; they are fetched again when
 * needed.
 */

/** @typedef {import("./library_api.js").Asset} Asset */
/** @typedef {import("./library_api.js").AssetPage} AssetPage */

/**
 * @typedef {object} Page
 * @property {string} cursor "" for the first page
 * @property {number} start index of its first asset
 * @property {number} size
 * @property {Asset[] | null} assets null while they are not in memory
 * @property {Promise<void> | null} loading
 */

const KEPT_PAGES = 12; // in memory, around those that are shown

export class AssetPages {
  /** @param {(cursor: string) => Promise<AssetPage>} fetchPage */
  constructor(fetchPage) {
    this.fetchPage = fetchPage;
    /** @type {Page[]} */
    this.pages = [];
    /** @type {string | null} of the page after the last one, null when there is none */
    this.next = "";
    this.total = 0;
    this.isExact = true; // else `total` is the least that there are
    /** @type {Promise<void> | null} */
    this.growing = null;
  }

  /** Assets whose place is known: those of all pages fetched so far. */
  get count() {
    const last = this.pages.at(-1);
    return last ? last.start + last.size : 0;
  }

  /**
   * @param {number} index
   * @returns {Asset | null} null when its page is not in memory
   */
  get(index) {
    const page = this.findPage(index);
    return page?.assets?.[index - page.start] ?? null;
  }

  /**
   * @param {string} id
   * @returns {number} -1 when it is not in memory
   */
  findIndex(id) {
    for (const page of this.pages) {
      const place = page.assets?.findIndex((asset) => asset.id === id) ?? -1;
      if (place >= 0) return page.start + place;
    }
    return -1;
  }

  /**
   * Fetch what is missing of the assets from `first` to before `end`, and drop pages far from them.
   * @param {number} first
   * @param {number} end
   * @returns {Promise<boolean>} whether anything was fetched
   */
  async need(first, end) {
    const wanted = this.pages.filter((page) => page.start < end && page.start + page.size > first);
    const loading = wanted.filter((page) => !page.assets).map((page) => this.reload(page));
    if (end > this.count && this.next !== null) loading.push(this.grow());
    this.dropFarPages(first, end);
    await Promise.all(loading);
    return loading.length > 0;
  }

  /**
   * The assets from `first` to before `end`, fetched where they are not in memory; fewer where the list ends before.
   * @param {number} first
   * @param {number} end
   * @returns {Promise<Asset[]>}
   */
  async collect(first, end) {
    const found = [];
    for (let index = first; index < end; index++) {
      if (!this.get(index)) await this.need(index, index + 1);
      const asset = this.get(index);
      if (asset) found.push(asset);
    }
    return found;
  }

  /**
   * Put a changed asset in place of what is known of it.
   * @param {Asset} asset
   */
  replace(asset) {
    const index = this.findIndex(asset.id);
    const page = index < 0 ? null : this.findPage(index);
    page?.assets?.splice(index - page.start, 1, asset);
  }

  /**
   * Take assets off the list.
   * @param {Set<string>} ids
   */
  remove(ids) {
    for (const page of this.pages) {
      if (!page.assets) continue;
      const kept = page.assets.filter((asset) => !ids.has(asset.id));
      this.total -= page.assets.length - kept.length;
      page.assets = kept;
      page.size = kept.length;
    }
    this.setStarts();
  }

  /**
   * @param {number} index
   * @returns {Page | undefined}
   */
  findPage(index) {
    let low = 0;
    let high = this.pages.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.pages[middle].start <= index) low = middle;
      else high = middle - 1;
    }
    const page = this.pages[low];
    return page && index >= page.start && index < page.start + page.size ? page : undefined;
  }

  /** @returns {Promise<void>} */
  grow() {
    this.growing ??= this.fetchNext().finally(() => (this.growing = null));
    return this.growing;
  }

  async fetchNext() {
    const cursor = this.next ?? "";
    const { assets, next, total, total_is_exact: isExact = true } = await this.fetchPage(cursor);
    this.isExact = isExact;
    this.pages.push({ cursor, start: this.count, size: assets.length, assets, loading: null });
    this.next = next;
    this.total = total;
  }

  /**
   * @param {Page} page
   * @returns {Promise<void>}
   */
  reload(page) {
    page.loading ??= this.fetchAgain(page).finally(() => (page.loading = null));
    return page.loading;
  }

  /** @param {Page} page */
  async fetchAgain(page) {
    const { assets } = await this.fetchPage(page.cursor);
    page.assets = assets;
    if (assets.length === page.size) return;
    page.size = assets.length;
    this.setStarts();
  }

  setStarts() {
    let start = 0;
    for (const page of this.pages) {
      page.start = start;
      start += page.size;
    }
  }

  /**
   * @param {number} first
   * @param {number} end
   */
  dropFarPages(first, end) {
    const near = this.pages.findIndex((page) => page.start + page.size > first);
    const last = this.pages.findLastIndex((page) => page.start < end);
    const spare = Math.max(1, Math.floor((KEPT_PAGES - (last - near + 1)) / 2));
    this.pages.forEach((page, place) => {
      if (place < near - spare || place > last + spare) page.assets = null;
    });
  }
}
