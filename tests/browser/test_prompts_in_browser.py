"""Prompts on the page: a random prompt, chips of an enhancement, completion of wildcards, their editor, and recipes."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from chat_server import run_chat_server, stall, stream_text
from fakes import DEADLINE, FAKE_MODEL
from opening import Opener
from PIL import Image
from playwright.sync_api import expect

from studio.core.model import Look
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER
from studio.engine.chat_account import ChatAccount
from studio.engine.money.keys import KeyStore
from studio.providers.common.chat_connection import ChatConnection
from studio.providers.common.chat_errors import KEY_NAME

pytestmark = pytest.mark.browser
ANIME = dataclasses.replace(FAKE_MODEL, id="anime", title="Anime model", look=Look.ANIME)
PHOTO = dataclasses.replace(FAKE_MODEL, id="photo", title="Photo model", look=Look.PHOTO)


def encode_png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_a_random_prompt_can_be_drawn_and_taken_back(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
    prompt = page.locator("#prompt textarea")
    prompt.fill("my own")
    page.get_by_role("button", name="Random prompt").first.click()
    expect(prompt).not_to_have_value("my own")
    expect(page.locator("#negative-prompt textarea")).not_to_have_value("")
    page.get_by_role("button", name="Undo").first.click()
    expect(prompt).to_have_value("my own")
    page.locator("#prompt-tools").get_by_label("Subject of random prompts").select_option("people")
    page.get_by_role("button", name="Random prompt").first.click()
    expect(prompt).to_have_value(re.compile("person"))


def test_added_phrases_are_chips_that_take_them_away(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
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
    page = opener.open_window(opener.share(ANIME, PHOTO, default_model="anime")).open()
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
    expect(brief.locator(".prompt-chips")).to_contain_text("Japan (“kyoto”)")
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


def test_a_language_model_that_is_too_slow_leaves_the_prompts_of_the_rules(opener: Opener) -> None:
    with run_chat_server(stall("a")) as server:
        window = opener.open_window(opener.serve(chat_url=server.url, chat_seconds=1))
        page = window.open()
        window.tab("Prompts")
        brief = page.locator(".brief")
        brief.get_by_label("Brief", exact=True).fill("a cat")
        brief.get_by_role("button", name="Find prompts").click()
        expect(brief.locator(".brief-card")).to_have_count(4)
        expect(brief.get_by_role("status")).to_contain_text("Written by rules. The chat server did not answer in time.")


def test_a_language_model_rewrites_the_prompt(opener: Opener) -> None:
    with run_chat_server(stream_text('{"prompt": "a moonlit cat"}')) as server:
        served = opener.serve(chat_url=server.url)
        page = opener.open_window(served).open()
        prompt = page.locator("#prompt textarea")
        prompt.fill("a cat")
        page.get_by_role("button", name="Rewrite").first.click()
        expect(prompt).to_have_value("a moonlit cat")


def test_what_was_understood_is_corrected_and_asked_again(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    window.open()
    window.tab("Prompts")
    brief = window.page.locator(".brief")
    brief.get_by_label("Brief", exact=True).fill("a church in Georgia in 1920")
    brief.get_by_label("Category").fill("Poster")
    brief.get_by_role("button", name="+ Filter").click()
    brief.get_by_label("Filter name").fill("Mood")
    brief.get_by_label("Filter value").fill("calm")
    brief.get_by_role("button", name="Find prompts").click()
    cards = brief.locator(".brief-card")
    expect(cards).to_have_count(4)
    first = cards.first.get_by_label("Prompt", exact=True)
    expect(first).to_have_value(re.compile("^a church in Georgia .*Poster. calm"))
    expect(brief.locator(".cautions")).to_contain_text("Is Georgia the country or the US state?")
    brief.get_by_role("button", name="+ Territory").click()
    brief.get_by_label("Territory").fill("United States")
    brief.get_by_label("Territory").press("Enter")
    brief.get_by_role("button", name="Time: 1920", exact=True).click()
    brief.get_by_label("Time").fill("1950s")
    brief.get_by_label("Time").press("Enter")
    expect(brief.get_by_role("status")).to_contain_text("Corrected")
    brief.get_by_role("button", name="Find prompts").click()
    expect(first).to_have_value(re.compile("United States, 1950s"))
    expect(brief.locator(".cautions")).not_to_contain_text("Georgia")
    cards.first.get_by_role("button", name="Use in Txt2Img").click()
    expect(window.page.locator("#prompt textarea")).to_have_value(re.compile("United States, 1950s"))
    assert not window.complaints


def test_a_persona_is_written_chosen_applied_and_deleted(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    window.tab("Prompts")
    editor = page.locator(".personas")
    editor.get_by_label("Persona name").fill("City poster")
    editor.get_by_label("Look").fill("flat shapes")
    editor.get_by_label("Palette").fill("two inks")
    editor.get_by_label("Avoid").fill("gradients")
    editor.get_by_role("button", name="Save persona").click()
    expect(editor.get_by_role("status")).to_have_text("Saved.")
    brief = page.locator(".brief")
    brief.get_by_label("Brief", exact=True).fill("a bakery")
    brief.get_by_label("Persona").select_option("City poster")
    brief.get_by_role("button", name="Find prompts").click()
    card = brief.locator(".brief-card").first
    expect(card.get_by_label("Prompt", exact=True)).to_have_value(re.compile("flat shapes, two inks$"))
    expect(card.get_by_label("Negative prompt")).to_have_value(re.compile("gradients$"))
    window.tab("Txt2Img")
    prompt = page.locator("#prompt textarea")
    prompt.fill("a cat")
    persona = page.locator("#prompt-tools").get_by_label("Persona")
    persona.focus()
    expect(persona.locator("option")).to_have_count(2)
    persona.select_option("City poster")
    expect(prompt).to_have_value("a cat, flat shapes, two inks")
    expect(page.locator("#negative-prompt textarea")).to_have_value("gradients")
    page.locator("#prompt-tools .prompt-chips button").first.click()
    expect(prompt).to_have_value("a cat, two inks")
    window.tab("Prompts")
    editor.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(editor.locator("option")).to_have_text(["New persona"])
    expect(brief.get_by_label("Persona").locator("option")).to_have_text(["No persona"])
    assert served.studio.engine.personas.all() == []


def test_an_image_is_described_on_its_tab_and_on_img2img(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    file = {"name": "x.png", "mimeType": "image/png", "buffer": encode_png(Image.new("RGB", (200, 100), "blue"))}
    window.tab("Prompts")
    view = page.locator(".describe")
    view.locator("input[type=file]").first.set_input_files([file])
    view.get_by_role("button", name="Describe", exact=True).click()
    expect(view.get_by_label("Description")).to_have_value(re.compile("^wide image"))
    expect(view.get_by_role("status").last).to_contain_text("Measured")
    expect(view.get_by_role("button", name="Ask the language model")).to_be_hidden()
    window.tab("Img2Img")
    page.locator("#i2i-source input[type=file]").first.set_input_files([file])
    page.locator("#i2i-prompt-tools").get_by_role("button", name="Describe image").click()
    expect(page.locator("#i2i-prompt textarea")).to_have_value(re.compile("^wide image"))


def test_an_image_is_shown_to_the_language_model_when_asked(opener: Opener) -> None:
    with run_chat_server(stream_text("A blue wall at noon.")) as server:
        window = opener.open_window(opener.serve(chat_url=server.url))
        page = window.open()
        file = {"name": "x.png", "mimeType": "image/png", "buffer": encode_png(Image.new("RGB", (64, 64), "blue"))}
        window.tab("Prompts")
        view = page.locator(".describe")
        view.locator("input[type=file]").first.set_input_files([file])
        view.get_by_role("button", name="Ask the language model").click()
        expect(view.get_by_label("Description")).to_have_value("A blue wall at noon.")
        expect(view.get_by_role("status").last).to_have_text("Written by chat.")
        assert len(server.seen) == 1


def test_recipes_are_run_merged_imported_and_deleted_on_their_tab(opener: Opener) -> None:
    served = opener.serve()
    served.studio.engine.recipes.save("My pear", GenerationRequest(prompt="a pear", model="fake", seed=1))
    window = opener.open_window(served)
    page = window.open()
    window.tab("Prompts")
    recipes = page.locator(".recipes")
    recipes.get_by_label("Recipe", exact=True).select_option("my_pear")
    recipes.get_by_label("Changes").fill("seed: 7\nprompt: a plum")
    recipes.get_by_role("button", name="Run").click()
    expect(recipes.locator(".brief-results img")).to_have_count(1)
    (job,) = served.studio.engine.jobs(LOCAL_USER)
    assert (job.request.prompt, job.request.seed) == ("a plum", 7)
    recipes.get_by_role("button", name="Save as…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("My plum")
    dialog.get_by_role("button", name="Save").click()
    expect(recipes.get_by_role("status")).to_have_text("Saved as “My plum”.")
    kept = served.studio.engine.recipes
    assert (kept.get("My pear").request.prompt, kept.get("My plum").request.prompt) == ("a pear", "a plum")
    graph = {"1": {"class_type": "GeminiNode", "inputs": {"prompt": "a fox", "seed": 3, "aspect_ratio": "16:9"}}}
    data = {"name": "graph.json", "mimeType": "application/json", "buffer": json.dumps(graph).encode()}
    recipes.locator("input[type=file]").set_input_files([data])
    expect(recipes.get_by_role("status")).to_contain_text("Imported as “graph”.")
    assert kept.get("graph").request.prompt == "a fox"
    recipes.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(recipes.locator("option").filter(has_text="graph")).to_have_count(0)


def test_advice_comes_without_asking_and_goes_with_the_switch(opener: Opener) -> None:
    page = opener.open_window(opener.share(ANIME, PHOTO, default_model="anime")).open()
    prompt = page.locator("#prompt textarea")
    prompt.press_sequentially("a photo of a cat")
    prompt.blur()
    advice = page.locator("#prompt-tools .prompt-advice")
    expect(advice).to_contain_text("Photo model fits better")
    advice.get_by_role("button", name="Switch").click()
    expect(page.locator(".model-note [data-model]").first).to_have_attribute("data-model", "photo")
    expect(advice).to_have_text("")


def test_a_chat_server_is_entered_and_tested_in_configurations(opener: Opener) -> None:
    with run_chat_server(stream_text('{"prompt": "a moonlit cat"}'), models=["small"]) as server:
        served = opener.serve()
        keys = KeyStore(served.studio.settings.folder / "keys.json", {})
        chat = ChatConnection(lambda: served.studio.settings.current, lambda: keys.find(KEY_NAME))
        object.__setattr__(served.studio, "chat", ChatAccount(chat, keys, KEY_NAME))
        window = opener.open_window(served)
        page = window.open()
        window.configure("Cloud")
        page.locator("#chat-url :is(input, textarea)").fill(server.url)
        page.locator("#chat-model :is(input, textarea)").fill("huge")
        page.locator("#chat-test").click()
        expect(page.get_by_text("The server has no model “huge”.")).to_be_visible()
        page.locator("#chat-model :is(input, textarea)").fill("small")
        page.locator("#chat-key input").fill("sk-a-long-secret-key")
        page.locator("#chat-test").click()
        expect(page.locator("#chat-answer")).to_contain_text("It has small.")
        expect(page.locator("#chat-state")).to_contain_text("ends in …-key")
        expect(page.locator("#chat-key input")).to_have_value("")
        assert served.studio.settings.current.chat_model == "small"
        page = window.open()
        page.locator("#prompt textarea").fill("a cat")
        page.get_by_role("button", name="Rewrite").first.click()
        expect(page.locator("#prompt textarea")).to_have_value("a moonlit cat")
