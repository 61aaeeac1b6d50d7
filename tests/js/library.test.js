import assert from "node:assert/strict";
import { test } from "node:test";
import { readMarkKey } from "../../studio/assets/js/library/asset_marks.js";
import { AssetPages } from "../../studio/assets/js/library/asset_pages.js";
import { splitTags } from "../../studio/assets/js/library/bulk_bar.js";
import { findBest } from "../../studio/assets/js/library/duplicates_panel.js";
import { describeUpload } from "../../studio/assets/js/library/file_drop.js";
import {
  findNeighbour,
  findVisibleRange,
  fitGrid,
  listTouched,
  measureHeight,
  placeThumbnail,
  scrollToThumbnail,
} from "../../studio/assets/js/library/grid_layout.js";
import { describeFolder } from "../../studio/assets/js/library/imports_panel.js";
import { describeChange } from "../../studio/assets/js/library/notice_bar.js";
import {
  describeTerm,
  formatTerm,
  hasTerm,
  loosenWords,
  parseTerms,
  removeTerm,
  setTerm,
  toggleTerm,
} from "../../studio/assets/js/library/query_terms.js";
import { Selection, spanRange } from "../../studio/assets/js/library/selection.js";

/** A list of `total` assets in pages of 100, as the studio gives them; `calls` are the cursors that were asked for. */
function serve(total, calls = []) {
  return async (cursor) => {
    calls.push(cursor);
    const start = Number(cursor || 0);
    const size = Math.max(0, Math.min(100, total - start));
    const assets = Array.from({ length: size }, (_, place) => ({ id: `a${start + place}` }));
    return { assets, next: start + size < total ? String(start + size) : null, total };
  };
}

/** Scroll from the first asset to the one before `end`, a screen of 60 at a time. */
async function scroll(pages, end) {
  for (let first = 0; first < end; first += 60) while (await pages.need(first, first + 60));
}

const countInMemory = (pages) => pages.pages.reduce((sum, page) => sum + (page.assets?.length ?? 0), 0);

test("a query is split into words, phrases and keys with values", () => {
  const terms = parseTerms('castle -night model:sdxl tag:"book two" "old town" -is:favourite');
  assert.deepEqual(
    terms.map(({ key, value, isExcluded }) => [key, value, isExcluded]),
    [
      ["", "castle", false],
      ["", "night", true],
      ["model", "sdxl", false],
      ["tag", "book two", false],
      ["", "old town", false],
      ["is", "favourite", true],
    ],
  );
});

test("what only looks like a key is a word, and an open quote runs to the end", () => {
  assert.deepEqual(
    parseTerms('http://x constructor:y "open end').map(({ key, value }) => [key, value]),
    [
      ["", "http://x"],
      ["", "constructor:y"],
      ["", "open end"],
    ],
  );
  assert.deepEqual(parseTerms("  "), []);
  assert.deepEqual(parseTerms("-")[0], { from: 0, to: 1, key: "", value: "", isExcluded: true });
});

test("a term is switched on and off, and the rest of the query stays as it was typed", () => {
  const query = toggleTerm('castle "old  town"', "tag", "book two");
  assert.equal(query, 'castle "old  town" tag:"book two"');
  assert.equal(hasTerm(query, "tag", "Book Two"), true);
  assert.equal(toggleTerm(query, "tag", "BOOK TWO"), 'castle "old  town"');
  assert.equal(hasTerm("-tag:x", "tag", "x"), false);
});

test("a key with one value takes the place of the value before", () => {
  assert.equal(setTerm("rating:>=2 cat", "rating", ">=4"), "cat rating:>=4");
  assert.equal(setTerm("rating:>=2 cat", "rating", ""), "cat");
  assert.equal(formatTerm("model", "a:b"), 'model:"a:b"');
  assert.equal(formatTerm("tag", 'a "b"'), 'tag:"a b"');
});

test("chips say in words what a term means", () => {
  const chips = parseTerms("is:favourite -night model:sdxl -tag:x").map(describeTerm);
  assert.deepEqual(chips, ["Favourites", "Not night", "Model: sdxl", "Not Tag: x"]);
  assert.equal(removeTerm("a b c", 1), "a c");
});

test("a search that found nothing may ask for words that go on", () => {
  assert.equal(loosenWords("cast -night model:sdxl"), "cast* -night model:sdxl");
  assert.equal(loosenWords('"old town" x cas* é1'), '"old town" x cas* é1*');
  assert.deepEqual(["", "a", "tag:cat", '"cat"', "cat*", "l'eau"].map(loosenWords), ["", "", "", "", "", ""]);
});

test("a grid has as many columns as fit, and at least one", () => {
  assert.deepEqual(fitGrid(1000, 160, 8), { columns: 6, side: 160, gap: 8 });
  assert.equal(fitGrid(50, 160, 8).columns, 1);
  assert.equal(fitGrid(366, 104, 6).columns, 3);
});

test("only what is in view and a few rows around it is drawn", () => {
  const grid = { columns: 5, side: 90, gap: 10 };
  assert.deepEqual(findVisibleRange(grid, { scrollTop: 0, height: 400, count: 100_000, spare: 2 }), {
    first: 0,
    end: 30,
  });
  assert.deepEqual(findVisibleRange(grid, { scrollTop: 1_000_050, height: 400, count: 100_000, spare: 2 }), {
    first: 49_990,
    end: 50_035,
  });
  assert.deepEqual(findVisibleRange(grid, { scrollTop: 900, height: 400, count: 7, spare: 2 }), { first: 7, end: 7 });
  assert.equal(measureHeight(grid, 11), 290);
  assert.equal(measureHeight(grid, 0), 0);
  assert.deepEqual(placeThumbnail(grid, 7), { left: 200, top: 100 });
});

test("a drag selects the thumbnails that it touches, not those beside the gap", () => {
  const grid = { columns: 3, side: 90, gap: 10 };
  assert.deepEqual(listTouched(grid, { left: 50, top: 50, right: 150, bottom: 150 }, 9), [0, 1, 3, 4]);
  assert.deepEqual(listTouched(grid, { left: 92, top: 92, right: 98, bottom: 98 }, 9), []);
  assert.deepEqual(listTouched(grid, { left: -50, top: -50, right: 900, bottom: 900 }, 5), [0, 1, 2, 3, 4]);
});

test("arrow keys move by one, by a row and by a screen, and stay inside", () => {
  const grid = { columns: 4, rows: 3, count: 10 };
  const press = (key, index) => findNeighbour(key, index, grid);
  assert.deepEqual(
    ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].map((key) => press(key, 5)),
    [4, 6, 1, 9, 0, 9],
  );
  assert.deepEqual([press("ArrowLeft", 0), press("ArrowUp", 2), press("ArrowRight", 9)], [0, 2, 9]);
  assert.deepEqual(
    [press("ArrowDown", 7), press("ArrowDown", 9), press("PageDown", 1), press("PageUp", 7)],
    [9, 9, 9, 3],
  );
  assert.equal(press("x", 3), null);
  assert.equal(findNeighbour("ArrowRight", 0, { columns: 4, rows: 3, count: 0 }), null);
});

test("a thumbnail outside the view is scrolled to its nearer edge", () => {
  const grid = { columns: 2, side: 90, gap: 10 };
  assert.equal(scrollToThumbnail(grid, 0, { scrollTop: 300, height: 200 }), 0);
  assert.equal(scrollToThumbnail(grid, 6, { scrollTop: 0, height: 200 }), 190);
  assert.equal(scrollToThumbnail(grid, 2, { scrollTop: 50, height: 200 }), 50);
});

test("a selection grows by single images and ranges, and shrinks again", () => {
  const selection = new Selection();
  selection.selectOnly(3, "d");
  selection.toggle(5, "f");
  assert.deepEqual([[...selection.ids], selection.anchor, selection.count(100)], [["d", "f"], 5, 2]);
  selection.toggle(3, "d");
  assert.equal(selection.has("d"), false);
  assert.deepEqual(spanRange(5, 2), { first: 2, end: 6 });
  selection.selectThese(["c", "d", "e", "f"]);
  selection.drop(["e"]);
  assert.equal(selection.count(100), 3);
});

test("everything that a query finds can be selected at once", () => {
  const selection = new Selection();
  selection.toggle(0, "a");
  selection.selectWhole();
  assert.deepEqual([selection.has("a"), selection.has("z"), selection.count(100_000)], [true, true, 100_000]);
  selection.toggle(7, "h");
  assert.deepEqual([selection.has("h"), selection.has("z"), selection.count(100_000)], [true, false, 1]);
});

test("scrolling through a hundred thousand keeps a few pages in memory", async () => {
  const pages = new AssetPages(serve(100_000));
  await scroll(pages, 10_000);
  const early = countInMemory(pages);
  await scroll(pages, 100_000);
  assert.equal(pages.count, 100_000);
  assert.ok(countInMemory(pages) <= 1300 && early <= 1300, `${early}, then ${countInMemory(pages)} in memory`);
  assert.equal(pages.get(99_999)?.id, "a99999");
  assert.equal(pages.get(0), null);
  await pages.need(0, 60);
  assert.equal(pages.get(0)?.id, "a0");
});

test("a page is asked for once, however often it is needed meanwhile", async () => {
  const calls = [];
  const pages = new AssetPages(serve(250, calls));
  await Promise.all([pages.need(0, 60), pages.need(0, 60), pages.need(20, 80)]);
  assert.deepEqual(calls, [""]);
  assert.equal((await pages.collect(90, 400)).length, 160);
  assert.deepEqual(calls, ["", "100", "200"]);
  assert.equal(await pages.need(0, 10_000), false);
});

test("a failed page is asked for again", async () => {
  let fails = true;
  const good = serve(10);
  const pages = new AssetPages((cursor) => (fails ? Promise.reject(new Error("down")) : good(cursor)));
  await assert.rejects(pages.need(0, 5), /down/);
  fails = false;
  await pages.need(0, 5);
  assert.equal(pages.count, 10);
});

test("what is removed leaves no gap, in pages that are fetched again too", async () => {
  const pages = new AssetPages(serve(300));
  await scroll(pages, 300);
  pages.remove(new Set(["a0", "a150"]));
  assert.deepEqual([pages.count, pages.total, pages.get(0)?.id, pages.get(298)], [298, 298, "a1", null]);
  assert.equal(pages.findIndex("a151"), 149);
  pages.replace({ id: "a151", favourite: true });
  assert.equal(pages.get(149)?.favourite, true);
});

/** A list that grows at its beginning; every letter of `jobs` is an asset, the same letters are of one job. */
function serveJobs(jobs) {
  const list = { assets: [...jobs].map((job, place) => ({ id: `${job}${place}`, job })) };
  const fetchPage = async (cursor, limit) => {
    const start = cursor ? list.assets.findIndex((asset) => asset.id === cursor) + 1 : 0;
    const assets = list.assets.slice(start, start + limit);
    const isLast = start + limit >= list.assets.length;
    return { assets, next: isLast ? null : assets.at(-1).id, total: list.assets.length };
  };
  return { list, fetchPage };
}

const listPlaces = (pages) =>
  Array.from({ length: pages.count }, (_, index) =>
    pages
      .getStack(index)
      .map((asset) => asset.id)
      .join(" "),
  );

test("neighbours of one job lie in one place until their stack is opened", async () => {
  const pages = new AssetPages(serveJobs("aabaacd").fetchPage, true);
  await pages.need(0, 60);
  assert.deepEqual(listPlaces(pages), ["a0 a1", "b2", "a3 a4", "c5", "d6"]);
  assert.deepEqual([pages.count, pages.total, pages.findIndex("a4"), pages.find("a4")?.id], [5, 7, 2, "a4"]);
  pages.toggleStack("a");
  assert.deepEqual(listPlaces(pages), ["a0", "a1", "b2", "a3", "a4", "c5", "d6"]);
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => pages.getOpened(index)),
    ["first", "other", "", "first"],
  );
  pages.toggleStack("a");
  pages.remove(new Set(["b2"]));
  assert.deepEqual(listPlaces(pages), ["a0 a1 a3 a4", "c5", "d6"]);
  assert.deepEqual((await pages.collect(0, 2)).length, 5);
});

test("without stacks, and for what no job made, every asset has its own place", async () => {
  const plain = new AssetPages(serveJobs("aab").fetchPage);
  await plain.need(0, 60);
  assert.equal(plain.count, 3);
  const foreign = new AssetPages(async () => ({ assets: [{ id: "x" }, { id: "y" }], next: null, total: 2 }), true);
  await foreign.need(0, 60);
  assert.equal(foreign.count, 2);
});

test("one goes from image to image through stacks and pages", async () => {
  const pages = new AssetPages(serveJobs("a".repeat(3) + "b".repeat(150)).fetchPage, true);
  await pages.need(0, 1);
  const step = async (id, by) => (await pages.findNeighbour(id, by))?.id ?? null;
  assert.deepEqual([await step("a0", -1), await step("a0", 1), await step("a2", 1)], [null, "a1", "b3"]);
  assert.deepEqual([await step("b3", -1), await step("b99", 1), await step("b152", 1)], ["a2", "b100", null]);
});

test("what comes later is put before the rest, into the stack of its job too", async () => {
  const { list, fetchPage } = serveJobs("aabc");
  const pages = new AssetPages(fetchPage, true);
  await pages.need(0, 60);
  assert.equal(await pages.takeNew(), null);
  assert.equal(pages.beginsLike(await fetchPage("", 1)), true);
  assert.equal(pages.beginsLike({ assets: [{ id: "a0" }], next: null, total: 1, total_is_exact: false }), true);
  assert.equal(pages.beginsLike({ assets: [{ id: "a0" }], next: null, total: 1 }), false);
  list.assets.unshift({ id: "new", job: "n" });
  assert.equal(pages.beginsLike(await fetchPage("", 1)), false);
  assert.equal(await pages.takeNew(), 1);
  list.assets.unshift({ id: "newer", job: "n" });
  assert.equal(await pages.takeNew(), 0);
  assert.deepEqual(listPlaces(pages), ["newer new", "a0 a1", "b2", "c3"]);
  assert.equal(pages.total, 6);
  list.assets.shift();
  assert.equal(await pages.takeNew(), null);
});

test("how much there is comes later where only the least of it was known", async () => {
  const [asset, rest] = [{ id: "a", job: "a" }, { next: null }];
  const pages = new AssetPages(async () => ({ assets: [asset], total: 7, total_is_exact: false, ...rest }));
  await pages.need(0, 1);
  const learn = (total, isExact) => pages.learnTotal({ assets: [asset], total, total_is_exact: isExact, ...rest });
  assert.deepEqual([learn(7, false), learn(6, false), pages.total], [false, false, 7]);
  assert.deepEqual([learn(8, false), pages.total, pages.isExact], [true, 8, false]);
  assert.deepEqual([learn(9, true), pages.total, pages.isExact], [true, 9, true]);
  assert.equal(learn(12, true), false);
});

test("a first page that took in new images is whole again when it is fetched again", async () => {
  const { list, fetchPage } = serveJobs("abcdefgh".repeat(300));
  const pages = new AssetPages(fetchPage, true);
  await scroll(pages, 2400);
  assert.equal(pages.get(0), null);
  list.assets.unshift({ id: "x", job: "x" }, { id: "y", job: "y" });
  assert.equal(await pages.takeNew(), 2);
  await pages.need(0, 60);
  assert.deepEqual([pages.get(0)?.id, pages.get(2)?.id, pages.get(101)?.id], ["x", "a0", "d99"]);
  await pages.need(100, 110);
  assert.deepEqual([pages.get(102)?.id, pages.count, pages.total], ["e100", 2402, 2402]);
  list.assets.unshift(...Array.from({ length: 101 }, (_, place) => ({ id: `z${place}`, job: "" })));
  assert.equal(await pages.takeNew(), null);
});

test("a stack is selected and left as a whole", () => {
  const selection = new Selection();
  selection.toggle(2, "a", "b");
  selection.toggle(3, "c");
  assert.deepEqual([...selection.ids], ["a", "b", "c"]);
  selection.ids.delete("b");
  selection.toggle(2, "a", "b");
  assert.equal(selection.ids.size, 3);
  selection.toggle(2, "a", "b");
  assert.deepEqual([...selection.ids], ["c"]);
});

test("tags are typed with commas between, and a minus before those to remove", () => {
  assert.deepEqual(splitTags(" cat, book two ,-old,, -, cat"), { added: ["cat", "book two"], removed: ["old"] });
});

test("F and the digits mark images, unless a modifier is held", () => {
  const press = (key, more = {}) => readMarkKey({ key, ...more }, { favourite: true, rating: 2 });
  assert.deepEqual([press("f"), press("F"), press("4")], [{ favourite: false }, { favourite: false }, { rating: 4 }]);
  assert.deepEqual([press("0"), press("6"), press("f", { ctrlKey: true })], [{ rating: 0 }, null, null]);
});

test("of near duplicates the favourite is kept, then the best rated, the largest, the oldest", () => {
  const image = (id, more) => ({ id, favourite: false, rating: 0, width: 8, height: 8, created: "2026-02", ...more });
  const best = (...images) => findBest(images).id;
  assert.equal(best(image("a", { width: 99 }), image("b", { rating: 1 }), image("c", { favourite: true })), "c");
  assert.equal(best(image("a", { width: 99 }), image("b", { rating: 1 })), "b");
  assert.equal(best(image("a"), image("b", { width: 99 })), "b");
  assert.equal(best(image("a"), image("b", { created: "2026-01" })), "b");
});

test("what was done is said in a sentence", () => {
  assert.equal(describeChange(1, "rated"), "1 image rated.");
  assert.equal(describeChange(1200, "moved to the trash"), "1,200 images moved to the trash.");
  assert.equal(describeUpload(2, 1), "2 files added. 1 refused.");
  const folder = { program: "ComfyUI", state: "scanning", found: 5000, done: 1200 };
  assert.equal(describeFolder(folder), "ComfyUI · scanning · 1,200 of 5,000 files");
  assert.equal(describeFolder({ program: "", state: "offline", found: 0, done: 0 }), "not reachable");
});
