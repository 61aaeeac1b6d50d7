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
 * @property {number} limit assets to ask for when it is fetched again
 * @property {number} start index of its first place
 * @property {Asset[] | null} assets null while they are not in memory
 * @property {Asset[][]} places what lies in each place; empty while the assets are not in memory
 * @property {number} size places
 * @property {Promise<void> | null} loading
 */

const PAGE_SIZE = 100;
const KEPT_PAGES = 12; // in memory, around those that are shown
const LONGEST_PAGE = 400; // assets, until which the first page takes in new ones

export class AssetPages {
  /**
   * @param {(cursor: string, limit: number) => Promise<AssetPage>} fetchPage
   * @param {boolean} [isStacked] whether neighbours of one job lie in one place, until their stack is opened
   */
  constructor(fetchPage, isStacked = false) {
    this.fetchPage = fetchPage;
    this.isStacked = isStacked;
    /** @type {Set<string>} jobs whose stacks are open */
    this.opened = new Set();
    /** @type {Page[]} */
    this.pages = [];
    /** @type {string | null} of the page after the last one, null when there is none */
    this.next = "";
    this.first = ""; // id of the first asset
    this.total = 0; // assets
    this.isExact = true; // else `total` is the least that there are
    /** @type {Promise<void> | null} */
    this.growing = null;
  }

  /** Places that are known: those of all pages fetched so far. */
  get count() {
    const last = this.pages.at(-1);
    return last ? last.start + last.size : 0;
  }

  /**
   * @param {number} index of a place
   * @returns {Asset[]} what lies there, the newest first; nothing when its page is not in memory
   */
  getStack(index) {
    const page = this.findPage(index);
    return page?.places[index - page.start] ?? [];
  }

  /**
   * @param {number} index of a place
   * @returns {Asset | null} what lies on top there, null when its page is not in memory
   */
  get(index) {
    return this.getStack(index)[0] ?? null;
  }

  /**
   * @param {string} id
   * @returns {number} of the place where it lies, -1 when it is not in memory
   */
  findIndex(id) {
    for (const page of this.pages) {
      const place = page.places.findIndex((stack) => stack.some((asset) => asset.id === id));
      if (place >= 0) return page.start + place;
    }
    return -1;
  }

  /**
   * @param {string} id
   * @returns {Asset | null} null when it is not in memory
   */
  find(id) {
    return this.getStack(this.findIndex(id)).find((asset) => asset.id === id) ?? null;
  }

  /**
   * The asset before or after one, whether they lie in stacks or not.
   * @param {string} id
   * @param {1 | -1} step
   * @returns {Promise<Asset | null>} null at the ends of the list
   */
  async findNeighbour(id, step) {
    const index = this.findIndex(id);
    const stack = this.getStack(index);
    const near = stack[stack.findIndex((asset) => asset.id === id) + step];
    if (near) return near;
    const other = index + step;
    if (index < 0 || other < 0) return null;
    await this.collect(other, other + 1);
    return this.getStack(other).at(step > 0 ? 0 : -1) ?? null;
  }

  /**
   * Open the stack of a job, or close it.
   * @param {string} job
   */
  toggleStack(job) {
    if (!this.opened.delete(job)) this.opened.add(job);
    this.setPlaces();
  }

  /**
   * @param {number} index of a place
   * @returns {"" | "first" | "other"} which one of a stack that is open lies there, "" for none
   */
  getOpened(index) {
    const job = this.get(index)?.job;
    if (!job || !this.isStacked || !this.opened.has(job)) return "";
    if (this.get(index - 1)?.job === job) return "other";
    return this.get(index + 1)?.job === job ? "first" : "";
  }

  /**
   * Fetch what is missing of the places from `first` to before `end`, and drop pages far from them.
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
   * The assets in the places from `first` to before `end`, fetched where they are not in memory; fewer where the list
   * ends before.
   * @param {number} first
   * @param {number} end
   * @returns {Promise<Asset[]>}
   */
  async collect(first, end) {
    const found = [];
    for (let index = first; index < end; index++) {
      if (!this.get(index)) await this.need(index, index + 1);
      found.push(...this.getStack(index));
    }
    return found;
  }

  /**
   * Put a changed asset in place of what is known of it.
   * @param {Asset} asset
   */
  replace(asset) {
    for (const page of this.pages) {
      const place = page.assets?.findIndex((each) => each.id === asset.id) ?? -1;
      if (place >= 0) page.assets?.splice(place, 1, asset);
    }
    this.setPlaces();
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
    }
    this.setPlaces();
  }

  /**
   * @param {AssetPage} page the beginning of the list as it is now
   * @returns {boolean} whether nothing came since, and nothing went as far as numbers of hits can tell
   */
  beginsLike({ assets, total, total_is_exact: isExact = true }) {
    return (assets[0]?.id ?? "") === this.first && (total === this.total || !isExact || !this.isExact);
  }

  /**
   * Learn how much there is, where only the least of it was known.
   * @param {AssetPage} page
   * @returns {boolean} whether that is news
   */
  learnTotal({ total, total_is_exact: isExact = true }) {
    if (this.isExact || (!isExact && total <= this.total)) return false;
    this.total = total;
    this.isExact = isExact;
    return true;
  }

  /**
   * Put what has come since before the rest, which stays as it is.
   * @returns {Promise<number | null>} places that were added; null when the list has changed in other ways, or by more
   */
  async takeNew() {
    const [page] = this.pages;
    if (!page) return null;
    const { assets, total, total_is_exact: isExact = true } = await this.fetchPage("", PAGE_SIZE);
    const added = assets.findIndex((asset) => asset.id === this.first);
    if (added < 1 || page.limit + added > LONGEST_PAGE || page !== this.pages[0]) return null;
    const before = page.size;
    page.limit += added;
    if (page.assets) page.assets.unshift(...assets.slice(0, added));
    else page.size += this.stack(assets.slice(0, added)).length;
    this.first = assets[0].id;
    this.total = total;
    this.isExact = isExact;
    this.setPlaces();
    return page.size - before;
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
    const { assets, next, total, total_is_exact: isExact = true } = await this.fetchPage(cursor, PAGE_SIZE);
    this.isExact = isExact;
    this.pages.push({ cursor, limit: assets.length, start: this.count, assets, places: [], size: 0, loading: null });
    this.next = next;
    this.total = total;
    this.setPlaces();
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
    const { assets } = await this.fetchPage(page.cursor, page.limit);
    page.assets = assets;
    this.setPlaces();
  }

  /** Bring the places up to date with the assets. */
  setPlaces() {
    let start = 0;
    for (const page of this.pages) {
      page.start = start;
      page.places = page.assets ? this.stack(page.assets) : [];
      if (page.assets) page.size = page.places.length;
      start += page.size;
    }
    if (this.pages[0]?.assets) this.first = this.pages[0].assets[0]?.id ?? "";
  }

  /**
   * @param {Asset[]} assets
   * @returns {Asset[][]} neighbours of one job together, unless their stack is open
   */
  stack(assets) {
    /** @type {Asset[][]} */
    const places = [];
    for (const asset of assets) {
      const last = places.at(-1);
      const isStacked = this.isStacked && Boolean(asset.job) && !this.opened.has(asset.job ?? "");
      if (last && isStacked && last[0].job === asset.job) last.push(asset);
      else places.push([asset]);
    }
    return places;
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
      if (place >= near - spare && place <= last + spare) return;
      page.assets = null;
      page.places = [];
    });
  }
}
