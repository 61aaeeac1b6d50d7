from __future__ import annotations

import re
from pathlib import Path

import pytest
from opening import Opener
from PIL import Image
from playwright.sync_api import Page, expect

from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser


def generate(page: Page, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.keyboard.press("Control+Enter")


def test_a_prompt_becomes_a_image_step_by_step(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    generate(page, "a red apple")
    served.backend.release(2)
    expect(page.locator("#result .status")).to_contain_text("Step 2 of 4")
    expect(page.locator("#result img.forming")).to_be_visible()
    served.backend.release(2)
    window.wait_for_status("finished")
    shown = page.locator("#result img.shown")
    expect(shown).to_have_attribute("alt", "Generated image: a red apple")
    page.wait_for_function("document.querySelector('#result img.shown').naturalWidth === 64")
    assert page.locator("#generate").inner_text() == "Generate"
    assert window.complaints == []


def test_stop_says_stopped_and_the_next_job_runs(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    generate(page, "a boat")
    served.backend.release(1)
    expect(page.locator("#result .status")).to_contain_text("Step 1 of 4")
    job = served.studio.engine.job(page.locator("#result .result").get_attribute("data-job") or "", LOCAL_USER)
    page.click("#stop")
    window.wait_for(lambda: job.stop_reason)  # else the step below could be done before the wish arrives
    served.backend.release(1)
    window.wait_for_status("cancelled")
    expect(page.locator("#result .status")).to_contain_text("Stopped")
    expect(page.locator("#stop")).to_be_disabled()
    served.backend.release(100)
    generate(page, "a second boat")
    window.wait_for_status("finished")


def test_a_reload_brings_back_the_form_and_the_running_job(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    page.fill("#negative-prompt textarea", "fog")
    generate(page, "a lighthouse")
    served.backend.release(1)
    expect(page.locator("#result .status")).to_contain_text("Step 1 of 4")
    page.reload()
    window.ready()
    expect(page.locator("#prompt textarea")).to_have_value("a lighthouse")
    expect(page.locator("#negative-prompt textarea")).to_have_value("fog")
    window.wait_for_status("running")
    served.backend.release(3)
    window.wait_for_status("finished")
    assert len(served.backend.seen) == 1


def test_a_dropped_image_restores_its_settings(opener: Opener, tmp_path: Path) -> None:
    served = opener.serve()
    page = (window := opener.open_window(served)).open()
    generate(page, "a green door, (shut:1.2)")
    window.wait_for_status("finished")
    seed = served.backend.seen[0][1][0].seed
    image = next((tmp_path / "outputs").glob("2*/*.png"))
    page.fill("#prompt textarea", "something else")
    page.click("button:has-text('Restore')")
    page.set_input_files(".restore-dialog input[type=file]", image)
    expect(page.locator("#prompt textarea")).to_have_value("a green door, (shut:1.2)")
    expect(page.locator("#seed input")).to_have_value(str(seed))


def test_pasted_infotext_restores_its_settings(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
    page.click("button:has-text('Restore')")
    page.fill(
        ".restore-dialog textarea",
        "a fox\nNegative prompt: snow\nSteps: 7, Sampler: Euler a, CFG scale: 3.5, Seed: 42, Size: 64x64",
    )
    page.click("button:has-text('Use these settings')")
    expect(page.locator("#prompt textarea")).to_have_value("a fox")
    expect(page.locator("#negative-prompt textarea")).to_have_value("snow")
    expect(page.locator("#seed input")).to_have_value("42")


def test_a_grid_gives_its_cells_and_a_sheet(opener: Opener) -> None:
    served = opener.share()
    page = (window := opener.open_window(served)).open()
    page.click("button:has-text('X/Y/Z grid')")
    page.fill("#axis-x input", "Steps")
    page.keyboard.press("Enter")
    page.fill("#axis-x-values textarea", "2, 3")
    generate(page, "a hat")
    window.wait_for_status("finished")
    expect(page.locator("#result .frame")).to_have_count(3)
    assert [request.steps for request, _ in served.backend.seen] == [2, 3]
    page.locator("#result .frame").nth(2).click()
    expect(page.locator("#result .frame").nth(2)).to_have_attribute("aria-pressed", "true")


def test_a_refusal_is_told_with_its_hint(opener: Opener) -> None:
    served = opener.share()
    page = opener.open_window(served).open()
    page.fill("#width input", "63")
    page.keyboard.press("Tab")
    generate(page, "a hat")
    expect(page.locator(".toast-body, [data-testid=toast-body]").first).to_contain_text("multiple of 8")
    assert served.backend.seen == []


def test_the_form_hides_what_the_image_does_not_need_and_swaps_sides(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
    page.fill("#width input", "96")
    page.keyboard.press("Tab")
    page.click("#swap")
    expect(page.locator("#width input")).to_have_value("64")
    expect(page.locator("#height input")).to_have_value("96")


def test_the_recipe_shows_and_the_image_enlarges(opener: Opener) -> None:
    page = (window := opener.open_window(opener.share())).open()
    generate(page, "a cup")
    window.wait_for_status("finished")
    page.click(".recipe summary")
    expect(page.locator(".recipe pre")).to_contain_text("Steps:")
    page.click('.segment[data-view="recipe"]')
    expect(page.locator(".recipe pre")).to_contain_text('"prompt": "a cup"')
    page.click("#result img.shown")
    expect(page.locator("dialog.lightbox img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_have_count(0)


def test_a_setting_is_saved_and_a_bad_one_refused(opener: Opener) -> None:
    served = opener.serve()
    page = (window := opener.open_window(served)).open()
    window.configure("Settings")
    page.click("button:has-text('Output')")
    expect(page.locator("#set-output_quality input")).to_have_value("92")  # the page has filled the form
    page.fill("#set-output_quality input", "80")
    page.click("#save-settings")
    expect(page.locator(".toast-body, [data-testid=toast-body]").first).to_contain_text("Settings saved")
    assert served.studio.settings.current.output_quality == 80
    page.fill("#set-output_quality input", "900")
    page.click("#save-settings")
    expect(page.get_by_text(re.compile("from 1 to 100"))).to_be_visible()
    assert served.studio.settings.current.output_quality == 80
    window.configure("Health")
    page.click("#show-log")
    expect(page.locator("#log pre")).not_to_be_empty()


def test_only_an_administrator_sees_the_settings(opener: Opener) -> None:
    served = opener.serve(users=True)
    bob, root = opener.open_window(served, user="bob"), opener.open_window(served, user="root")
    for window, count in ((bob, 0), (root, 1)):
        page = window.open()
        window.tab("Configurations")
        expect(page.get_by_text("Only administrators")).to_be_visible(visible=count == 0)
        expect(page.locator(".config-pages")).to_have_count(count)
        expect(page.locator("#create-token")).to_be_visible(visible=count == 0)  # an administrator's are on Users
        expect(page.locator("#save-settings:visible")).to_have_count(0)


def test_no_width_scrolls_sideways(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()

    def check_widths() -> None:
        for width in (390, 1024, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)

    for tab in ("Txt2Img", "Img2Img", "Configurations"):
        window.tab(tab)
        check_widths()
    for title in ("Cloud", "Settings", "Users", "Health"):
        window.configure(title)
        check_widths()
    assert window.complaints == []


def test_light_and_dark_are_a_click_and_remembered(opener: Opener) -> None:
    window = opener.open_window(opener.share(), color_scheme="light")
    page = window.open()
    assert not page.evaluate("document.body.classList.contains('dark')")
    page.click("#theme-toggle")
    assert page.evaluate("document.body.classList.contains('dark')")
    page.reload()
    window.ready()
    page.wait_for_function("document.body.classList.contains('dark')")


@pytest.mark.torch
def test_the_model_that_ships_draws_a_red_apple(opener: Opener, tmp_path: Path) -> None:
    window = opener.open_window(opener.serve_embedded())
    page = window.open()
    page.set_default_timeout(200_000)  # torch is imported and the model loaded on the way
    page.fill("#steps input[type=number]", "100")  # long enough for a busy browser to see it form
    generate(page, "a red apple")
    page.wait_for_selector("#result img.forming")
    window.wait_for_status("finished")
    assert window.complaints == []
    image = Image.open(next((tmp_path / "outputs").glob("2*/*.png"))).convert("RGB")
    red, green, blue = image.resize((1, 1), Image.Resampling.BOX, (160, 200, 352, 392)).getpixel((0, 0))
    assert image.size == (512, 512)
    assert red > 1.5 * max(green, blue)


@pytest.mark.torch
def test_a_composed_image_that_is_dropped_on_the_form_is_made_again(opener: Opener, tmp_path: Path) -> None:
    served = opener.serve_embedded()
    window = opener.open_window(served)
    page = window.open()
    page.set_default_timeout(200_000)  # torch is imported and the model loaded on the way
    page.fill("#steps input[type=number]", "3")
    generate(page, "a red apple and a (blue:1.2) car on grass")
    window.wait_for_status("finished")
    first = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert (first.request.compose, first.request.scenery, first.request.enlarge) == (True, True, True)
    boxes = [page.locator(f"#{name} input") for name in ("scenery", "compose", "enlarge")]
    for box in boxes:
        box.uncheck()
    page.fill("#prompt textarea", "something else")
    page.click("button:has-text('Restore')")
    page.set_input_files(".restore-dialog input[type=file]", first.path)
    expect(page.locator("#prompt textarea")).to_have_value("a red apple and a (blue:1.2) car on grass")
    expect(page.locator("#seed input")).to_have_value(str(first.seed))
    for box in boxes:
        expect(box).to_be_checked()
    page.click("#generate")
    window.wait_for(lambda: served.studio.engine.assets(LOCAL_USER, 1)[0].id != first.id)
    again = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert again.request == first.request
    assert Image.open(again.path).tobytes() == Image.open(first.path).tobytes()
    assert window.complaints == []
