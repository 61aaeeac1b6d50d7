"""The page on a phone, 390 px wide: the first minute, each tab in two taps, nothing cut off, the price in view."""

from __future__ import annotations

from itertools import pairwise

import pytest
from opening import BrowserWindow, Opener
from playwright.sync_api import Page, expect

from studio.page import list_tabs

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
CUT_OFF = """(tab) => {
  const parts = 'button, input, textarea, select, label, a, h3, p, td';
  const isScrolled = (node) => ['auto', 'scroll'].includes(getComputedStyle(node).overflowX)
    || (node.parentElement && isScrolled(node.parentElement));
  return [...document.querySelectorAll(`#${tab} :is(${parts})`)]
    .filter((node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !isScrolled(node))
    .map((node) => [node.id || node.textContent.trim().slice(0, 40) || node.className, node.getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && (box.left < -1 || box.right > innerWidth + 1))
    .map(([name, box]) => `${name}: ${Math.round(box.left)} to ${Math.round(box.right)}`);
}"""


def open_phone(opener: Opener, served: object) -> BrowserWindow:
    return opener.open_window(served, viewport=PHONE, has_touch=True, is_mobile=True)  # type: ignore[arg-type]


def is_in_view(page: Page, selector: str) -> bool:
    box = page.locator(selector).bounding_box()
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= PHONE["height"]


def test_the_first_minute_needs_no_scrolling(opener: Opener) -> None:
    window = open_phone(opener, opener.serve())
    page = window.open()
    assert is_in_view(page, "#prompt textarea")
    assert is_in_view(page, "#generate")
    page.tap("#prompt textarea")
    page.keyboard.type("a pear")
    page.tap("#generate")
    window.wait_for_status("finished")
    expect(page.locator("#result img.shown")).to_be_in_viewport(ratio=0.6)
    assert is_in_view(page, "#generate")
    assert window.complaints == []


def test_every_tab_is_two_taps_away_and_cuts_nothing_off(opener: Opener) -> None:
    window = open_phone(opener, opener.serve_social())
    page = window.open()
    cut: dict[str, list[str]] = {}
    for tab in (each.title for each in list_tabs()):
        taps, panel = 1, f"tab-{tab.lower().replace(' ', '-')}"
        button = page.locator(f"button[role=tab]:has-text('{tab}'):visible")
        if not button.count():
            page.tap("[aria-label='More tabs']")
            button = page.locator(f".overflow-dropdown button:has-text('{tab}')")
            taps += 1
        button.first.tap()
        page.wait_for_selector(f"#{panel} .column > *", state="attached")
        page.wait_for_timeout(400)
        assert taps <= 2
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab
        if found := page.evaluate(CUT_OFF, panel):
            cut[tab] = found
    assert cut == {}


def test_the_price_stands_beside_generate(opener: Opener) -> None:
    window = open_phone(opener, opener.share())
    page = window.open()
    expect(page.locator(".bar-below .cost").first).to_contain_text("Free")
    page.mouse.wheel(0, 900)
    page.wait_for_function("scrollY > 300")
    assert is_in_view(page, ".bar-below .cost >> nth=0")
    assert is_in_view(page, "#generate")


def test_the_buttons_of_platforms_stand_in_their_own_rows(opener: Opener) -> None:
    window = open_phone(opener, opener.serve_formats())
    page = window.open()
    window.tab("Social Optimizer")
    buttons = page.locator(".formats-platform > .mini:visible")
    expect(buttons.nth(2)).to_be_visible()
    boxes = [button.bounding_box() for button in buttons.all()]
    for upper, lower in pairwise(box for box in boxes if box is not None):
        assert upper["y"] + upper["height"] <= lower["y"]
