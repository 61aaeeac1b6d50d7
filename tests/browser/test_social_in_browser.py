"""The Social Optimizer in a real Chromium: crops dragged, zones switched, formats exported, and the zip opened."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
from opening import BrowserWindow, Opener
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Locator, Page, expect
from serving import RunningStudio
from social_images import make_ball, make_couple

from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser

STORY, POST, HEADER = "instagram.story", "instagram.feed_square", "twitter.header"
TITLE = "Social Optimizer"


def opened(opener: Opener, **options: object) -> tuple[RunningStudio, BrowserWindow, Page]:
    served = opener.share_as("formats", Opener.serve_formats)
    window = opener.open_window(served, **options)
    page = window.open()
    window.tab(TITLE)
    page.wait_for_selector("#social-formats .formats-group")
    return served, window, page


def give(page: Page, folder: Path, *images: Image.Image) -> None:
    files = [folder / f"{number}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        image.save(file)
    page.set_input_files("#social-images input[type=file]", files)


def choose(page: Page, *formats: str) -> None:
    for name in formats:
        page.fill(".formats-search", name.partition(".")[2].replace("_", " ").split()[-1])
        page.check(f'#social-formats input[value="{name}"]')
    page.fill(".formats-search", "")
    for name in formats:
        page.wait_for_selector(f'.card[data-format="{name}"][data-box]')


def card(page: Page, name: str) -> Locator:
    return page.locator(f'.card[data-format="{name}"]')


def box(page: Page, name: str) -> list[float]:
    return [float(side) for side in (card(page, name).get_attribute("data-box") or "").split()]


def drag(page: Page, name: str, across: float) -> None:
    """Move the image in its crop by that part of the crop's width."""
    crop = card(page, name).locator(".crop")
    crop.scroll_into_view_if_needed()
    frame = crop.bounding_box()
    assert frame is not None
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across * frame["width"], y, steps=6)
    page.mouse.up()


def export(page: Page) -> dict[str, Image.Image]:
    """Press Export, then take the zip apart."""
    page.click("#social-export")
    page.wait_for_selector("#social-zip")
    with page.expect_download() as download:
        page.click("#social-zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


def test_a_dragged_crop_is_exported_and_survives_a_reload(opener: Opener, tmp_path: Path) -> None:
    _served, window, page = opened(opener)
    give(page, tmp_path, make_ball(2000, 1200))
    choose(page, POST, STORY, HEADER)
    before, found = box(page, POST), card(page, POST).get_attribute("data-box") or ""
    drag(page, POST, 0.2)
    dragged = box(page, POST)
    assert dragged[0] == pytest.approx(before[0] - 0.2 * (before[2] - before[0]), abs=0.01)
    expect(card(page, POST)).to_have_attribute("data-verdict", "own")
    card(page, STORY).locator(".crop").focus()
    untouched = box(page, STORY)
    page.keyboard.press("ArrowLeft")
    assert box(page, STORY)[0] == pytest.approx(untouched[0] - 0.02, abs=0.002)
    files = export(page)
    assert {name: image.size for name, image in files.items()} == {
        "01-instagram-feed_square.jpg": (1080, 1080),
        "01-instagram-story.jpg": (1080, 1920),
        "01-twitter-header.jpg": (1500, 500),
    }
    expected = (
        make_ball(2000, 1200).crop((round(2000 * dragged[0]), 0, round(2000 * dragged[2]), 1200)).resize((108, 108))
    )
    post = files["01-instagram-feed_square.jpg"].resize((108, 108))
    assert max(ImageStat.Stat(ImageChops.difference(post, expected)).mean) < 3
    rows = page.locator("#social-results tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("1080 × 1080")
    page.reload()
    window.ready()
    window.tab(TITLE)
    page.wait_for_selector(f'.card[data-format="{POST}"][data-box]')
    assert box(page, POST) == dragged
    expect(page.locator("#social-zip")).to_be_visible()
    card(page, POST).get_by_role("button", name="Reset to the suggested crop").click()
    expect(card(page, POST)).not_to_have_attribute("data-verdict", "own")
    expect(card(page, POST)).to_have_attribute("data-box", found)
    page.click("#social-again")
    expect(card(page, POST)).to_have_attribute("data-verdict", "own")
    assert box(page, POST) == pytest.approx(dragged, abs=0.001)
    assert window.complaints == []


def test_the_page_asks_before_a_person_is_left_out(opener: Opener, tmp_path: Path) -> None:
    served, _window, page = opened(opener)
    before = served.studio.engine.jobs(LOCAL_USER)
    give(page, tmp_path, make_couple())
    choose(page, STORY)
    expect(card(page, STORY)).to_have_attribute("data-verdict", "asks")
    expect(card(page, STORY)).to_contain_text("1 of 2 faces")
    page.click("#social-export")
    expect(page.get_by_text("Not all 2 faces fit into Instagram Story")).to_be_visible()
    assert served.studio.engine.jobs(LOCAL_USER) == before
    page.click("#social-extend input")
    page.click("[role=option]:has-text('Blurred border')")
    expect(card(page, STORY)).to_have_attribute("data-verdict", "filled")
    files = export(page)
    assert [image.size for image in files.values()] == [(1080, 1920)]
    expect(page.locator("#social-results")).to_contain_text("used with a blurred border")


def test_a_mark_moves_every_crop_and_zones_are_shown_but_not_baked_in(opener: Opener, tmp_path: Path) -> None:
    _served, window, page = opened(opener)
    give(page, tmp_path, make_ball(1600, 600))
    choose(page, POST, STORY)
    assert box(page, STORY)[2] > 0.6
    sheet = page.locator(".focus-sheet").bounding_box()
    assert sheet is not None
    page.mouse.move(sheet["x"] + 0.03 * sheet["width"], sheet["y"] + 0.3 * sheet["height"])
    page.mouse.down()
    page.mouse.move(sheet["x"] + 0.12 * sheet["width"], sheet["y"] + 0.7 * sheet["height"], steps=5)
    page.mouse.up()
    for name in (POST, STORY):
        expect(card(page, name)).to_have_attribute("data-box", re.compile(r"^0\.0[0-3]"))
    zones = card(page, STORY).locator(".crop-zones")
    expect(zones).to_be_hidden()
    page.click("[data-view=zones]")
    expect(zones).to_be_visible()
    assert zones.locator("rect.zone-ui").count() >= 1
    page.click("[data-view=frame]")
    expect(card(page, STORY).locator(".device-frame")).to_be_visible()
    files = export(page)
    assert len(files) == 2
    for image in files.values():  # plain ground: neither the ball nor a zone
        assert all(high - low <= 3 for low, high in image.convert("RGB").getextrema())
    page.get_by_role("button", name="Files").click()
    page.check("#social-zones input")
    page.click("#social-export")
    expect(page.locator("#social-results")).to_contain_text("drawn into this file")
    page.click("[data-view=zones]")
    expect(zones).to_be_hidden()
    assert window.complaints == []


def test_own_formats_and_refusals_and_a_phone(opener: Opener, tmp_path: Path) -> None:
    _served, _window, page = opened(opener, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.click("#social-export")
    expect(page.get_by_text("No image selected.")).to_be_visible()
    give(page, tmp_path, make_ball(), make_ball(500, 800))
    expect(page.locator("#social-images .pad-facts")).to_have_text("2 images")
    page.click("#social-export")
    expect(page.get_by_text("No platform format selected.")).to_be_visible()
    page.click(".formats-own summary")
    own = page.locator(".formats-form")
    own.get_by_label("Name").fill("Shop tile")
    own.get_by_label("Width").fill("30000")
    page.click(".formats-form button")
    expect(page.locator(".toast")).to_contain_text("width")
    own.get_by_label("Width").fill("640")
    own.get_by_label("Height").fill("320")
    page.click(".formats-form button")
    page.wait_for_selector('.card[data-format="own.shop_tile"][data-box]')
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    files = export(page)
    assert {name: image.size for name, image in files.items()} == {
        "01-own-shop_tile.jpg": (640, 320),
        "02-own-shop_tile.jpg": (640, 320),
    }
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_result_is_sent_here_from_another_tab(opener: Opener, tmp_path: Path) -> None:
    served = opener.share_as("formats", Opener.serve_formats)
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a red apple")
    page.click("#generate")
    window.wait_for_status("finished")
    page.click("#txt2img-send-social")
    expect(page.locator("#social-images .pad-facts")).to_have_text("64 × 64")
    choose(page, POST)
    expect(card(page, POST)).to_contain_text("16.9× enlarged")
    page.click("#social-export")
    page.wait_for_selector("#social-zip")
    asset = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert asset.label == POST
    assert [request.prompt for request in asset.history] == ["a red apple"]
    assert window.complaints == []
