"""What a new user stumbles over: a form that is still empty after a reload, errors that stay, and a narrow phone."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import pytest
from fakes import FAKE_MODEL
from foreign_images import A1111, make_png_with_chunks
from opening import Opener
from playwright.sync_api import Route, expect
from test_catalog import sd, write

from studio.core.errors import ModelBroken
from studio.engine.storage import outputs as outputs_module

pytestmark = pytest.mark.browser

NOTE_SIGN = """window.hadSign = false;
new MutationObserver(() => (window.hadSign ||= Boolean(document.querySelector('.restoring'))))
  .observe(document, { childList: true, subtree: true });"""


def test_a_reload_tells_that_the_form_comes_back(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    page.fill("#prompt textarea", "a lighthouse")
    page.wait_for_function("Object.values(localStorage).length > 0")
    held: list[Route] = []
    page.route("**/gradio_api/**", lambda route: held.append(route))
    page.reload()
    sign = page.locator(".restoring")
    expect(sign).to_be_visible()
    page.unroute("**/gradio_api/**")  # which lets those that are held go on
    expect(sign).to_have_count(0)


def test_the_first_visit_tells_of_nothing_that_comes_back(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    window.page.add_init_script(NOTE_SIGN)
    page = window.open()
    assert page.evaluate("window.hadSign") is False
    window.reload()
    assert page.evaluate("window.hadSign") is True


def test_what_is_typed_and_started_before_the_settings_come_counts(opener: Opener) -> None:
    window = opener.open_window(opener.serve())
    page = window.open()
    page.fill("#prompt textarea", "a lighthouse")
    page.fill("#negative-prompt textarea", "fog")
    page.wait_for_function("Object.values(localStorage).length > 0")
    held: list[Route] = []
    page.route("**/gradio_api/**", lambda route: held.append(route))
    page.reload()
    page.fill("#prompt textarea", "a boat")
    page.keyboard.press("Control+Enter")
    window.wait_for(lambda: held)
    expect(page.locator("#steps")).to_have_count(0)
    page.unroute("**/gradio_api/**")
    window.ready()
    window.wait_for_status("finished")
    asked, _ = window.served.backend.seen[0]
    assert (asked.prompt, asked.negative_prompt) == ("a boat", "fog")
    expect(page.locator("#prompt textarea")).to_have_value("a boat")


def test_what_is_typed_while_the_form_is_on_its_way_back_stays(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    page.fill("#prompt textarea", "a lighthouse")
    page.wait_for_function("Object.values(localStorage).length > 0")
    kept = page.evaluate("JSON.stringify(localStorage)")
    page.fill("#negative-prompt textarea", "fog")
    page.wait_for_function("(kept) => JSON.stringify(localStorage) !== kept", arg=kept)
    held: list[Route] = []

    def hold_form(route: Route) -> None:
        """Let the settings come, which are asked for without values, and nothing that is asked with some."""
        if (route.request.post_data_json or {}).get("data"):
            held.append(route)
        else:
            route.continue_()

    page.route("**/gradio_api/run/**", hold_form)
    page.reload()
    page.wait_for_selector("#steps")
    window.wait_for(lambda: held)
    page.fill("#prompt textarea", "a boat")
    page.unroute("**/gradio_api/run/**")
    window.ready()
    expect(page.locator("#negative-prompt textarea")).to_have_value("fog")
    expect(page.locator("#prompt textarea")).to_have_value("a boat")


def test_an_error_goes_when_the_next_attempt_begins(opener: Opener) -> None:
    served = opener.serve()
    served.backend.fail = lambda request, step: ModelBroken("It broke.", hint="Mend it.")
    page = opener.open_window(served).open()
    page.fill("#prompt textarea", "a boat")
    page.keyboard.press("Control+Enter")
    toast = page.locator(".toast-body.error")
    expect(toast).to_be_visible()
    served.backend.fail = lambda request, step: None
    page.keyboard.press("Control+Enter")
    expect(page.locator('[data-status="finished"]')).to_be_visible()
    expect(toast).to_have_count(0)


def test_a_phone_shows_the_model_name_before_its_arrow(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.page
    page.set_viewport_size({"width": 390, "height": 844})
    window.open()
    room = page.locator("#model input").evaluate("node => parseFloat(getComputedStyle(node).paddingRight)")
    assert room >= 36


def test_no_list_stands_open_when_settings_come_from_another_tab(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(make_png_with_chunks(parameters=A1111.replace("foxes", "fake")))
    window = opener.open_window(opener.share(), viewport={"width": 390, "height": 844})
    page = window.open()
    page.click("#size input")
    expect(page.locator("ul[role=listbox]")).to_be_visible()
    window.tab("Extras")
    page.click("button[role=tab]:has-text('Image info')")
    page.set_input_files("#ext-info-file input[type=file]", path)
    page.click("#ext-info-txt2img")
    expect(page.locator("#prompt textarea")).to_have_value("a fox, <lora:fur:0.8>")
    expect(page.locator("ul[role=listbox]")).to_have_count(0)
    page.click("#generate", trial=True)  # nothing lies over it
    assert window.complaints == []


BROKEN_WORDS = """() => [...document.querySelectorAll('[id="tab-configurations"] table :is(td, th)')].filter((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top))).size;
  return lines > Math.max(1, cell.innerText.trim().split(/[\\s/._-]+/).length);
}).map((cell) => cell.innerText)"""


def test_tables_on_a_phone_break_no_word(opener: Opener, tmp_path: Path) -> None:
    name = "photographs/a_rather_long_name_of_a_checkpoint-v1.5-pruned"
    write(tmp_path / "models" / "checkpoints" / f"{name}.safetensors", sd(768))
    write(tmp_path / "models" / "loras" / "fur.safetensors", {"strange.weight": (4, 4)})
    window = opener.open_window(opener.serve(), viewport={"width": 390, "height": 844})
    page = window.open()
    window.tab("Configurations")
    expect(page.locator('[id="tab-configurations"] table:visible').first).to_be_visible()
    assert page.evaluate(BROKEN_WORDS) == []


def test_what_compare_could_not_save_is_saved_by_a_button(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other = dataclasses.replace(FAKE_MODEL, id="other", title="Other")
    served = opener.serve(FAKE_MODEL, other)
    window = opener.open_window(served)
    page = window.open()
    window.tab("Compare")
    page.fill("#compare-prompt textarea", "a fox")
    page.fill("#compare-seed input", "18446744073709551615")
    for title in (FAKE_MODEL.title, "Other"):
        page.fill("#compare-models input", title)
        page.click(f"[role=option]:has-text('{title}')")
    page.keyboard.press("Escape")
    again = page.locator("#compare-save-again")
    with monkeypatch.context() as patch:
        patch.setattr(outputs_module, "write_synced", refuse)
        page.click("#compare")
        expect(page.locator("#compare-result")).to_contain_text("full")
        expect(again).to_be_visible()
    again.click()
    expect(page.locator("#compare-result img")).to_have_count(2)
    expect(again).to_be_hidden()
    assert [seeds[0].seed for _, seeds in served.backend.seen] == [2**64 - 1] * 2, "nothing was drawn a second time"


def test_a_large_seed_keeps_its_digits_on_the_page(opener: Opener) -> None:
    served = opener.share()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#seed input", "18446744073709551615")
    page.fill("#prompt textarea", "a fox")
    page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")
    assert served.backend.seen[0][1][0].seed == 2**64 - 1
    page.click("#seed-random")
    expect(page.locator("#seed input")).to_have_value("-1")
    page.click("#seed-reuse")
    expect(page.locator("#seed input")).to_have_value("18446744073709551615")
    page.reload()
    window.ready()
    expect(page.locator("#seed input")).to_have_value("18446744073709551615")
    page.fill("#seed input", "seven")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toast-body.error")).to_contain_text("whole number")
    assert len(served.backend.seen) == 1
