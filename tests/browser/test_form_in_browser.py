"""The form while it is filled in: states of closed accordions, warnings and what puts them right, examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fakes import FAKE_MODEL
from opening import Opener
from PIL import Image
from playwright.sync_api import expect
from test_catalog import lora, write

from studio.core.model import Sizes

pytestmark = pytest.mark.browser
TENSOR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TRAINED = dataclasses.replace(FAKE_MODEL, sizes=Sizes(liked=((512, 512),)))


def test_closed_accordions_say_what_is_set_and_keep_saying_it_after_a_reload(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    page.fill("#prompt textarea", "a fox")
    page.click("#hires > button")
    page.check("#hires-on input")
    page.click("#hires > button")
    state = page.locator("#hires .accordion-state")
    expect(state).to_contain_text("2×")
    page.click("#grid > button")
    page.fill("#axis-x input", "Steps")
    page.keyboard.press("Enter")
    page.fill("#axis-x-values textarea", "2-5")
    expect(page.locator("#grid .accordion-state")).to_have_text("4 values")
    page.reload()
    window.ready()
    expect(state).to_contain_text("2×")
    page.click("#hires > button")
    page.uncheck("#hires-on input")
    expect(state).to_have_count(0)
    assert window.complaints == []


def test_a_warning_is_put_right_by_its_button(opener: Opener) -> None:
    window = opener.open_window(opener.serve(TRAINED))
    page = window.open()
    page.fill("#prompt textarea", "a fox, <lora:nothing:0.8>, red")
    page.fill("#width input", "1536")
    page.fill("#height input", "1536")
    page.keyboard.press("Tab")
    warnings = page.locator("#warnings li")
    expect(warnings).to_have_count(2)
    warnings.filter(has_text="no LoRA “nothing”").get_by_role("button", name="Remove it").click()
    expect(page.locator("#prompt textarea")).to_have_value("a fox, red")
    expect(warnings).to_have_count(1)
    warnings.get_by_role("button", name="Use 512 × 512").click()
    expect(page.locator("#width input")).to_have_value("512")
    expect(page.locator("#warnings")).to_be_hidden()
    page.click("#generate")
    window.wait_for_status("finished")
    [(request, _)] = window.served.backend.seen
    assert (request.width, request.height, request.prompt) == (512, 512, "a fox, red")
    assert window.complaints == []


def test_a_size_that_is_typed_is_no_longer_called_one_of_the_list(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    expect(page.locator("#size input")).to_have_value("64 × 64")
    page.fill("#width input", "96")
    expect(page.locator("#size input")).to_have_value("Custom")
    page.fill("#size input", "64 × 64")
    page.keyboard.press("Enter")
    expect(page.locator("#width input")).to_have_value("64")
    expect(page.locator("#size input")).to_have_value("64 × 64")
    assert window.complaints == []


def test_an_example_is_drawn_at_a_click(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    page.evaluate("""() => document.querySelector(".welcome").insertAdjacentHTML("beforeend",
        '<button class="chip" data-prompt="a small boat">a small boat</button>')""")
    page.click(".chip:has-text('a small boat')")
    window.wait_for_status("finished")
    assert [request.prompt for request, _ in served.backend.seen] == ["a small boat"]


DROP = """async (address) => {
  const blob = await (await fetch(address)).blob();
  const data = new DataTransfer();
  data.items.add(new File([blob], "image.png", { type: "image/png" }));
  const options = { dataTransfer: data, bubbles: true, cancelable: true };
  document.querySelector(".top").dispatchEvent(new DragEvent("dragover", options));
  window.signs = document.querySelectorAll(".drop-sign").length;
  document.querySelector(".top").dispatchEvent(new DragEvent("drop", options));
}"""


def test_an_image_dropped_anywhere_fills_the_form(opener: Opener) -> None:
    served = opener.share()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "{a|a} green door")
    page.click("#generate")
    window.wait_for_status("finished")
    address = page.get_attribute("#result img.shown", "src")
    for _ in range(2):  # the same image can be dropped again
        page.fill("#prompt textarea", "something else")
        page.evaluate(DROP, address)
        expect(page.locator("#prompt textarea")).to_have_value("a green door")
        assert page.evaluate("window.signs") == 1
        expect(page.locator(".drop-sign")).to_have_count(0)
    assert window.complaints == []


def test_a_file_that_holds_no_settings_says_so(opener: Opener, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    page = opener.open_window(opener.share()).open()
    page.click("button:has-text('Restore')")
    page.set_input_files(".restore-dialog input[type=file]", tmp_path / "bare.png")
    expect(page.locator(".toast")).to_contain_text("contains no settings")


def test_a_lora_is_added_from_its_card(opener: Opener, tmp_path: Path) -> None:
    file = tmp_path / "models" / "loras" / "neon.safetensors"
    write(file, lora(TENSOR), {"modelspec.trigger_phrase": "neon sign"})
    Image.new("RGB", (64, 64), "red").save(file.with_suffix(".png"))
    window = opener.open_window(opener.serve())
    page = window.open()
    page.fill("#prompt textarea", "a fox")
    page.click("button:has-text('+ LoRA')")
    card = page.locator(".lora-card", has_text="neon")
    expect(card.locator("img")).to_be_visible()
    page.fill(".lora-picker input[type=search]", "nothing")
    expect(card).to_be_hidden()
    page.fill(".lora-picker input[type=search]", "sign")
    card.locator("input[type=number]").fill("0.8")
    card.get_by_label("neon sign").check()
    card.get_by_role("button", name="Add neon").click()
    page.keyboard.press("Escape")
    expect(page.locator(".lora-picker")).to_have_count(0)
    expect(page.locator("#prompt textarea")).to_have_value("a fox <lora:neon:0.8>, neon sign")
    assert window.complaints == []


def test_a_platform_is_chosen_and_taken_back_by_its_chip(opener: Opener) -> None:
    window = opener.open_window(opener.share_social())
    page = window.open()
    story = page.locator(".format-chips button", has_text="Story")
    story.click()
    expect(page.locator("#make-for .accordion-state")).to_contain_text("Story")
    expect(story).to_have_attribute("aria-pressed", "true")
    width, height = (int(page.locator(f"#{name} input").input_value()) for name in ("width", "height"))
    assert height > width * 1.5
    story.click()
    expect(page.locator("#make-for .accordion-state")).to_have_count(0)
    expect(story).to_have_attribute("aria-pressed", "false")
    assert window.complaints == []


def test_help_of_common_fields_is_a_tooltip_and_in_accordions_it_is_read(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
    label = page.locator("#styles [data-testid=block-info]")
    expect(page.locator("#styles .info-text")).to_be_hidden()
    label.hover()
    expect(label).to_have_attribute("title", "Presets added to both prompts.")
    page.click("#grid > button")
    expect(page.locator("#axis-x .info-text")).to_be_visible()


def test_the_common_case_is_seen_without_scrolling_on_a_laptop(opener: Opener) -> None:
    page = opener.open_window(opener.share_social()).open()
    for name in ("prompt", "generate", "model", "size", "steps", "guidance", "sampler", "seed", "count"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900, name


def test_the_boxes_below_the_size_share_a_line_where_there_is_room(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
    for width, lines in ((1440, {1}), (390, {1, 2, 3})):
        page.set_viewport_size({"width": width, "height": 900})
        labels = page.locator(".result-fields label")
        expect(labels).to_have_count(3)
        boxes = labels.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().toJSON())")
        assert max(box["height"] for box in boxes) < 1.5 * min(box["height"] for box in boxes)
        assert len({round(box["y"]) for box in boxes}) in lines
        assert page.evaluate("document.documentElement.scrollWidth") <= width
