"""Areas painted on the forms in a real Chromium, and what of them reaches the backend."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import draw_fake_image
from opening import Opener
from playwright.sync_api import Page, expect
from serving import wait_until
from test_img2img_in_browser import asked, choose, generate, kept, opened, stroke

from studio.core.region_area import AREA_COLOURS
from studio.core.request_choices import RegionSplit

pytestmark = pytest.mark.browser


def open_areas(page: Page, prefix: str = "") -> None:
    """Unfold the fields and choose areas."""
    page.click(f"#{prefix}region-fields > button")
    page.click(f"#{prefix}regions label:has-text('Areas')")
    page.click(f"#{prefix}areas > button")
    page.wait_for_selector(f"#{prefix}area-map .paint-sheet canvas")


def test_areas_are_painted_in_colours_and_survive_a_reload(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a street")
    page.fill("#width input", "96")
    page.fill("#height input", "64")
    page.keyboard.press("Tab")
    open_areas(page)
    page.hover("#area-map .paint-view")
    page.wait_for_function("document.querySelector('#area-map canvas').width === 96")
    stroke(page, "#area-map", (0.1, 0.3), (0.1, 0.7))
    page.click("#area-map [aria-label^='Area 2']")
    stroke(page, "#area-map", (0.8, 0.3), (0.8, 0.7))
    page.fill("#area-prompt-1 textarea", "a cat")
    page.fill("#area-prompt-2 textarea", "a dog")
    page.fill("#area-prompt-3 textarea", "sky")
    page.fill("#area-place-3 input", "0, 0, 1, 0.25")
    page.click("#generate")
    window.wait_for_status("finished")
    request = served.backend.seen[-1][0]
    assert (request.prompt, request.regions) == ("a street", RegionSplit.AREAS)
    cat, dog, sky = request.areas
    assert (cat.prompt, dog.prompt, sky.prompt) == ("a cat", "a dog", "sky")
    assert (cat.colour, dog.colour, cat.mask) == (*AREA_COLOURS[:2], dog.mask)
    assert (sky.mask, sky.height) == (None, 0.25)
    painted = kept(served, cat.mask)
    assert painted.size == (96, 64)
    for x, colour in ((9, (224, 32, 32, 255)), (77, (32, 160, 32, 255))):  # soft at the edges of a stroke
        assert painted.getpixel((x, 32)) == pytest.approx(colour, abs=16)
    expect(page.locator("#region-fields .accordion-state")).to_have_text("3 areas")
    page.reload()
    window.ready()
    page.click("#generate")
    wait_until(lambda: len(served.backend.seen) == 2)
    assert served.backend.seen[-1][0].areas == request.areas
    assert window.complaints == []


def test_areas_are_painted_over_the_image(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    path = tmp_path / "image.png"
    draw_fake_image(1, 160, 96).save(path)
    choose(page, path)
    page.fill("#i2i-prompt textarea", "a street")
    open_areas(page, "i2i-")
    stroke(page, "#i2i-area-map", (0.2, 0.4), (0.2, 0.6))
    page.fill("#i2i-area-prompt-1 textarea", "a hat")
    generate(window)
    (area,) = asked(served).areas
    assert (area.prompt, area.colour) == ("a hat", AREA_COLOURS[0])
    assert kept(served, area.mask).size == (160, 96)
    page.fill("#i2i-area-prompt-2 textarea", "a scarf")
    page.click("#i2i-generate")
    expect(page.get_by_text("Area 2 is empty")).to_be_visible()
    assert window.complaints == []
