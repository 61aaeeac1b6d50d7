"""The Library tab with 100,000 images: how long it takes to open, and whether scrolling fills the memory."""

from __future__ import annotations

import importlib
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.page_weight import BROWSERS
from benchmarks.plain_gradio import serve_page
from benchmarks.report import Row
from benchmarks.startup import start_studio_process
from studio.library.database import Database

TRIES = 5
IMAGES = 100_000
FIRST, LAST = 1_000, 10_000  # images scrolled past when memory is looked at
EMPTY_TAB = (  # a line of Python
    "exec(\"with gr.Tabs():\\n  with gr.Tab('First'): gr.HTML('<p id=prompt>first</p>')\\n"
    "  with gr.Tab('Library'): gr.HTML('<p id=empty>empty</p>')\")"
)
THUMBNAIL = ".lib-cell:not(.lib-loading)"
TAB = "button[role=tab]:has-text('Library')"
WATCH = """(content) => document.addEventListener("click", () => {
  const begin = performance.now();
  const look = () => {
    const isThere = [...document.querySelectorAll(content)].some((node) => node.getClientRects().length);
    requestAnimationFrame(isThere ? () => { window.drawnAfter = performance.now() - begin; } : look);
  };
  look();
}, {capture: true, once: true})"""
SCROLL = """async (wanted) => {
  const grid = document.querySelector(".lib-grid");
  const count = () =>
    Math.max(...[...document.querySelectorAll(".lib-cell")].map((cell) => Number(cell.dataset.index)));
  while (count() < wanted) {
    grid.scrollBy(0, 1200);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}"""


def rows() -> list[Row]:
    """Opening a library of 100,000 against opening an empty tab, and the page's memory while it is scrolled."""
    with tempfile.TemporaryDirectory() as folder, serve_page(EMPTY_TAB) as empty, sync_playwright() as playwright:
        _fill_library(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None), args=["--no-sandbox"]
        )
        with start_studio_process(Path(folder)) as (ours, _):
            pairs = [
                (_measure_opening(browser, ours, THUMBNAIL), _measure_opening(browser, empty, "#empty"))
                for _ in range(TRIES)
            ]
            early, late, cells = _measure_scrolling(browser, ours)
        browser.close()
    mine, others = (statistics.median(times) for times in zip(*pairs, strict=True))
    note = f"{mine * 1000:.0f} ms / {others * 1000:.0f} ms, medians of {TRIES}"
    return [
        Row(f"Library opens with {IMAGES:,} images, beyond an empty tab", (mine - others) * 1000, 300, " ms", note),
        Row(
            f"the page's memory after {LAST:,} images / after {FIRST:,}",
            late / early,
            1.2,
            "×",
            f"{early / 1e6:.1f} MB, then {late / 1e6:.1f} MB",
        ),
        Row(f"thumbnails on the page after {LAST:,} images", cells, 120),
    ]


def _fill_library(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    rows_of_tests: Any = importlib.import_module("library_rows")
    database = Database(folder / "library.db")
    rows_of_tests.add_many(database, IMAGES)
    database.close()


def _open_page(browser: Browser, url: str) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.route("**/thumbnail", lambda route: route.fulfill(status=204))  # these images have no files
    page.goto(url)
    page.wait_for_selector("#prompt", timeout=60_000)
    page.wait_for_function("!window.easel || window.easel.restored", timeout=60_000)
    page.wait_for_timeout(1000)
    return page


def _measure_opening(browser: Browser, url: str, content: str) -> float:
    """Seconds from the click on the tab until its content is drawn, by the page's own clock."""
    page = _open_page(browser, url)
    page.evaluate(WATCH, content)
    page.click(TAB)
    milliseconds = page.wait_for_function("window.drawnAfter").json_value()
    page.context.close()
    return milliseconds / 1000


def _measure_scrolling(browser: Browser, url: str) -> tuple[float, float, int]:
    """Bytes of the page's heap after the first images and after many, and the thumbnails on the page in the end."""
    page = _open_page(browser, url)
    session = page.context.new_cdp_session(page)
    page.click(TAB)
    page.wait_for_selector(THUMBNAIL)
    page.evaluate(SCROLL, FIRST)
    early = _measure_heap(session)
    page.evaluate(SCROLL, LAST)
    late = _measure_heap(session)
    cells = page.locator(".lib-cell").count()
    page.context.close()
    return early, late, cells


def _measure_heap(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "JSHeapUsedSize")
