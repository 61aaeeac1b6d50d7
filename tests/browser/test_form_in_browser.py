"""The form while it is filled in: states of closed accordions, warnings and what puts them right, examples."""

from __future__ import annotations

import dataclasses

import pytest
from fakes import FAKE_MODEL
from opening import Opener
from playwright.sync_api import expect

from studio.core.model import Sizes

pytestmark = pytest.mark.browser
TRAINED = dataclasses.replace(FAKE_MODEL, sizes=Sizes(liked=((512, 512),)))


def test_closed_accordions_say_what_is_set_and_keep_saying_it_after_a_reload(opener: Opener) -> None:
    window = opener.open_window(opener.serve())
    page = window.open()
    page.fill("#prompt textarea", "a fox")
    page.click("#hires > button")
    page.check("#hires-on input")
    page.click("#hires > button")
    state = page.locator("#hires .fold-state")
    expect(state).to_contain_text("2×")
    page.click("#grid > button")
    page.fill("#axis-x input", "Steps")
    page.keyboard.press("Enter")
    page.fill("#axis-x-values textarea", "2-5")
    expect(page.locator("#grid .fold-state")).to_have_text("4 values")
    page.reload()
    window.ready()
    expect(state).to_contain_text("2×")
    page.click("#hires > button")
    page.uncheck("#hires-on input")
    expect(state).to_have_count(0)
    assert window.complaints == []


def test_a_warning_is_put_right_by_its_button(opener: Opener) -> None:
    window = opener.open_window(opener.serve(TRAINED))
    page = window.open()
    page.fill("#prompt textarea", "a fox, <lora:nothing:0.8>, red")
    page.fill("#width input", "1536")
    page.fill("#height input", "1536")
    page.keyboard.press("Tab")
    warnings = page.locator("#warnings li")
    expect(warnings).to_have_count(2)
    warnings.filter(has_text="no LoRA “nothing”").get_by_role("button", name="Remove it").click()
    expect(page.locator("#prompt textarea")).to_have_value("a fox, red")
    expect(warnings).to_have_count(1)
    warnings.get_by_role("button", name="Use 512 × 512").click()
    expect(page.locator("#width input")).to_have_value("512")
    expect(page.locator("#warnings")).to_be_hidden()
    page.click("#generate")
    window.wait_for_status("finished")
    [(request, _)] = window.served.backend.seen
    assert (request.width, request.height, request.prompt) == (512, 512, "a fox, red")
    assert window.complaints == []
