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


def read_choices(page: Page) -> list[str]:
    page.wait_for_selector("ul[role=listbox] li")
    return [text.removeprefix("✓").strip() for text in page.locator("ul[role=listbox] li").all_inner_texts()]


def test_a_list_comes_when_it_is_opened_and_can_be_searched_by_typing(opener: Opener) -> None:
    many = [dataclasses.replace(FAKE_MODEL, id=f"own/{number}", title=f"Own {number}") for number in range(300)]
    window = opener.open_window(opener.serve(FAKE_MODEL, *many))
    page = window.open()
    fetched: list[str] = []
    page.on("request", lambda request: "/page/lists/" in request.url and fetched.append(request.url))
    box = page.locator("#model input")
    assert fetched == []
    box.click()
    expect(page.locator("ul[role=listbox] li", has_text="Own 7").first).to_be_visible()
    assert read_choices(page)[0] == "Fake"
    assert page.locator("ul[role=listbox] li[aria-selected=true]").inner_text().endswith("Fake")
    assert len(fetched) == 1
    box.fill("own 299")
    box.press("End")
    expect(page.locator("ul[role=listbox] li")).to_have_count(1)
    box.press("Enter")
    expect(box).to_have_value("Own 299")
    box.click()
    marked = page.locator("ul[role=listbox] li[aria-selected=true]")
    expect(page.locator("ul[role=listbox] li", has_text="Own 7").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(marked).to_have_count(0)
    page.wait_for_timeout(500)
    page.reload()
    window.ready()
    expect(page.locator("#model input")).to_have_value("Own 299")
    assert window.complaints == []


def test_the_keys_choose_from_a_list_that_was_just_fetched(opener: Opener) -> None:
    page = opener.open_window(opener.serve(FAKE_MODEL, OTHER)).open()
    box = page.locator("#model input")
    box.focus()
    expect(page.locator("ul[role=listbox] li", has_text="Other")).to_be_visible()
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value("Other")
    expect(page.locator("#guidance input[type=number]")).to_have_value("3")


def test_a_list_that_cannot_be_fetched_keeps_what_is_chosen(opener: Opener) -> None:
    window = opener.open_window(opener.serve(FAKE_MODEL, OTHER))
    page = window.open()
    page.route("**/page/lists/**", lambda route: route.abort())
    page.locator("#model input").click()
    assert read_choices(page) == ["Fake"]
    page.keyboard.press("Tab")
    expect(page.locator("#model input")).to_have_value("Fake")
