"""Lists of choices: looking at one changes nothing, and the keys go on where they should."""

from __future__ import annotations

import dataclasses

import pytest
from fakes import FAKE_MODEL
from opening import Opener
from playwright.sync_api import Page, expect

from studio.core.model import Sampling
from studio.core.task import Task

pytestmark = pytest.mark.browser
OTHER = dataclasses.replace(FAKE_MODEL, id="other", title="Other", sampling=Sampling(steps=9, guidance=3.0))

TWO_KEYS = """() => [1, 2].forEach(() => document.querySelector("#model input").dispatchEvent(
    new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true, cancelable: true })))"""


def get_focus(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('[id]')?.id || document.activeElement.tagName"))


def read_number(page: Page, name: str) -> str:
    return page.locator(f"#{name} input[type=number]").input_value()


def test_looking_at_the_models_keeps_what_was_typed_and_another_model_only_changes_the_rest(opener: Opener) -> None:
    window = opener.open_window(opener.share(FAKE_MODEL, OTHER))
    page = window.open()
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status))
    page.fill("#steps input[type=number]", "7")
    page.keyboard.press("Tab")
    page.click("#model input")
    expect(page.locator(".model-picker")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".model-picker")).to_have_count(0)
    page.focus("#model input")
    page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    assert read_number(page, "steps") == "7"
    window.choose_model("Other")
    expect(page.locator("#guidance input[type=number]")).to_have_value("3")
    expect(page.locator("#model input")).to_have_value("Other")
    assert read_number(page, "steps") == "7"
    assert max(answers) < 500
    assert window.complaints == []


@pytest.mark.parametrize("name", ["model", "styles"])
def test_tab_goes_on_from_a_list_to_the_next_field(opener: Opener, name: str) -> None:
    page = opener.open_window(opener.share(FAKE_MODEL, OTHER)).open()
    page.locator(f"#{name} input").focus()
    page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    assert get_focus(page) not in ("BODY", name)


def read_choices(page: Page) -> list[str]:
    page.wait_for_selector("ul[role=listbox] li")
    return [text.removeprefix("✓").strip() for text in page.locator("ul[role=listbox] li").all_inner_texts()]


def test_models_come_when_they_are_looked_at_and_are_searched_by_typing(opener: Opener) -> None:
    many = [dataclasses.replace(FAKE_MODEL, id=f"own/{number}", title=f"Own {number}") for number in range(300)]
    window = opener.open_window(opener.serve(FAKE_MODEL, *many))
    page = window.open()
    fetched: list[str] = []
    page.on("request", lambda request: "/page/models" in request.url and fetched.append(request.url))
    page.locator("#model input").focus()
    assert fetched == []
    page.keyboard.type("o")
    search = page.locator(".model-picker input[type=search]")
    expect(search).to_have_value("o")
    search.fill("own 299")
    expect(page.locator(".picker-model:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#model input")).to_have_value("Own 299")
    assert len(fetched) == 1
    page.wait_for_timeout(500)
    page.reload()
    window.ready()
    expect(page.locator("#model input")).to_have_value("Own 299")
    page.click("#model input")
    expect(page.locator(".picker-model[aria-current]")).to_have_text("Own 299")
    page.fill(".model-picker input[type=search]", "nothing like it")
    expect(page.get_by_text("No model has this name.")).to_be_visible()
    assert window.complaints == []


def test_groups_of_models_are_folded_and_the_arrow_keys_go_over_what_is_shown(opener: Opener) -> None:
    page = opener.open_window(opener.share(FAKE_MODEL, OTHER)).open()
    page.focus("#model input")
    page.evaluate(TWO_KEYS)
    expect(page.locator(".model-picker")).to_have_count(1)
    expect(page.locator(".model-picker input")).to_be_focused()
    automatic = page.locator(".picker-group", has_text="Chosen automatically")
    expect(automatic.locator(".picker-model").first).to_be_hidden()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".picker-model", has_text="Other")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(automatic.locator(".picker-model").first).to_be_visible()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#model input")).to_have_value("Other")
    expect(page.locator("#guidance input[type=number]")).to_have_value("3")


def test_a_list_that_cannot_be_fetched_keeps_what_is_chosen(opener: Opener) -> None:
    window = opener.open_window(opener.share(FAKE_MODEL, OTHER))
    page = window.open()
    page.route("**/page/lists/**", lambda route: route.abort())
    page.route("**/page/models*", lambda route: route.abort())
    page.locator("#model input").click()
    expect(page.locator(".toast")).to_contain_text("does not respond")
    expect(page.locator("#model input")).to_have_value("Fake")
    page.click("#loras > button")
    page.locator("#lora-0 input").click()
    assert read_choices(page) == ["None"]


def test_a_model_is_chosen_for_an_operation_that_takes_no_prompt(opener: Opener) -> None:
    tasks = FAKE_MODEL.tasks | {Task.IMG2IMG, Task.REMOVE_BACKGROUND}
    models = [dataclasses.replace(model, tasks=tasks) for model in (FAKE_MODEL, OTHER)]
    window = opener.open_window(opener.serve(*models))
    page = window.open()
    window.tab("Img2Img")
    page.click("#i2i-mode label:has-text('Edit')")
    page.fill("#i2i-operation input", "Remove background")
    page.keyboard.press("Enter")
    expect(page.locator("#i2i-prompt")).to_be_hidden()
    window.choose_model("Other", "i2i-model")
    expect(page.locator("#i2i-model input")).to_have_value("Other")
    assert window.complaints == []
