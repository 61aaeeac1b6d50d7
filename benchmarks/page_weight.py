"""The cost of opening the page, against a Gradio page with one text box in the same browser."""

from __future__ import annotations

import json
import re
import shutil
import statistics

import httpx
from playwright.sync_api import Browser, sync_playwright

from benchmarks.plain_gradio import serve_page
from benchmarks.report import Row
from benchmarks.startup import start_studio

TRIES = 11
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EMPTY_PAGE = 'gr.Textbox(elem_id="prompt")'
PROMPT = "#prompt textarea"
# Notes when the prompt is first on the screen with nothing above it, and the page free to take what is typed. To try to
# type until it works would tell no better than half a second: so far apart are Playwright's tries.
NOTE_READY = """(() => {
  const look = () => {
    const box = document.querySelector("#prompt textarea");
    const place = box?.getBoundingClientRect();
    const middle = place && document.elementFromPoint(place.x + place.width / 2, place.y + place.height / 2);
    if (box && middle === box) setTimeout(() => (window.readyForTyping = performance.now()));
    else requestAnimationFrame(look);
  };
  look();
})()"""


def rows() -> list[Row]:
    """Bytes and components of the first answer, nodes in the document, and the time until the prompt takes text. No
    model is loaded meanwhile, which would take a core for some seconds after the start."""
    with start_studio(warm_up="false") as ours, serve_page(EMPTY_PAGE) as empty, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None), args=["--no-sandbox"]
        )
        sent, plain = _weigh(ours)
        config = _read_config(plain)
        pairs = [(_measure_seconds(browser, ours), _measure_seconds(browser, empty)) for _ in range(TRIES + 1)]
        nodes = _count_nodes(browser, ours)
        browser.close()
    mine, others = (statistics.median(times) for times in zip(*pairs[1:], strict=True))  # the first is a warm-up
    return [
        Row("first answer, compressed", sent / 1000, 120, " kB", f"{len(plain) / 1000:.0f} kB of HTML, gzip"),
        Row("components before a tab is opened", len(config["components"]), 450),
        Row("events before a tab is opened", len(config["dependencies"]), 150),
        Row("nodes in the document", nodes, 2500),
        Row(
            "ready for typing / an empty Gradio page",
            mine / others,
            1.5,
            "×",
            f"{mine:.2f} s / {others:.2f} s, medians of {TRIES}",
        ),
    ]


def _weigh(url: str) -> tuple[int, bytes]:
    """The bytes of the first answer as they are sent, and the page in them."""
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}, timeout=30) as answer:
        sent = sum(map(len, answer.iter_raw()))
    return sent, httpx.get(url, headers={"Accept-Encoding": "identity"}, timeout=30).content


def _read_config(page: bytes) -> dict[str, list[object]]:
    found = re.search(rb"window\.gradio_config = (\{.*?\});</script>", page, re.DOTALL)
    if found is None:
        raise RuntimeError("the page has no description of itself")
    return json.loads(found[1])


def _measure_seconds(browser: Browser, url: str) -> float:
    """From the request to a prompt that takes what is typed, in a window without a cache."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.add_init_script(NOTE_READY)
        page.goto(url, wait_until="commit")
        found = page.wait_for_function("window.readyForTyping", timeout=60_000).json_value() / 1000
        page.fill(PROMPT, "a")
        if page.input_value(PROMPT) != "a":
            raise RuntimeError("the prompt does not hold what is typed")
        return found
    finally:
        context.close()


def _count_nodes(browser: Browser, url: str) -> int:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("window.easel && window.easel.restored", timeout=60_000)
        return page.evaluate("document.querySelectorAll('*').length")
    finally:
        context.close()
