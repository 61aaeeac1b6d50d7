"""What axe-core finds in each tab, light and dark, and what a system may ask for: its own colours, no motion."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from opening import BrowserWindow, Opener
from playwright.sync_api import Page, expect

from studio.page import list_tabs, make_panel_id

pytestmark = pytest.mark.browser

SETTLE_MS = 700  # ms in which lists and images come; Home asks again and again, so that the network is never idle
OF_COLOURS = ("color-contrast", "link-in-text-block")
OPEN_ACCORDIONS = """(tab) => {
  const closed = document.querySelectorAll(`#${tab} button.label-wrap:not(.open)`);
  closed.forEach((button) => button.offsetParent && button.click());
}"""


def list_violations(page: Page, within: str | None, *rules: str) -> list[str]:
    """Each rule that is broken `within` the first element of a selector, or in the whole page, or of `rules` alone
    where some are named, with the first elements that break it."""
    options = {"resultTypes": ["violations"], **({"runOnly": {"type": "rule", "values": [*rules]}} if rules else {})}
    found: dict[str, Any] = Axe().run(page, within, options).response
    return [describe(violation) for violation in found["violations"]]


def describe(violation: dict[str, Any]) -> str:
    nodes = [f"{node['html'][:160]} {node['failureSummary'].splitlines()[-1].strip()}" for node in violation["nodes"]]
    return "\n  ".join([f"{violation['id']} ({len(nodes)}): {violation['help']}", *nodes[:6]])


def draw(window: BrowserWindow) -> None:
    """An image, so that a result, its buttons and a library are there."""
    page = window.page
    page.fill("#prompt textarea", "a pear")
    page.fill("#count input", "2")
    page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")
    expect(page.locator("#result .heart")).to_be_visible()


def look_in_both_themes(page: Page, place: str, within: str | None = None) -> dict[str, list[str]]:
    """The violations by place and theme, in the whole page or `within` a selector. What has nothing to do with colours
    is looked for once."""
    found = {f"{place}, light": list_violations(page, within)}
    page.evaluate("window.easelChooseTheme('dark')")
    found[f"{place}, dark"] = list_violations(page, within, *OF_COLOURS)
    page.evaluate("window.easelChooseTheme('light')")
    return {each: violations for each, violations in found.items() if violations}


def test_axe_finds_nothing_in_any_tab(opener: Opener) -> None:
    window = opener.open_window(opener.serve_social(), color_scheme="light", reduced_motion="reduce")
    page = window.open()
    draw(window)
    found: dict[str, list[str]] = {}
    tabs = list_tabs()
    for tab in tabs:
        window.tab(tab.title)
        panel = make_panel_id(tab)
        page.evaluate(OPEN_ACCORDIONS, panel)
        page.wait_for_timeout(SETTLE_MS)
        whole = tab in (tabs[0], tabs[-1])  # what is around the tabs, and all that they have added, is looked at twice
        found |= look_in_both_themes(page, tab.title, None if whole else f"#{panel}")
    page.click("#help-open")
    found |= look_in_both_themes(page, "Help", "dialog[open]")
    text = "\n".join(f"== {tab}\n" + "\n".join(violations) for tab, violations in found.items())
    assert not found, text


def test_pressed_buttons_are_told_apart_in_forced_colours(opener: Opener) -> None:
    window = opener.open_window(opener.serve(), forced_colors="active")
    page = window.open()
    draw(window)
    look = "node => ['outlineStyle', 'borderTopColor', 'backgroundColor'].map((name) => getComputedStyle(node)[name])"
    frames = page.locator("#result .frame")
    assert frames.nth(0).evaluate(look) != frames.nth(1).evaluate(look)
    page.focus("#generate")
    assert page.locator("#generate").evaluate("node => getComputedStyle(node).outlineStyle") != "none"
    bar = page.evaluate("getComputedStyle(document.querySelector('#result .bar span')).backgroundColor")
    back = page.evaluate("getComputedStyle(document.querySelector('#result .bar')).backgroundColor")
    assert bar != back, "progress can be seen"


def test_nothing_moves_for_those_who_asked_for_it(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served, reduced_motion="reduce")
    page = window.open()
    page.fill("#prompt textarea", "a pear")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result .elapsed")).to_be_visible()
    assert page.evaluate("document.getAnimations().filter((one) => one.playState === 'running').length") == 0
    served.backend.release(100)
