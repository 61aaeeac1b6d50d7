"""The result side: what stays while one waits and scrolls, the latest images, what can be done with the shown one."""

from __future__ import annotations

import re

import pytest
from opening import BrowserWindow, Opener
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

SMALL_TARGETS = """(root) => [...document.querySelectorAll(root + ' :is(button, a.mini, summary)')]
  .filter((node) => node.offsetParent && !node.closest('.film'))
  .map((node) => [node.textContent.trim() || node.getAttribute('aria-label'), node.getBoundingClientRect()])
  .filter(([, box]) => box.width < 40 || box.height < 40)
  .map(([name, box]) => `${name}: ${Math.round(box.width)} x ${Math.round(box.height)}`)"""

MEASURE = """async ([selector, width, height]) => {
  const image = document.querySelector(selector);
  image.src = Object.assign(document.createElement('canvas'), { width, height }).toDataURL();
  await image.decode();
  return [image.offsetWidth, image.offsetHeight];
}"""


def generate(window: BrowserWindow, prompt: str, count: int = 1) -> None:
    """Draw images and wait for them."""
    page = window.page
    page.fill("#prompt textarea", prompt)
    page.fill("#count input", str(count))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result img.shown")).to_have_attribute("alt", f"Generated image: {prompt}")
    window.wait_for_status("finished")


def find_shown_id(page: Page) -> str:
    return str(page.evaluate("window.easel.getShownImage()"))


def test_the_result_stays_in_view_while_the_form_scrolls(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    page.click("button:has-text('Advanced')")
    page.click("button:has-text('Hires fix')")
    page.wait_for_function("document.documentElement.scrollHeight > innerHeight + 300")
    page.mouse.move(300, 600)
    page.mouse.wheel(0, 400)
    page.wait_for_function("scrollY > 300")
    box = page.locator("#result .canvas").bounding_box()
    assert box is not None
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 900


def test_the_last_images_stay_until_the_next_ones_form(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    generate(window, "a pear")
    served.backend.held = True
    page.fill("#prompt textarea", "a plum")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result .canvas-kept img.shown")).to_have_attribute("alt", "Generated image: a pear")
    expect(page.locator("#result .elapsed")).to_have_text(re.compile(r"^([2-9]|\d{2,}) s$"))
    served.backend.release(100)
    expect(page.locator("#result img.shown")).to_have_attribute("alt", "Generated image: a plum")
    expect(page.locator("#result .elapsed")).to_have_count(0)
    assert window.complaints == []


def test_a_recent_image_is_shown_again_with_its_settings(opener: Opener) -> None:
    window = opener.open_window(opener.serve())
    page = window.open()
    generate(window, "a pear")
    first = find_shown_id(page)
    generate(window, "a plum")
    frames = page.locator(".recent .frame:visible")
    expect(frames).to_have_count(2)
    page.locator(f'.recent [data-recent="{first}"]:visible').click()
    expect(page.locator("#result img.shown")).to_have_attribute("alt", "Generated image: a pear")
    page.keyboard.press("u")
    expect(page.locator("#prompt textarea")).to_have_value("a pear")
    page.reload()
    window.ready()
    expect(page.locator("#result img.shown")).to_have_attribute("alt", "Generated image: a pear")
    assert window.complaints == []


def test_keys_act_on_the_shown_image(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    generate(window, "a pear", count=3)
    expect(page.locator("#result .heart")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    frames = page.locator("#result .frame")
    page.keyboard.press("ArrowRight")
    expect(frames.nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowLeft")
    expect(frames.nth(0)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("f")
    expect(page.locator("#result .heart")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("4")
    expect(page.locator("#result .stars")).to_have_attribute("data-rating", "4")
    seed = frames.nth(0).get_attribute("data-seed") or "none"
    page.keyboard.press("s")
    expect(page.locator("#seed input")).to_have_value(seed)
    with page.expect_download() as download:
        page.keyboard.press("d")
    assert download.value.suggested_filename.endswith(".png")
    page.keyboard.press("i")
    expect(page.locator("button[role=tab][aria-selected=true]")).to_have_text("Img2Img")
    assert window.complaints == []


def test_a_key_marks_the_image_that_is_shown_even_if_it_appeared_just_before(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    generate(window, "a pear", count=2)
    expect(page.locator("#result .heart")).to_be_visible()
    second = page.locator("#result .frame").nth(1).get_attribute("data-id")
    with page.expect_request("**/assets/bulk") as change:
        page.evaluate(
            """() => {
              document.activeElement.blur();
              for (const key of ["ArrowRight", "f"])
                document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            }"""
        )
    assert second
    assert f'"ids":["{second}"]' in (change.value.post_data or "")
    expect(page.locator("#result .heart")).to_have_attribute("aria-pressed", "true")
    assert window.complaints == []


def test_letters_typed_into_a_prompt_are_no_shortcuts(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    generate(window, "a pear")
    page.click("#prompt textarea")
    page.keyboard.type(" ?usfxdlipeo1")
    page.keyboard.press("Delete")
    expect(page.locator("#prompt textarea")).to_have_value("a pear ?usfxdlipeo1")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#result .heart")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".lib-notice:visible")).to_have_count(0)


def test_a_deleted_image_goes_to_the_trash_and_comes_back_by_undo(opener: Opener) -> None:
    window = opener.open_window(opener.serve())
    page = window.open()
    generate(window, "a pear", count=2)
    first = find_shown_id(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Delete")
    expect(page.locator(".lib-notice")).to_contain_text("moved to the trash")
    expect(page.locator("#result .frame:visible")).to_have_count(1)
    assert find_shown_id(page) != first
    expect(page.locator(".recent .frame:visible")).to_have_count(1)
    page.click(".lib-notice button")
    expect(page.locator("#result .frame:visible")).to_have_count(2)
    assert find_shown_id(page) == first
    expect(page.locator(".recent .frame:visible")).to_have_count(2)
    assert window.complaints == []


def test_a_click_enlarges_the_shown_image(opener: Opener) -> None:
    window = opener.open_window(opener.share_social())
    page = window.open()
    generate(window, "a pear")
    width = int(page.locator("#result .frame").get_attribute("data-width") or 0)
    page.click("#result [data-act=upscale]")
    page.wait_for_function(
        "(wide) => Number(document.querySelector('#result .frame')?.dataset.width) > wide", arg=width
    )
    window.wait_for_status("finished")
    expect(page.locator("#result [data-act=compare]")).to_be_visible()
    assert window.complaints == []


def test_what_is_below_an_image_can_be_hit_by_a_finger(opener: Opener) -> None:
    window = opener.open_window(opener.share(), viewport={"width": 390, "height": 844}, has_touch=True)
    page = window.open()
    generate(window, "a pear", count=2)
    expect(page.locator("#result .heart")).to_be_visible()
    assert page.evaluate(SMALL_TARGETS, ".view-result") == []


def test_the_keyboard_keeps_its_place_while_a_job_runs(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a pear")
    page.focus("#generate")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_focused()
    served.backend.release(100)
    window.wait_for_status("finished")
    expect(page.locator("#generate")).to_be_focused()


@pytest.mark.parametrize("viewport", [(1440, 900), (1024, 768), (390, 844)])
def test_the_frame_of_the_shown_image_has_its_shape(opener: Opener, viewport: tuple[int, int]) -> None:
    window = opener.open_window(opener.share(), viewport={"width": viewport[0], "height": viewport[1]})
    page = window.open()
    generate(window, "a pear")
    page.click("#result img.shown")
    for width, height in [(64, 64), (512, 512), (256, 144), (1344, 768), (144, 256), (768, 1344)]:
        for selector in ("#result img.shown", ".lightbox img"):
            wide, high = page.evaluate(MEASURE, [selector, width, height])
            assert wide == pytest.approx(high * width / height, abs=2), f"{selector} at {width} x {height}"
