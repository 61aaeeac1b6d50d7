"""Lists of choices: looking at one changes nothing, and the keys go on where they should."""

from __future__ import annotations

import dataclasses

import pytest
from fakes import FAKE_MODEL
from opening import Opener
from playwright.sync_api import Page, expect

from studio.core.model import Sampling

pytestmark = pytest.mark.browser
OTHER = dataclasses.replace(FAKE_MODEL, id="other", title="Other", sampling=Sampling(steps=9, guidance=3.0))


def get_focus(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('[id]')?.id || document.activeElement.tagName"))


def read_number(page: Page, name: str) -> str:
    return page.locator(f"#{name} input[type=number]").input_value()


def test_looking_at_the_models_keeps_what_was_typed_and_another_model_only_changes_the_rest(opener: Opener) -> None:
    window = opener.open_window(opener.serve(FAKE_MODEL, OTHER))
    page = window.open()
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status))
    page.fill("#steps input[type=number]", "7")
    page.keyboard.press("Tab")
    model = page.locator("#model input")
    model.click()
    page.keyboard.press("Escape")
    model.focus()
    page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    assert read_number(page, "steps") == "7"
    model.click()
    page.locator("ul[role=listbox] li", has_text="Other").click()
    expect(page.locator("#guidance input[type=number]")).to_have_value("3")
    assert read_number(page, "steps") == "7"
    assert max(answers) < 500
    assert window.complaints == []


@pytest.mark.parametrize("name", ["model", "styles"])
def test_tab_goes_on_from_a_list_to_the_next_field(opener: Opener, name: str) -> None:
    page = opener.open_window(opener.serve(FAKE_MODEL, OTHER)).open()
    page.locator(f"#{name} input").focus()
    page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    assert get_focus(page) not in ("BODY", name)
