"""Prompts on the page: a random prompt, chips of an enhancement, completion of wildcards, their editor, and recipes."""

from __future__ import annotations

import dataclasses

import pytest
from chat_server import run_chat_server, stall, stream_text
from fakes import DEADLINE, FAKE_MODEL
from opening import Opener
from playwright.sync_api import expect

from studio.core.model import Look
from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser
ANIME = dataclasses.replace(FAKE_MODEL, id="anime", title="Anime model", look=Look.ANIME)
PHOTO = dataclasses.replace(FAKE_MODEL, id="photo", title="Photo model", look=Look.PHOTO)


def test_a_random_prompt_can_be_drawn_and_taken_back(opener: Opener) -> None:
    page = opener.open_window(opener.serve()).open()
    prompt = page.locator("#prompt textarea")
    prompt.fill("my own")
    page.get_by_role("button", name="Random prompt").first.click()
    expect(prompt).not_to_have_value("my own")
    expect(page.locator("#negative-prompt textarea")).not_to_have_value("")
    page.get_by_role("button", name="Undo").first.click()
    expect(prompt).to_have_value("my own")


def test_added_phrases_are_chips_that_take_them_away(opener: Opener) -> None:
    page = opener.open_window(opener.serve()).open()
    prompt = page.locator("#prompt textarea")
    prompt.fill("a cat")
    page.get_by_role("button", name="Enhance").first.click()
    chips = page.locator(".prompt-chips button")
    expect(chips).to_have_count(3)
    assert prompt.input_value().startswith("a cat, ")
    for left in (2, 1, 0):
        chips.first.click()
        expect(chips).to_have_count(left)
    expect(prompt).to_have_value("a cat")


def test_advice_switches_to_a_model_that_fits(opener: Opener) -> None:
    page = opener.open_window(opener.serve(ANIME, PHOTO, default_model="anime")).open()
    page.locator("#prompt textarea").fill("a photo of a cat")
    page.get_by_role("button", name="Enhance").first.click()
    expect(page.locator(".prompt-advice").first).to_contain_text("Photo model fits better")
    page.locator(".prompt-advice button").first.click()
    expect(page.locator(".model-note [data-model]").first).to_have_attribute("data-model", "photo")


def test_a_wildcard_is_completed_and_each_image_has_its_own_prompt(opener: Opener) -> None:
    served = opener.serve()
    served.studio.engine.wildcards.save("fruit", "pear\nplum\nfig\n")
    window = opener.open_window(served)
    page = window.open()
    prompt = page.locator("#prompt textarea")
    prompt.press_sequentially("a __fru")
    option = page.locator(".completion li")
    expect(option).to_have_text(["fruit"])
    page.keyboard.press("Enter")
    expect(prompt).to_have_value("a __fruit__")
    expect(page.locator(".counts").first).to_contain_text("3 combinations")
    page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")
    (job,) = served.studio.engine.jobs(LOCAL_USER)
    assert {asset.request.prompt for asset in job.snapshot.assets} <= {"a pear", "a plum", "a fig"}


def test_wildcards_are_written_tried_and_deleted_on_their_tab(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    window.tab("Prompts")
    editor = page.locator(".wildcard-editor")
    editor.get_by_label("Name").fill("my/hats")
    editor.get_by_label("Values, one per line").fill("cap")
    editor.get_by_role("button", name="Save", exact=True).click()
    expect(editor.get_by_role("status")).to_contain_text("Saved 1 values")
    editor.get_by_label("Dynamic prompt to try").fill("a __my/hats__")
    editor.get_by_role("button", name="Draw", exact=True).click()
    expect(editor.locator(".tried li").first).to_have_text("a cap")
    editor.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(editor.get_by_role("button", name="my/hats")).to_have_count(0)
    assert "my/hats" not in served.studio.engine.wildcards.names()


def test_a_form_is_saved_as_a_recipe_and_loaded(opener: Opener) -> None:
    served = opener.serve()
    page = opener.open_window(served).open()
    page.locator("#prompt textarea").fill("a pear")
    page.locator("#recipes button.label-wrap").click()
    page.locator("#recipe-name :is(textarea, input)").fill("My pear")
    page.locator("#recipe-save").click()
    expect(page.get_by_text("Saved as “My pear”.")).to_be_visible()
    assert served.studio.engine.recipes.get("My pear").request.prompt == "a pear"
    page.locator("#prompt textarea").fill("something else")
    page.locator("#recipe-load").click()
    expect(page.locator("#prompt textarea")).to_have_value("a pear")


def test_a_brief_becomes_cards_and_the_ticked_ones_images(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    window.tab("Prompts")
    brief = page.locator(".brief")
    brief.get_by_label("Brief", exact=True).fill("a swastika on a temple in Kyoto")
    brief.get_by_role("button", name="Find prompts").click()
    cards = brief.locator(".brief-card")
    expect(cards).to_have_count(4)
    expect(brief.locator(".prompt-chips")).to_contain_text("JP (kyoto)")
    expect(brief.locator(".cautions")).to_contain_text("two readings")
    for index in (1, 2, 3):
        cards.nth(index).get_by_role("checkbox").uncheck()
    cards.nth(0).get_by_label("Prompt", exact=True).fill("my own words")
    brief.get_by_role("button", name="Generate ticked prompts").click()
    expect(brief.locator(".brief-results img")).to_have_count(1)
    (job,) = served.studio.engine.jobs(LOCAL_USER)
    assert job.request.prompt == "my own words"


def test_a_stalling_language_model_is_stopped(opener: Opener) -> None:
    with run_chat_server(stall("a")) as server:
        window = opener.open_window(opener.serve(chat_url=server.url))
        page = window.open()
        window.tab("Prompts")
        brief = page.locator(".brief")
        brief.get_by_label("Brief", exact=True).fill("a cat")
        brief.get_by_role("button", name="Find prompts").click()
        expect(brief.get_by_role("status")).to_contain_text("Writing")
        brief.get_by_role("button", name="Stop").click()
        expect(brief.get_by_role("status")).to_have_text("Stopped.")
        assert server.ended.wait(DEADLINE)


def test_a_language_model_rewrites_the_prompt(opener: Opener) -> None:
    with run_chat_server(stream_text('{"prompt": "a moonlit cat"}')) as server:
        served = opener.serve(chat_url=server.url)
        page = opener.open_window(served).open()
        prompt = page.locator("#prompt textarea")
        prompt.fill("a cat")
        page.get_by_role("button", name="Rewrite").first.click()
        expect(prompt).to_have_value("a moonlit cat")
