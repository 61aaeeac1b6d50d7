"""Platform formats and templates on Txt2Img and Img2Img, driven by a real browser over the real export."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
from opening import BrowserWindow, Opener
from PIL import Image
from playwright.sync_api import Page, expect
from serving import RunningStudio

from studio.core.task import Task
from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser
OVER = "#result .zone-overlay"


@pytest.fixture
def opened(opener: Opener) -> tuple[RunningStudio, BrowserWindow, Page]:
    served = opener.share_social()
    window = opener.open_window(served)
    return served, window, window.open()


def choose_format(page: Page, words: str, prefix: str = "") -> None:
    page.click(f"#{prefix}make-for > button")
    page.fill(f"#{prefix}for-format input", words)
    page.keyboard.press("Enter")


def generate(window: BrowserWindow, prompt: str) -> None:
    window.page.fill("#prompt textarea", prompt)
    window.page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")


def test_a_image_is_made_for_a_format_with_its_zones_over_it(
    opened: tuple[RunningStudio, BrowserWindow, Page],
) -> None:
    served, window, page = opened
    choose_format(page, "Instagram · Story")
    expect(page.locator("#width input")).to_have_value("48")
    expect(page.locator("#height input")).to_have_value("88")
    expect(page.locator("#for-note")).to_contain_text("Cut to 1080 × 1920")
    generate(window, "a red apple")
    assert [request.task for request, _ in served.backend.seen] == [Task.TXT2IMG, Task.UPSCALE]
    asset = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert Image.open(asset.path).size == (1080, 1920)
    over, shown = page.locator(OVER), page.locator("#result img.shown")
    expect(over).to_be_visible()
    page.wait_for_function(f"document.querySelector('{OVER}').naturalWidth > 0")
    box, image = over.bounding_box(), shown.bounding_box()
    assert box is not None
    assert image is not None
    assert abs(box["width"] / box["height"] - 1080 / 1920) < 0.02
    assert box["width"] <= image["width"] + 1
    page.uncheck("#for-zones input")
    expect(over).to_have_count(0)
    page.check("#for-zones input")
    expect(over).to_be_visible()
    page.fill("#prompt textarea", "")
    page.click("button:has-text('Use all settings')")
    expect(page.locator("#prompt textarea")).to_have_value("a red apple")
    assert window.complaints == []


def test_a_reload_keeps_the_format(opened: tuple[RunningStudio, BrowserWindow, Page]) -> None:
    _, window, page = opened
    choose_format(page, "X (Twitter) · Header")
    width = page.locator("#width input")
    expect(width).not_to_have_value("64")
    expect(page.locator("#for-note")).to_contain_text("Cut to")  # the browser has written the form down by then
    kept = width.input_value()
    page.reload()
    window.ready()
    expect(width).to_have_value(kept)
    page.click("#make-for > button")
    expect(page.locator("#for-format input")).to_have_value(re.compile("Header"))
    expect(page.locator("#for-note")).to_contain_text("Cut to")


def test_a_pack_is_one_job_with_a_zip(opened: tuple[RunningStudio, BrowserWindow, Page]) -> None:
    served, window, page = opened
    page.click("#make-for > button")
    page.fill("#for-pack input", "TikTok")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    formats = served.studio.social.platforms.formats("tiktok")
    expect(page.locator("#for-note")).to_contain_text(f"{len(formats)} formats")
    generate(window, "a boat")
    expect(page.locator("#result .frame")).to_have_count(len(formats) + 1)
    with page.expect_download() as download:
        page.click("#result [data-act='zip']")
    archive = zipfile.ZipFile(Path(download.value.path()))
    sizes = [Image.open(io.BytesIO(archive.read(name))).size for name in archive.namelist()]
    assert sorted(sizes[:-1]) == sorted((each.width, each.height) for each in formats)
    page.locator("#result .frame").nth(1).click()
    expect(page.locator(OVER)).to_have_attribute("src", f"api/image-studio/social/formats/{formats[1].id}/zones.svg")
    page.locator("#result .frame").last.click()
    expect(page.locator(OVER)).to_have_count(0)
    assert window.complaints == []


def test_a_changed_image_is_made_for_a_format(
    opened: tuple[RunningStudio, BrowserWindow, Page], tmp_path: Path
) -> None:
    served, window, page = opened
    window.tab("Img2Img")
    Image.new("RGB", (128, 128), "teal").save(tmp_path / "a.png")
    page.set_input_files("#i2i-source input[type=file]", tmp_path / "a.png")
    expect(page.locator("#i2i-source .pad-full")).to_have_count(1)
    choose_format(page, "Pinterest · Standard", "i2i-")
    expect(page.locator("#i2i-own-size input")).to_be_checked()
    page.click("#i2i-generate")
    page.wait_for_selector('#i2i-result .result[data-status="finished"]')
    asset = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert Image.open(asset.path).size == (1000, 1500)
    expect(page.locator("#i2i-result .zone-overlay")).to_be_visible()
    page.click('#i2i-result [data-act="compare"]')
    expect(page.locator("#i2i-result .compare")).to_be_visible()
    assert window.complaints == []


def test_a_template_is_found_filled_in_and_used(opened: tuple[RunningStudio, BrowserWindow, Page]) -> None:
    served, window, page = opened
    page.click("#templates > button")
    expect(page.locator("#template-cards .card").nth(39)).to_be_attached()
    page.fill("#template-words input, #template-words textarea", "produkt hero")
    page.wait_for_function("document.querySelectorAll('#template-cards .card').length < 20")
    page.click("#template-cards [data-template='instagram_feed_portrait_4x5_product']")
    expect(page.locator("#template-about")).to_contain_text("Product hero")
    page.click("#template-use")
    expect(page.get_by_text("Fill in the field")).to_be_visible()
    page.get_by_role("textbox", name="Subject").fill("a tea pot")
    page.click("#template-use")
    expect(page.locator("#prompt textarea")).to_have_value(
        "a tea pot, single product, soft shadow, calm backdrop, empty lower third, empty space in the lower part,"
        " studio photograph, soft shadow, clean backdrop, sharp focus, warm tones"
    )
    expect(page.locator("#negative-prompt textarea")).to_have_value("clutter, text, watermark, extra objects")
    expect(page.locator("#steps input[type=number]")).to_have_value("30")
    page.click("#generate")
    window.wait_for_status("finished")
    asset = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert (asset.width, asset.height) == (1080, 1350)
    assert window.complaints == []


def test_own_templates_are_saved_taken_in_and_deleted(
    opened: tuple[RunningStudio, BrowserWindow, Page], tmp_path: Path
) -> None:
    _, window, page = opened
    page.fill("#prompt textarea", "{subject} in fog")
    page.click("#templates > button")
    page.click("#template-save")
    expect(page.get_by_text("needs a name")).to_be_visible()
    page.fill("#template-name input, #template-name textarea", "Fog")
    page.click("#template-save")
    card = page.locator("#template-cards [data-template='own_fog']")
    expect(card).to_contain_text("yours")
    card.click()
    with page.expect_download() as download:
        page.click("#template-about a")
    kept = tmp_path / "fog.toml"
    kept.write_bytes(Path(download.value.path()).read_bytes())
    page.click("#template-delete")
    expect(card).to_have_count(0)
    expect(page.locator("#template-use")).to_have_count(0)
    page.set_input_files("#template-file input[type=file]", kept)
    expect(card).to_contain_text("Fog")
    assert window.complaints == []


@pytest.mark.parametrize("width", [390, 1440])
def test_the_folds_do_not_scroll_sideways(opener: Opener, width: int) -> None:
    window = opener.open_window(opener.share_social(), viewport={"width": width, "height": 844})
    page = window.open()
    page.click("#templates > button")
    page.click("#make-for > button")
    expect(page.locator("#template-cards .card").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
