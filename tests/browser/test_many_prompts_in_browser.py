"""Many images at a press: a list of prompts, and generating forever."""

from __future__ import annotations

import pytest
from opening import Opener
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_every_line_of_a_file_becomes_an_image(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "oil painting")
    page.click("#prompt-list button.label-wrap")
    with page.expect_file_chooser() as chooser:
        page.click("#prompt-list-load")
    text = "a pear\n--prompt an apple --seed 9\n"
    chooser.value.set_files({"name": "prompts.txt", "mimeType": "text/plain", "buffer": text.encode()})
    expect(page.locator("#prompt-list-lines textarea")).to_have_value(text)
    page.click("#prompt-list-generate")
    window.wait_for(lambda: len(served.backend.seen) == 2)
    assert sorted(request.prompt for request, _ in served.backend.seen) == [
        "a pear oil painting",
        "an apple oil painting",
    ]
    window.wait_for_status("finished")
    assert window.complaints == []


def test_forever_goes_on_until_it_is_switched_off(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a pear")
    forever = page.locator("#prompt-tools button:has-text('Forever')")
    forever.click()
    expect(forever).to_have_attribute("aria-pressed", "true")
    window.wait_for(lambda: len(served.backend.seen) >= 3)
    forever.click()
    expect(forever).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#generate")).to_be_enabled()
    window.wait_for_status("finished")
    assert window.complaints == []
