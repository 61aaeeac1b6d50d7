"""Help, hints, and what tells that a long job has ended."""

from __future__ import annotations

import pytest
from opening import Opener
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

# Notes what the page would show and play; the browser of the tests has neither a desktop nor a loudspeaker.
LET_TEN_SECONDS_PASS = """async () => {
  await new Promise((done) => setTimeout(done, 1000)); // until the page has noted that the job began
  const now = Date.now;
  Date.now = () => now() + 11000;
}"""
RECORD_ALERTS = """() => {
  window.alerts = [];
  window.Notification = class extends EventTarget {
    static permission = 'default';
    static async requestPermission() { return (this.permission = 'granted'); }
    constructor(title, options) { super(); window.alerts.push(title + ': ' + options.body); }
    close() {}
  };
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (at) { window.alerts.push('tone'); return start.call(this, at); };
  document.hasFocus = () => false;
}"""


def test_a_key_and_a_button_open_the_help_and_give_the_focus_back(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    page.focus("#generate")
    page.keyboard.press("?")
    dialog = page.locator("dialog.help")
    expect(dialog).to_contain_text("Ctrl+Enter")
    expect(dialog).to_contain_text("Move to trash")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("#generate")).to_be_focused()
    page.click("#help-open")
    expect(dialog).to_be_visible()
    page.click(".help-close")
    expect(page.locator("#help-open")).to_be_focused()
    assert window.complaints == []


def test_single_keys_can_be_switched_off(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    page.click("#help-open")
    page.uncheck("dialog.help label:has-text('single keys') input")
    page.keyboard.press("Escape")
    page.focus("#generate")
    page.keyboard.press("?")
    page.wait_for_timeout(300)
    expect(page.locator("dialog.help")).to_have_count(0)


def test_the_hint_of_a_tab_stays_closed(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    hint = page.locator(".tab-hint:visible")
    expect(hint).to_contain_text("Describe an image")
    page.click("[data-hint-close=txt2img]")
    expect(hint).to_have_count(0)
    window.tab("Img2Img")
    expect(hint).to_contain_text("Drop an image")
    window.reload()
    window.tab("Txt2Img")
    expect(page.locator("#generate")).to_be_visible()
    expect(hint).to_have_count(0)
    assert window.complaints == []


def test_a_long_job_is_announced_to_those_who_asked_for_it(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    page.evaluate(RECORD_ALERTS)
    page.click("#help-open")
    page.check("dialog.help label:has-text('notification') input")
    page.check("dialog.help label:has-text('sound') input")
    page.keyboard.press("Escape")
    page.evaluate("window.alerts.length = 0")  # the sound was played to show what it is like
    page.fill("#prompt textarea", "a pear")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result .elapsed")).to_be_visible()
    page.evaluate(LET_TEN_SECONDS_PASS)
    served.backend.release(100)
    window.wait_for_status("finished")
    page.wait_for_function("window.alerts.length === 3")
    assert page.evaluate("window.alerts") == ["Image finished: Generated image: a pear", "tone", "tone"]


def test_nothing_is_announced_to_others(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    page.evaluate(RECORD_ALERTS)
    page.fill("#prompt textarea", "a pear")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result .elapsed")).to_be_visible()
    page.evaluate(LET_TEN_SECONDS_PASS)
    served.backend.release(100)
    window.wait_for_status("finished")
    page.wait_for_timeout(300)
    assert page.evaluate("window.alerts") == []
