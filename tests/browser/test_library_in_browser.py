"""The library in a real browser, over the real index: find, mark, tag, trash and put back."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fakes import draw_fake_image
from foreign_images import A1111, make_png_with_chunks
from library_rows import add_many
from opening import BrowserWindow, Opener
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from serving import RunningStudio

from studio.library.database import Database

pytestmark = pytest.mark.browser
API = "/api/image-studio"
PROMPTS = ("a castle at night", "a castle by day", "a lighthouse in fog", "a red apple", "a green apple")
MANY = 100_000
FOREIGN = 600  # images of another program


def make_images(served: RunningStudio, *prompts: str) -> list[str]:
    """The ids of an image for each prompt, in their order."""
    client, ids = served.open_client(), []
    for prompt in prompts:
        job = client.post(f"{API}/create?wait=true", json={"prompt": prompt, "seed": 7}).json()
        ids += [image["id"] for image in job["images"]]
    return ids


def open_library(window: BrowserWindow) -> Page:
    window.open()
    window.tab("Library")
    expect(window.page.locator(".lib-summary")).to_have_text("5 images")
    return window.page


def list_shown(page: Page) -> Locator:
    return page.locator(".lib-cell:not(.lib-loading)")


def search(page: Page, query: str) -> None:
    page.fill(".lib-search", query)
    page.keyboard.press("Enter")


def get_asset(served: RunningStudio, asset_id: str) -> dict[str, Any]:
    return served.open_client().get(f"{API}/assets/{asset_id}").json()


@pytest.fixture
def served(opener: Opener) -> RunningStudio:
    return opener.serve()


@pytest.fixture
def ids(served: RunningStudio) -> list[str]:
    """Newest first, as the grid shows them."""
    return make_images(served, *PROMPTS)[::-1]


@pytest.fixture
def window(opener: Opener, served: RunningStudio, ids: list[str]) -> BrowserWindow:
    return opener.open_window(served)


def test_images_are_found_by_words_and_filters(window: BrowserWindow) -> None:
    page = open_library(window)
    search(page, "castle -night")
    expect(page.locator(".lib-summary")).to_have_text("1 image")
    expect(list_shown(page)).to_have_attribute("aria-label", "a castle by day")
    page.click(".lib-chip:has-text('Not night')")
    expect(page.locator(".lib-summary")).to_have_text("2 images")
    search(page, "nothing like it")
    expect(page.locator(".lib-message")).to_contain_text("No image matches this search.")
    page.click("button:has-text('Clear the search')")
    expect(list_shown(page)).to_have_count(5)
    page.click(".lib-facet:has-text('fake')")
    expect(page.locator(".lib-search")).to_have_value("model:fake")
    expect(list_shown(page)).to_have_count(5)
    assert window.complaints == []


def test_a_query_that_cannot_be_read_says_why(window: BrowserWindow) -> None:
    page = open_library(window)
    search(page, "seed:abc")
    expect(page.locator(".lib-message")).to_contain_text("abc")
    expect(page.locator(".lib-search")).to_have_attribute("aria-invalid", "true")
    search(page, "seed:7")
    expect(list_shown(page)).to_have_count(5)
    expect(page.locator(".lib-search")).to_have_attribute("aria-invalid", "false")


def test_the_query_is_completed_while_one_types(window: BrowserWindow) -> None:
    page = open_library(window)
    page.locator(".lib-search").press_sequentially("mod")
    expect(page.locator(".lib-options li").first).to_contain_text("model:")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".lib-options li").first).to_contain_text("fake")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".lib-chip:visible")).to_have_text("Model: fake ×")


def test_a_range_is_tagged_trashed_and_put_back(window: BrowserWindow, served: RunningStudio, ids: list[str]) -> None:
    page = open_library(window)
    list_shown(page).nth(0).click()
    list_shown(page).nth(2).click(modifiers=["Shift"])
    expect(page.locator(".lib-bulk strong")).to_have_text("3 selected")
    page.fill(".lib-bulk input", "book two, draft")
    page.locator(".lib-bulk input").press("Enter")
    expect(page.locator(".lib-notice")).to_contain_text("3 images tagged book two, draft.")
    assert sorted(get_asset(served, ids[2])["tags"]) == ["book two", "draft"]
    page.locator(".lib-grid").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".lib-summary")).to_have_text("2 images")
    assert get_asset(served, ids[0])["trashed"] is True
    page.locator(".lib-grid").focus()
    page.keyboard.press("Control+z")
    expect(page.locator(".lib-summary")).to_have_text("5 images")
    assert get_asset(served, ids[0])["trashed"] is False
    search(page, 'tag:"book two"')
    expect(list_shown(page)).to_have_count(3)


def test_the_trash_gives_images_back_and_is_emptied_after_a_question(
    window: BrowserWindow, served: RunningStudio, ids: list[str]
) -> None:
    page = open_library(window)
    list_shown(page).nth(0).click()
    list_shown(page).nth(1).click(modifiers=["Control"])
    page.click("button:has-text('Move to trash')")
    expect(page.locator(".lib-summary")).to_have_text("3 images")
    page.click(".lib-views >> text=Trash")
    expect(list_shown(page)).to_have_count(2)
    page.locator(f".lib-cell[data-id='{ids[0]}']").click()
    page.click(".lib-bulk >> text=Restore")
    expect(page.locator(".lib-summary")).to_have_text("1 image")
    page.click("button:has-text('Empty trash')")
    page.click("dialog.ask >> text=Cancel")
    expect(list_shown(page)).to_have_count(1)
    page.click("button:has-text('Empty trash')")
    page.click("dialog.ask >> text=Delete for good")
    expect(page.locator(".lib-message")).to_contain_text("The trash is empty.")
    page.click(".lib-views >> text=All")
    expect(page.locator(".lib-summary")).to_have_text("4 images")
    assert served.open_client().get(f"{API}/assets/{ids[1]}").status_code == 404


def test_the_keyboard_walks_marks_and_opens(window: BrowserWindow, served: RunningStudio, ids: list[str]) -> None:
    page = open_library(window)
    page.locator(".lib-grid").focus()
    for key in ("ArrowRight", "ArrowRight", "f", "4"):
        page.keyboard.press(key)
    window.wait_for(lambda: get_asset(served, ids[2])["rating"] == 4)
    assert get_asset(served, ids[2])["favourite"] is True
    expect(list_shown(page).nth(2)).to_have_attribute("aria-label", "a lighthouse in fog, favourite, 4 stars")
    page.keyboard.press("Enter")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a lighthouse in fog")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a red apple")
    page.keyboard.press("Escape")
    expect(page.locator(".lib-detail")).to_be_hidden()
    expect(page.locator(".lib-bulk strong")).to_have_text("1 selected")
    page.keyboard.press("Escape")
    expect(page.locator(".lib-bulk")).to_be_hidden()


def test_a_rectangle_drawn_over_images_selects_them(window: BrowserWindow) -> None:
    page = open_library(window)
    first, second = (list_shown(page).nth(place).bounding_box() for place in (0, 1))
    assert first
    assert second
    page.mouse.move(first["x"] + 20, first["y"] + 20)
    page.mouse.down()
    page.mouse.move(second["x"] + 30, second["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.locator(".lib-bulk strong")).to_have_text("2 selected")
    expect(page.locator(".lib-band")).to_be_hidden()


def test_notes_tags_and_title_are_kept(window: BrowserWindow, served: RunningStudio, ids: list[str]) -> None:
    page = open_library(window)
    list_shown(page).nth(0).dblclick()
    page.fill(".lib-title", "Cover")
    page.fill(".lib-section textarea", "for the f issue, page 4")
    page.fill(".lib-tags input", "print, big")
    page.locator(".lib-tags input").press("Enter")
    expect(page.locator(".lib-tags button").first).to_be_visible()
    window.wait_for(lambda: len(get_asset(served, ids[0])["tags"]) == 2)
    kept = get_asset(served, ids[0])
    assert (kept["title"], kept["note"], kept["rating"]) == ("Cover", "for the f issue, page 4", 0)
    page.click("[aria-label='Remove the tag big']")
    window.wait_for(lambda: get_asset(served, ids[0])["tags"] == ["print"])


def test_an_image_is_sent_to_another_tab_and_counted(
    window: BrowserWindow, served: RunningStudio, ids: list[str]
) -> None:
    page = open_library(window)
    list_shown(page).nth(1).dblclick()
    page.click(".lib-send >> text=→ Img2Img")
    window.page.wait_for_function("() => window.easel.areRestored(['img2img'])")
    expect(page.locator("#img2img-prompt textarea")).to_have_value("a red apple")
    window.wait_for(lambda: get_asset(served, ids[1])["use_counts"].get("sent") == 1)
    window.tab("Library")
    page.click(".lib-send >> text=Use all settings")
    expect(page.locator("#prompt textarea")).to_have_value("a red apple")


def test_a_saved_search_comes_back_with_one_click(window: BrowserWindow) -> None:
    page = open_library(window)
    search(page, "apple")
    expect(page.locator(".lib-summary")).to_have_text("2 images")
    page.click("button:has-text('Save this search')")
    page.fill("dialog.ask input", "Fruit")
    page.keyboard.press("Enter")
    search(page, "")
    expect(page.locator(".lib-summary")).to_have_text("5 images")
    page.click(".lib-facet:has-text('Fruit')")
    expect(page.locator(".lib-summary")).to_have_text("2 images")


def test_own_files_are_added_and_a_refused_one_is_reported(window: BrowserWindow, served: RunningStudio) -> None:
    page = open_library(window)
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(data, "PNG")
    good = {"name": "teal.png", "mimeType": "image/png", "buffer": data.getvalue()}
    bad = {"name": "page.html", "mimeType": "text/html", "buffer": b"<script>alert(1)</script>"}
    page.set_input_files(".library input[type=file]", [bad, good])
    expect(page.locator(".lib-notice")).to_contain_text("1 file added. 1 refused.")
    expect(page.locator(".toasts .toast")).to_be_visible()
    expect(page.locator(".lib-summary")).to_have_text("6 images")
    search(page, "size:40x30")
    expect(list_shown(page)).to_have_count(1)


def test_a_selection_is_exported_as_a_zip(window: BrowserWindow) -> None:
    page = open_library(window)
    list_shown(page).nth(0).click()
    list_shown(page).nth(1).click(modifiers=["Shift"])
    with page.expect_download() as started:
        page.click(".lib-bulk >> text=Export zip")
    names = zipfile.ZipFile(started.value.path()).namelist()
    assert sum(name.endswith(".png") for name in names) == 2
    assert "assets.jsonl" in names


def test_a_result_is_marked_and_opened_in_the_library(opener: Opener, served: RunningStudio) -> None:
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a boat")
    page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")
    page.click(".result-marks [aria-label='Favourite']")
    page.click(".result-marks [aria-label='3 stars']")
    expect(page.locator(".result-marks .star-on")).to_have_count(3)
    page.click(".result-marks >> text=Open in Library")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a boat")
    expect(page.locator(".lib-detail [aria-label='Favourite']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".lib-detail .star-on")).to_have_count(3)
    assert window.complaints == []


def test_escape_in_the_library_does_not_stop_a_job(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a boat")
    page.keyboard.press("Control+Enter")
    served.backend.release(1)
    window.wait_for_status("running")
    window.tab("Library")
    page.locator(".lib-search").focus()
    page.keyboard.press("Escape")
    page.locator(".lib-grid").focus()
    page.keyboard.press("Escape")
    served.backend.release(1000)
    window.tab("Txt2Img")
    window.wait_for_status("finished")


def test_a_folder_of_another_program_is_imported_with_its_progress(opener: Opener, tmp_path: Path) -> None:
    theirs = tmp_path / "webui"
    theirs.mkdir()
    served = opener.serve(import_folders=str(theirs))
    library = OpenLibrary(served, opener.open_window(served), [])
    page = library.window.open()
    library.window.tab("Library")
    library.expect_count("0 images")
    page.click(".lib-views >> text=Import")
    expect(page.locator(".lib-folder strong")).to_have_text(str(theirs))
    expect(page.locator(".lib-folder")).to_have_attribute("data-state", "watching")
    for number in range(FOREIGN):
        image = draw_fake_image(number, 64, 64)
        (theirs / f"{number:05d}.png").write_bytes(make_png_with_chunks(image, parameters=A1111))
    page.click("button:has-text('Scan again')")
    expect(page.locator(".lib-folder [role=progressbar]")).to_be_visible()
    expect(page.locator(".lib-folder [role=status]")).to_contain_text(f"up to date · {FOREIGN} of {FOREIGN} files")
    page.click(".lib-views >> text=All")
    library.expect_count(f"{FOREIGN} images")
    library.search("is:imported")
    library.expect_count(f"{FOREIGN} images")


def test_a_hundred_thousand_images_are_scrolled_with_a_few_on_the_page(opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    database = Database(tmp_path / "outputs" / "library.db")
    add_many(database, MANY)
    database.close()
    window = opener.open_window(opener.serve())
    page = window.page
    page.route("**/thumbnail", lambda route: route.fulfill(status=204))  # these rows have no files
    window.open()
    window.tab("Library")
    expect(page.locator(".lib-summary")).to_have_text("100,000 images")
    seen: set[str] = set()
    cells = 0
    while len(seen) < 3000:
        page.evaluate("document.querySelector('.lib-grid').scrollBy(0, 600)")
        page.wait_for_function("() => !document.querySelector('.lib-loading')")
        shown = page.locator(".lib-cell").evaluate_all("cells => cells.map((cell) => cell.dataset.id)")
        cells = max(cells, len(shown))
        seen |= set(shown)
    assert cells <= 120
    search(page, "model:m3 5*")
    expect(page.locator(".lib-message")).to_be_hidden()
    page.locator(".lib-grid").focus()
    page.keyboard.press("Control+a")
    expect(page.locator(".lib-bulk strong")).to_contain_text("selected")


def test_a_phone_opens_an_image_with_a_tap_and_selects_with_its_mark(opener: Opener, served: RunningStudio) -> None:
    make_images(served, *PROMPTS)
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    window = opener.open_window(served, **phone)
    page = open_library(window)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    list_shown(page).nth(0).locator(".lib-check").tap()
    list_shown(page).nth(1).tap()
    expect(page.locator(".lib-bulk strong")).to_have_text("2 selected")
    page.click("[aria-label='Clear the selection']")
    list_shown(page).nth(1).tap()
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a red apple")


def test_the_start_page_shows_work_and_images_and_leads_on(window: BrowserWindow, served: RunningStudio) -> None:
    served.backend.held = True
    waiting = served.open_client().post(f"{API}/create", json={"prompt": "a long way"}).json()
    page = window.open()
    page.click(".brand")
    expect(page.locator(".home-thumb")).to_have_count(5)
    expect(page.locator(".home-job")).to_contain_text("a long way")
    page.click(".home-job >> text=Stop")
    expect(page.locator(".home-job")).to_have_count(0)
    assert served.open_client().get(f"{API}/jobs/{waiting['jobId']}").json()["status"] == "cancelled"
    page.click(".home-prompt:has-text('a castle at night')")
    expect(page.locator("#prompt textarea")).to_have_value("a castle at night")
    page.click(".brand")
    page.locator(".home-thumb").first.click()
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a green apple")
    assert window.complaints == []
