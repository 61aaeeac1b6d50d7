"""The page in another language than English."""

from __future__ import annotations

import re

import pytest
from opening import Opener
from playwright.sync_api import expect
from serving import RunningStudio

pytestmark = pytest.mark.browser


def generate(opener: Opener, served: RunningStudio, locale: str) -> str:
    """The recipe of an image that is made in a browser of this language, with a choice whose label is translated."""
    window = opener.open_window(served, locale=locale)
    page = window.open()
    page.fill("#prompt textarea", "a red apple")
    page.fill("#seed :is(input, textarea)", "7")
    page.click("#advanced button.label-wrap")
    page.locator("#prompt-order label").nth(1).click()
    page.click("#generate")
    window.wait_for_status("finished")
    assert window.complaints == []
    recipe = page.locator(".frame").first.get_attribute("data-recipe")
    assert recipe
    return recipe


def test_a_german_browser_gets_a_german_page(opener: Opener) -> None:
    window = opener.open_window(opener.serve(), locale="de-DE")
    page = window.open()
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^de"))
    expect(page.locator("#generate")).to_have_text("Generieren")
    expect(page.locator("#steps")).to_contain_text("Schritte")
    expect(page.locator("#help-open")).to_have_text("Hilfe")
    page.click("#help-open")
    expect(page.locator("dialog.help")).to_contain_text("Tastenkürzel")
    page.click(".help-close")
    page.fill("#prompt textarea", "a red apple")
    page.click("#generate")
    window.wait_for_status("finished")
    expect(page.locator("#generate")).to_have_text("Generieren")
    page.click("button[role=tab]:has-text('Bibliothek')")
    expect(page.locator(".lib-views")).to_contain_text("Papierkorb")
    expect(page.locator(".lib-summary")).to_have_text("1 Bild")
    assert window.complaints == []


def test_a_recipe_is_the_same_in_all_languages(opener: Opener) -> None:
    served = opener.serve()
    german, english = (generate(opener, served, locale) for locale in ("de-DE", "en-US"))
    assert german == english
    assert "combinations" in german


def test_the_setting_holds_for_a_browser_of_another_language(opener: Opener) -> None:
    page = opener.open_window(opener.serve(interface_language="fr"), locale="en-US").open()
    expect(page.locator("#generate")).to_have_text("Générer")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
