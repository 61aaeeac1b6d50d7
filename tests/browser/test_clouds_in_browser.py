"""Keys, prices, images and votes in a real Chromium, with OpenAI's client against a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend
from opening import BrowserWindow, Opener
from playwright.sync_api import Page, expect
from providers import SENTINEL
from serving import RunningStudio
from vendor_server import Reply, VendorServer, run_vendor_server
from vendors.openai import OpenAI

from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.money.cloud_accounts import CloudAccounts
from studio.engine.money.keys import KeyStore
from studio.providers.common.service_backend import Service
from studio.providers.openai import PROVIDER

pytestmark = pytest.mark.browser
PAID = "GPT Image 2"


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    with run_vendor_server(OpenAI()) as server:
        yield server


def opened(opener: Opener, folder: Path, vendor: VendorServer) -> tuple[RunningStudio, BrowserWindow, Page]:
    """A studio with a fake that draws, and the service, which has no key yet."""
    keys = KeyStore(folder / "keys.json", {})
    openai = Service(PROVIDER, keys, lambda: vendor.url + "/v1")
    settings = Settings()
    served = opener.serve_with(FakeBackend(FAKE_MODEL), openai, clouds=CloudAccounts([openai], keys, lambda: settings))
    window = opener.open_window(served)
    return served, window, window.open()


def set_key(window: BrowserWindow, key: str = SENTINEL) -> None:
    window.configure("Cloud")
    page = window.page
    page.click("#cloud input")
    page.click("[role=option]:has-text('OpenAI')")
    page.fill("#cloud-key input", key)
    page.click("#save-key")
    expect(page.locator("#cloud-answer")).to_contain_text("saved")


def choose(page: Page, title: str, field: str) -> None:
    page.fill(f"{field} input", title)
    page.click(f"[role=option]:text-is('{title}'), [role=option]:has-text('{title} (')")


def test_a_locked_model_is_unlocked_priced_used_and_locked_again(
    opener: Opener, tmp_path: Path, vendor: VendorServer
) -> None:
    _, window, page = opened(opener, tmp_path, vendor)
    window.choose_model(PAID)
    expect(page.locator(".model-note").first).to_contain_text("OPENAI_API_KEY")
    page.fill("#prompt textarea", "a red fox")
    expect(page.locator("#generate")).to_be_hidden()
    page.click("#enter-key:text-is('Enter key for OpenAI …')")
    expect(page.locator("#cloud input")).to_have_value("OpenAI")
    expect(page.locator("#cloud-key input")).to_be_focused()
    assert vendor.seen == []
    page.keyboard.type(SENTINEL)
    page.click("#save-key")
    expect(page.locator("#clouds")).to_contain_text(f"ends in …{SENTINEL[-4:]}")
    assert SENTINEL not in page.content()
    page.click("#test-key")
    expect(page.locator("#cloud-answer")).to_contain_text("2027-06-01")
    assert {seen.path for seen in vendor.seen} == {"/v1/models"}, "the test costs nothing"
    window.tab("Txt2Img")
    expect(page.locator(".model-note").first).not_to_contain_text("OPENAI_API_KEY")
    expect(page.locator(".cost").first).to_contain_text("About $")
    expect(page.locator("#enter-key")).to_have_count(0)
    expect(page.locator("#prompt textarea")).to_have_value("a red fox")
    page.click("#generate")
    window.wait_for_status("finished")
    assert len(vendor.find_requests("generations")) == 1
    page.reload()
    window.ready()
    window.configure("Cloud")
    expect(page.locator("#spent")).to_contain_text("openai")
    page.click("#cloud input")
    page.click("[role=option]:has-text('OpenAI')")
    page.click("#remove-key")
    expect(page.locator("#clouds")).to_contain_text("Locked")
    assert SENTINEL not in "".join(path.read_text("utf-8", "ignore") for path in tmp_path.rglob("*") if path.is_file())


def test_two_models_are_compared_blind_and_voted_on(opener: Opener, tmp_path: Path, vendor: VendorServer) -> None:
    served, window, page = opened(opener, tmp_path, vendor)
    set_key(window)
    window.tab("Compare")
    page.fill("#compare-prompt textarea", "a red fox")
    page.click("#compare")
    expect(page.get_by_text("Too few models")).to_be_visible()
    for title in (FAKE_MODEL.title, PAID):
        choose(page, title, "#compare-models")
    expect(page.locator("#compare-cost")).to_contain_text("About $")
    page.keyboard.press("Escape")
    page.check("#compare-blind input")
    page.click("#compare")
    page.click("#vote-left")
    expect(page.locator("#tallies")).to_contain_text(PAID.lower().replace(" ", "-"))
    expect(page.locator("#compare-result img")).to_have_count(2)
    [tally] = served.studio.engine.votes.tallies()
    assert {tally.first, tally.second} == {FAKE_MODEL.id, "openai/gpt-image-2"}
    assert tally.for_first + tally.for_second == 1


def test_a_model_that_cannot_be_reached_is_followed_by_the_one_named(
    opener: Opener, tmp_path: Path, vendor: VendorServer
) -> None:
    served, window, page = opened(opener, tmp_path, vendor)
    window.choose_model(PAID)
    expect(page.locator(".model-note").first).to_contain_text("OPENAI_API_KEY")
    set_key(window)
    window.tab("Txt2Img")
    expect(page.locator(".model-note").first).not_to_contain_text("OPENAI_API_KEY")
    page.click("button:has-text('Advanced') >> nth=0")
    choose(page, FAKE_MODEL.title, "#fallbacks")
    page.keyboard.press("Escape")
    vendor.fail(Reply(status=429, body={}, headers={"Retry-After": "0"}), path="generations", times=8)
    page.fill("#prompt textarea", "a red fox")
    page.click("#generate")
    window.wait_for_status("finished")
    [asset] = served.studio.engine.jobs(LOCAL_USER, 1)[0].snapshot.assets
    assert asset.request.model == FAKE_MODEL.id
    expect(page.locator("#result")).to_contain_text("instead")
