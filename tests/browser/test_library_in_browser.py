"""The library and the start page in a real browser, over the real index.

One studio with five images and one window serve most tests; each takes away what it adds.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import draw_fake_image
from foreign_images import A1111, make_png_with_chunks
from library_rows import add_many
from opening import BrowserWindow, Opener
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect
from serving import RunningStudio

from studio.library.database import Database

pytestmark = pytest.mark.browser
API = "/api/image-studio"
PROMPTS = ("a castle at night", "a castle by day", "a lighthouse in fog", "a red apple", "a green apple")
MANY = 20_000
FOREIGN = 600  # images of another program


@dataclass(frozen=True)
class OpenLibrary:
    """A studio, a window on it, and the ids of its images, the newest first, as the grid shows them."""

    served: RunningStudio
    window: BrowserWindow
    ids: list[str]

    @property
    def page(self) -> Page:
        return self.window.page

    @property
    def thumbnails(self) -> Locator:
        return self.page.locator(".lib-cell:not(.lib-loading)")

    def search(self, query: str) -> None:
        self.page.fill(".lib-search", query)
        self.page.keyboard.press("Enter")

    def expect_count(self, text: str) -> None:
        expect(self.page.locator(".lib-summary")).to_have_text(text)

    def expect_selected(self, count: int) -> None:
        expect(self.page.locator(".lib-bulk strong")).to_have_text(f"{count} selected")

    def get_asset(self, asset_id: str) -> dict[str, Any]:
        return self.served.open_client().get(f"{API}/assets/{asset_id}").json()

    def make_images(self, *prompts: str) -> list[str]:
        """The ids of an image for each prompt, in their order."""
        client, ids = self.served.open_client(), []
        for prompt in prompts:
            job = client.post(f"{API}/create?wait=true", json={"prompt": prompt, "seed": 7}).json()
            ids += [image["id"] for image in job["images"]]
        return ids

    def delete_others(self) -> None:
        """Delete all but the first five images for good."""
        client = self.served.open_client()
        found = {asset["id"] for asset in client.get(f"{API}/assets").json()["assets"]}
        if added := sorted(found - {*self.ids}):
            client.post(f"{API}/assets/bulk", json={"ids": added, "change": {"trash": True}})
            client.post(f"{API}/trash/empty")


@pytest.fixture(scope="module")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenLibrary]:
    with ExitStack() as stack:
        opener = Opener(browser, stack, tmp_path_factory.mktemp("library"))
        served = opener.serve()
        library = OpenLibrary(served, opener.open_window(served), [])
        library.ids.extend(library.make_images(*PROMPTS)[::-1])
        library.window.open()
        yield library


@pytest.fixture
def library(opened: OpenLibrary) -> Iterator[OpenLibrary]:
    """The Library tab with all five images and nothing selected."""
    page = opened.page
    opened.window.tab("Library")
    if page.locator(".lib-back:visible").count():
        page.click(".lib-back")
    page.click(".lib-views >> text=All")
    opened.search("")
    opened.expect_count("5 images")
    opened.window.complaints.clear()
    yield opened
    opened.delete_others()


def test_images_are_found_by_words_and_filters(library: OpenLibrary) -> None:
    page = library.page
    library.search("castle -night")
    library.expect_count("1 image")
    expect(library.thumbnails).to_have_attribute("aria-label", "a castle by day")
    page.click(".lib-chip:has-text('Not night')")
    library.expect_count("2 images")
    library.search("lightho")
    page.click("button:has-text('Search for lightho*')")
    library.expect_count("1 image")
    library.search("nothing like it")
    expect(page.locator(".lib-message")).to_contain_text("No image matches this search.")
    page.click("button:has-text('Clear the search')")
    expect(library.thumbnails).to_have_count(5)
    page.click(".lib-facet:has-text('fake')")
    expect(page.locator(".lib-search")).to_have_value("model:fake")
    expect(page.locator(".lib-facet:has-text('fake')")).to_be_focused()
    expect(library.thumbnails).to_have_count(5)
    assert library.window.complaints == []


def test_a_query_that_cannot_be_read_says_why(library: OpenLibrary) -> None:
    library.search("seed:abc")
    expect(library.page.locator(".lib-message")).to_contain_text("abc")
    expect(library.page.locator(".lib-search")).to_have_attribute("aria-invalid", "true")
    library.search("seed:7")
    expect(library.thumbnails).to_have_count(5)
    expect(library.page.locator(".lib-search")).to_have_attribute("aria-invalid", "false")


def test_the_query_is_completed_while_one_types(library: OpenLibrary) -> None:
    page = library.page
    page.locator(".lib-search").press_sequentially("mod")
    expect(page.locator(".lib-options li").first).to_contain_text("model:")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".lib-options li").first).to_contain_text("fake")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".lib-chips .lib-chip")).to_have_text("Model: fake ×")


def test_a_range_is_tagged_trashed_and_put_back(library: OpenLibrary) -> None:
    page, ids = library.page, library.ids
    library.thumbnails.nth(0).click()
    library.thumbnails.nth(2).click(modifiers=["Shift"])
    library.expect_selected(3)
    page.fill(".lib-bulk input", "book two, draft")
    page.locator(".lib-bulk input").press("Enter")
    expect(page.locator(".lib-notice")).to_contain_text("3 images tagged book two, draft.")
    assert sorted(library.get_asset(ids[2])["tags"]) == ["book two", "draft"]
    page.locator(".lib-grid").focus()
    page.keyboard.press("Delete")
    library.expect_count("2 images")
    assert library.get_asset(ids[0])["trashed"] is True
    page.keyboard.press("Control+z")
    library.expect_count("5 images")
    assert library.get_asset(ids[0])["trashed"] is False
    library.search('tag:"book two"')
    library.expect_count("3 images")


def test_the_trash_gives_images_back_and_is_emptied_after_a_question(library: OpenLibrary) -> None:
    page = library.page
    (added,) = library.make_images("a boat to throw away")
    library.search("")
    library.expect_count("6 images")
    library.thumbnails.nth(0).click()
    library.thumbnails.nth(1).click(modifiers=["Control"])
    page.click("button:has-text('Move to trash'):visible")
    library.expect_count("4 images")
    page.click(".lib-views >> text=Trash")
    library.expect_count("2 images")
    page.click(f".lib-cell[data-id='{library.ids[0]}']")
    page.click(".lib-bulk >> text=Restore")
    library.expect_count("1 image")
    page.click("button:has-text('Empty trash')")
    page.click("dialog.ask >> text=Cancel")
    library.expect_count("1 image")
    page.click("button:has-text('Empty trash')")
    page.click("dialog.ask >> text=Delete for good")
    expect(page.locator(".lib-message")).to_contain_text("The trash is empty.")
    page.click(".lib-views >> text=All")
    library.expect_count("5 images")
    assert library.served.open_client().get(f"{API}/assets/{added}").status_code == 404


def test_the_library_asks_for_its_images_when_its_tab_is_pressed(opened: OpenLibrary, opener: Opener) -> None:
    window = opener.open_window(opened.served)
    page = window.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_function("performance.getEntriesByType('resource').some((e) => e.name.includes('library_view.js'))")
    tab = page.locator("button[role=tab]:has-text('Library')").bounding_box()
    assert tab
    page.mouse.move(tab["x"] + 10, tab["y"] + 10)
    page.mouse.down()
    window.wait_for(lambda: any("whole_jobs" in url for url in asked))
    assert not page.locator(".library").count()
    page.mouse.up()
    expect(page.locator(".lib-cell:not(.lib-loading)")).to_have_count(5)
    assert sum("whole_jobs" in url for url in asked) == 1, "the other list is that of recent images below the result"
    assert window.complaints == []


def test_the_images_of_a_job_are_one_tile_that_opens(library: OpenLibrary) -> None:
    """They come while the library is in view."""
    page = library.page
    library.served.open_client().post(f"{API}/create?wait=true", json={"prompt": "three boats", "count": 3})
    library.expect_count("8 images")
    expect(library.thumbnails).to_have_count(6)
    expect(library.thumbnails.nth(0)).to_have_attribute("aria-label", "three boats, stack of 3 images")
    library.thumbnails.nth(0).click()
    library.expect_selected(3)
    page.keyboard.press("f")
    library.thumbnails.nth(0).dblclick()
    expect(library.thumbnails).to_have_count(8)
    expect(library.thumbnails.nth(2)).to_have_attribute("aria-label", "three boats, favourite")
    page.keyboard.press("ArrowRight")
    library.expect_selected(1)
    page.keyboard.press("Enter")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("three boats")
    page.keyboard.press("Escape")
    page.click(".lib-stack >> text=Close")
    expect(library.thumbnails).to_have_count(6)
    page.click(".lib-tools >> text=Stacks")
    expect(library.thumbnails).to_have_count(8)
    page.click(".lib-tools >> text=Stacks")
    expect(library.thumbnails).to_have_count(6)
    assert library.window.complaints == []


def test_the_keyboard_walks_marks_and_opens(library: OpenLibrary) -> None:
    page, third = library.page, library.ids[2]
    page.locator(".lib-grid").focus()
    for key in ("ArrowRight", "ArrowRight", "f"):
        page.keyboard.press(key)
    expect(library.thumbnails.nth(2)).to_have_attribute("aria-label", "a lighthouse in fog, favourite")
    page.keyboard.press("4")
    expect(library.thumbnails.nth(2)).to_have_attribute("aria-label", "a lighthouse in fog, favourite, 4 stars")
    kept = library.get_asset(third)
    assert (kept["favourite"], kept["rating"]) == (True, 4)
    page.keyboard.press("Enter")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a lighthouse in fog")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a red apple")
    page.keyboard.press("Escape")
    expect(page.locator(".lib-detail")).to_be_hidden()
    library.expect_selected(1)
    page.keyboard.press("Escape")
    expect(page.locator(".lib-bulk")).to_be_hidden()


def test_a_rectangle_drawn_over_images_selects_them(library: OpenLibrary) -> None:
    mouse = library.page.mouse
    first, second = (library.thumbnails.nth(place).bounding_box() for place in (0, 1))
    assert first
    assert second
    mouse.move(first["x"] + 20, first["y"] + 20)
    mouse.down()
    mouse.move(second["x"] + 30, second["y"] + 60, steps=5)
    mouse.up()
    library.expect_selected(2)
    expect(library.page.locator(".lib-band")).to_be_hidden()


def test_an_image_is_sent_to_another_tab_and_counted(library: OpenLibrary) -> None:
    page, second = library.page, library.ids[1]
    library.thumbnails.nth(1).dblclick()
    page.click(".lib-send >> text=→ Img2Img")
    page.wait_for_function("() => window.easel.areRestored(['img2img'])")
    expect(page.locator("#i2i-prompt textarea")).to_have_value("a red apple")
    library.window.wait_for(lambda: library.get_asset(second)["use_counts"].get("sent") == 1)
    library.window.tab("Library")
    page.click(".lib-send >> text=Use all settings")
    expect(page.locator("#prompt textarea")).to_have_value("a red apple")


def test_notes_tags_and_title_are_kept(library: OpenLibrary) -> None:
    page, last = library.page, library.ids[4]
    library.thumbnails.nth(4).dblclick()
    page.fill(".lib-title", "Cover")
    page.fill(".lib-section textarea", "for the f issue, page 4")
    page.fill(".lib-side .lib-tags input", "<i>print</i>, big")
    page.locator(".lib-side .lib-tags input").press("Enter")
    page.click("[aria-label='Remove the tag big']")
    library.window.wait_for(lambda: library.get_asset(last)["tags"] == ["<i>print</i>"])
    expect(page.locator(".lib-side .lib-tags button")).to_have_text("<i>print</i> ×")
    kept = library.get_asset(last)
    assert (kept["title"], kept["note"], kept["rating"]) == ("Cover", "for the f issue, page 4", 0)
    page.locator(".lib-detail").press("Control+z")
    expect(page.locator(".lib-side .lib-tags button")).to_have_count(2)
    assert sorted(library.get_asset(last)["tags"]) == ["<i>print</i>", "big"]


def test_a_saved_search_comes_back_with_one_click(library: OpenLibrary) -> None:
    page = library.page
    library.search("apple")
    library.expect_count("2 images")
    page.click("button:has-text('Save this search')")
    page.fill("dialog.ask input", "Fruit")
    page.keyboard.press("Enter")
    expect(page.locator(".lib-facet:has-text('Fruit')")).to_be_visible()
    library.search("")
    library.expect_count("5 images")
    page.click(".lib-facet:has-text('Fruit')")
    library.expect_count("2 images")


def test_near_duplicates_are_listed_and_all_but_the_best_trashed(library: OpenLibrary) -> None:
    """The five images have one seed, and the fake draws the same from it."""
    page, client = library.page, library.served.open_client()
    library.window.wait_for(lambda: client.get(f"{API}/assets/duplicates").json()["groups"])
    page.click(".lib-views >> text=Duplicates")
    expect(page.locator(".lib-twin")).to_have_count(5)
    page.click("button:has-text('Keep the best, trash 4')")
    expect(page.locator(".lib-twin")).to_have_count(0)
    page.click(".lib-views >> text=All")
    library.expect_count("1 image")
    page.click(".lib-notice >> text=Undo")
    library.expect_count("5 images")


def test_what_resembles_an_image_is_listed(library: OpenLibrary) -> None:
    page = library.page
    library.thumbnails.nth(0).dblclick()
    page.click("button:has-text('More like this')")
    expect(page.locator(".lib-tools .lib-chip")).to_contain_text("Like “")
    library.expect_count("4 images")
    page.locator(".lib-grid").press("Control+a")
    library.expect_selected(4)
    page.click(".lib-tools .lib-chip")
    library.expect_count("5 images")


def test_own_files_are_added_and_a_refused_one_is_reported(library: OpenLibrary) -> None:
    page = library.page
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(data, "PNG")
    good: FilePayload = {"name": "teal.png", "mimeType": "image/png", "buffer": data.getvalue()}
    bad: FilePayload = {"name": "page.html", "mimeType": "text/html", "buffer": b"<script>alert(1)</script>"}
    page.set_input_files(".library input[type=file]", [bad, good])
    expect(page.locator(".lib-notice")).to_contain_text("1 file added. 1 refused.")
    expect(page.locator(".toasts .toast")).to_be_visible()
    library.expect_count("6 images")
    library.search("size:40x30")
    library.expect_count("1 image")


def test_a_selection_is_exported_as_a_zip(library: OpenLibrary) -> None:
    library.thumbnails.nth(0).click()
    library.thumbnails.nth(1).click(modifiers=["Shift"])
    with library.page.expect_download() as started:
        library.page.click(".lib-bulk >> text=Export zip")
    names = zipfile.ZipFile(started.value.path()).namelist()
    assert sum(name.endswith(".png") for name in names) == 2
    assert "assets.jsonl" in names


def test_a_result_is_marked_and_opened_in_the_library(library: OpenLibrary) -> None:
    page = library.page
    library.window.tab("Txt2Img")
    page.fill("#prompt textarea", "a boat")
    page.click("#generate")
    page.click(".result-marks [aria-label='Favourite']")
    page.click(".result-marks [aria-label='3 stars']")
    expect(page.locator(".result-marks .star-on")).to_have_count(3)
    page.click(".result-marks >> text=Open in Library")
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a boat")
    expect(page.locator(".lib-detail [aria-label='Favourite']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".lib-detail .star-on")).to_have_count(3)
    assert library.window.complaints == []


def test_escape_in_the_library_stops_no_job(library: OpenLibrary) -> None:
    page, backend = library.page, library.served.backend
    backend.held = True
    library.window.tab("Txt2Img")
    page.fill("#prompt textarea", "a slow boat")
    page.click("#generate")
    backend.release(1)
    library.window.wait_for_status("running")
    library.window.tab("Library")
    page.locator(".lib-search").press("Escape")
    page.locator(".lib-grid").press("Escape")
    backend.release(backend.steps - 1)
    library.window.tab("Txt2Img")
    library.window.wait_for_status("finished")
    backend.held = False


def test_the_start_page_shows_work_and_images_and_leads_on(library: OpenLibrary) -> None:
    page, client = library.page, library.served.open_client()
    library.served.backend.held = True
    waiting = client.post(f"{API}/create", json={"prompt": "a long way"}).json()
    page.click(".brand")
    expect(page.locator(".home-thumb")).to_have_count(5)
    expect(page.locator(".home-job")).to_contain_text("a long way")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.click(".home-job >> text=Stop")
    library.served.backend.release(1)
    expect(page.locator(".home-job")).to_have_count(0)
    library.served.backend.held = False
    assert client.get(f"{API}/jobs/{waiting['jobId']}").json()["status"] == "cancelled"
    page.click(".home-prompt:has-text('a castle at night')")
    expect(page.locator("#prompt textarea")).to_have_value("a castle at night")
    page.click(".brand")
    page.locator(".home-thumb").first.click()
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a green apple")
    assert library.window.complaints == []


def test_a_phone_opens_an_image_with_a_tap_and_selects_with_its_mark(opened: OpenLibrary, opener: Opener) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    window = opener.open_window(opened.served, **phone)
    library = OpenLibrary(opened.served, window, opened.ids)
    page = window.open()
    window.tab("Library")
    library.expect_count("5 images")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    library.thumbnails.nth(0).locator(".lib-check").tap()
    library.thumbnails.nth(1).tap()
    library.expect_selected(2)
    page.click("[aria-label='Clear the selection']")
    library.thumbnails.nth(1).tap()
    expect(page.locator(".lib-detail .lib-prompt")).to_have_text("a red apple")


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


def test_many_thousands_of_images_are_scrolled_with_a_few_on_the_page(opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    database = Database(tmp_path / "outputs" / "library.db")
    add_many(database, MANY)
    database.close()
    served = opener.serve()
    library = OpenLibrary(served, opener.open_window(served), [])
    page = library.page
    page.route("**/thumbnail", lambda route: route.fulfill(status=204))  # these rows have no files
    library.window.open()
    library.window.tab("Library")
    library.expect_count("20,000 images")
    seen: set[str] = set()
    while len(seen) < 600:
        page.evaluate("document.querySelector('.lib-grid').scrollBy(0, 900)")
        page.wait_for_function("() => !document.querySelector('.lib-loading')")
        shown = page.locator(".lib-cell").evaluate_all("cells => cells.map((cell) => cell.dataset.id)")
        assert len(shown) <= 120
        seen |= set(shown)
    library.thumbnails.nth(40).click()
    selected = page.locator(".lib-cell[aria-selected=true]")
    chosen, before = selected.get_attribute("data-id"), selected.bounding_box()
    library.make_images(*PROMPTS)
    library.expect_count("20,005 images")
    library.expect_selected(1)
    assert selected.get_attribute("data-id") == chosen
    after = selected.bounding_box()
    assert before
    assert after
    assert abs(after["y"] - before["y"]) <= before["height"] + 10
    library.search("is:favourite")
    library.expect_count("2,000 images")
    library.search("500")
    library.expect_count("20 images")
    page.locator(".lib-grid").press("Control+a")
    library.expect_selected(20)
    page.click(".lib-bulk [aria-label='5 stars']")
    expect(page.locator(".lib-notice")).to_contain_text("20 images rated.")
