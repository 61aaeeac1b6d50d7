"""Extras in a real Chromium, over the real upscalers and the real finishing."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import httpx
import pytest
from fakes import FAKE_MODEL, FakeBackend
from opening import BrowserWindow, Opener
from PIL import Image
from playwright.sync_api import Page, expect
from serving import RunningStudio

from studio.core.settings import Settings
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import read_hidden
from studio.pipelines.catalog.bundled_upscaler import unpack_upscalers
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.local_backend import LocalPipelines
from studio.pipelines.upscale.enhancers import Enhancers
from tests.foreign_images import A1111, make_png_with_chunks

pytestmark = pytest.mark.browser


def serve_extras(opener: Opener) -> RunningStudio:
    """Upscalers and finishing, and a fake that draws."""
    models = opener.folder / "models"
    unpack_upscalers(models)
    settings = Settings(models_dir=models, device="cpu")
    catalog = Catalog(models, (), models / ".cache")
    local = LocalPipelines(lambda: settings, catalog, None, None)  # type: ignore[arg-type]
    enhancers = Enhancers(catalog, models, local.resources)
    finishing = FinishingBackend(Fonts(opener.folder / "fonts"))
    return opener.serve_with(FakeBackend(FAKE_MODEL), enhancers, finishing, device="cpu")


def opened(opener: Opener, **options: object) -> tuple[RunningStudio, BrowserWindow, Page]:
    """The tab, in a studio that all tests of this file share."""
    served = opener.share_as("extras", serve_extras)
    window = opener.open_window(served, **options)
    window.open()
    window.tab("Extras")
    return served, window, window.page


def photo(folder: Path, name: str = "cup.png", side: int = 64) -> Path:
    """A part of the photograph of a cup that comes with scikit-image."""
    import skimage.data

    path = folder / name
    Image.fromarray(skimage.data.coffee()[100 : 100 + side, 200 : 200 + side]).save(path)
    return path


def choose(page: Page, *paths: Path) -> None:
    page.set_input_files("#ext-images input[type=file]", paths)
    expect(page.locator("#ext-images .pad-shown img")).to_have_count(len(paths))


def generate(window: BrowserWindow) -> None:
    window.page.click("#ext-generate")
    window.page.wait_for_selector('#ext-result .result[data-status="finished"]', timeout=120_000)


def only(page: Page, *steps: str) -> None:
    """Tick these steps and no others."""
    for label in page.locator("#ext-steps label").all():
        box, title = label.locator("input"), (label.text_content() or "").strip()
        box.set_checked(title in steps)
    for step in ("upscale", "faces", "background", "finish"):
        shown = any(step in wanted.lower() for wanted in steps)
        expect(page.locator(f"#ext-step-{step}")).to_be_visible(visible=shown)


def test_real_esrgan_enlarges_and_before_lies_over_after(opener: Opener, tmp_path: Path) -> None:
    _, window, page = opened(opener)
    choose(page, photo(tmp_path))
    expect(page.locator("#ext-step-upscale")).to_contain_text("realesr")
    generate(window)
    expect(page.locator("#ext-facts")).to_contain_text("64 × 64")
    expect(page.locator("#ext-facts")).to_contain_text("256 × 256")
    page.click("#ext-result button:has-text('Before')")
    page.click("#ext-result [aria-label='Zoom in']")
    expect(page.locator("#ext-result .compare")).to_have_attribute("data-zoom", "2")
    page.focus("#ext-result .compare input")
    page.keyboard.press("Home")
    at = page.locator("#ext-result .compare").evaluate("node => node.style.getPropertyValue('--at')")
    assert at == "0%"
    assert window.complaints == []


def test_a_chain_is_saved_and_used_after_txt2img(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, photo(tmp_path), photo(tmp_path, "again.png", 48))
    only(page, "Finish")
    page.click("#ext-derivatives button")
    for row, width in enumerate(("32", "16")):
        page.fill(f"#ext-d{row}-width input", width)
        page.keyboard.press("Tab")
        expect(page.locator(f"#ext-d{row + 1}-width")).to_be_visible()
    page.click("#ext-chains button")
    page.click("#ext-chain-save")
    expect(page.get_by_text("The chain needs a name")).to_be_visible()
    page.fill("#ext-chain-name input, #ext-chain-name textarea", "Web")
    page.click("#ext-chain-save")
    expect(page.locator("#ext-chain input")).to_have_value("Web")
    generate(window)
    zipped = httpx.get(served.url + "/" + (page.get_attribute("#ext-result a:has-text('zip')", "href") or ""))
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        sizes = sorted(Image.open(io.BytesIO(archive.read(name))).size for name in archive.namelist())
    assert sizes == [(16, 16), (16, 16), (32, 32), (32, 32)]
    window.tab("Txt2Img")
    page.click("button:has-text('Post-processing')")
    page.click("#afterwards input")
    page.click("[role=option]:has-text('Web')")
    page.fill("#prompt textarea", "a boat")
    page.click("#generate")
    page.wait_for_selector('#result .result[data-status="finished"]')
    expect(page.locator("#result .film button")).to_have_count(2)
    page.fill("#afterwards input", "None")
    page.keyboard.press("Enter")
    page.click("text=Use all settings >> visible=true")
    expect(page.locator("#afterwards input")).to_have_value("Web")


def test_hidden_text_goes_in_and_is_read_back(opener: Opener, tmp_path: Path) -> None:
    _, window, page = opened(opener)
    choose(page, photo(tmp_path, side=256))
    only(page, "Finish")
    page.click("#ext-marking button")
    page.fill("#ext-hidden input, #ext-hidden textarea", "mine")
    generate(window)
    with page.expect_download() as got:
        page.click("#ext-result a:has-text('Download')")
    path = tmp_path / "marked.png"
    got.value.save_as(path)
    with Image.open(path) as image:
        assert read_hidden(image.convert("RGB")) == "mine"


def test_settings_of_another_program_go_to_txt2img(opener: Opener, tmp_path: Path) -> None:
    _, _, page = opened(opener)
    page.click("button[role=tab]:has-text('Image info')")
    path = tmp_path / "fox.png"
    path.write_bytes(make_png_with_chunks(parameters=A1111))
    page.set_input_files("#ext-info-file input[type=file]", path)
    expect(page.locator("#ext-info")).to_contain_text("AUTOMATIC1111")
    expect(page.locator("#ext-info")).to_contain_text("DPM++ 2M")
    page.click("#ext-info-txt2img")
    expect(page.locator("#prompt textarea")).to_have_value("a fox, <lora:fur:0.8>")
    expect(page.locator("#negative-prompt textarea")).to_have_value("blurry")


def test_a_phone_shows_all_without_scrolling_sideways(opener: Opener, tmp_path: Path) -> None:
    _, window, page = opened(opener, viewport={"width": 390, "height": 844}, has_touch=True)
    choose(page, photo(tmp_path))
    only(page, "Upscale", "Finish")
    page.click("#ext-derivatives button")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    page.click("label:has-text('Own settings')")
    expect(page.locator("#ext-upscaler")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert window.complaints == []
