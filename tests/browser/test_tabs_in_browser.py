"""Configurations as pages, tables as cards on a phone, Compare with anything, and one verb for each action."""

from __future__ import annotations

import pytest
from fakes import FAKE_MODEL
from opening import Opener
from playwright.sync_api import expect
from test_catalog import lora, write

from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser
TENSOR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def test_one_page_of_configurations_is_shown_at_a_time(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    window.tab("Configurations")
    shown = {
        "Models": "#models-table",
        "Cloud": "#cloud-key",
        "Settings": "#save-settings",
        "Users": "#create-token",
        "Health": "#doctor",
    }
    expect(page.locator(shown["Models"])).to_be_visible()
    for title, field in shown.items():
        page.click(f".config-pages button:text-is('{title}')")
        expect(page.locator(".config-pages [aria-current]")).to_have_text(title)
        for other in shown.values():
            expect(page.locator(other)).to_be_visible(visible=other == field)
    assert window.complaints == []


def test_a_table_on_a_phone_is_a_card_a_row(opener: Opener) -> None:
    served = opener.serve()
    write(served.studio.settings.current.models_dir / "loras" / "fur.safetensors", lora(TENSOR))
    served.studio.store.refresh()
    window = opener.open_window(served, viewport={"width": 390, "height": 844})
    page = window.open()
    window.tab("Configurations")
    cell = page.locator("#models-table td[data-label=Kind]").first
    expect(cell).to_have_text("LoRA")
    assert cell.evaluate("node => getComputedStyle(node, '::before').content") == '"Kind"'
    expect(page.locator("#models-table th").first).to_be_hidden()
    assert cell.evaluate("node => node.getBoundingClientRect().right") <= 390


def test_seeds_of_one_model_are_compared_and_stopped(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    window.tab("Compare")
    expect(page.locator("#compare-result")).to_contain_text("Only one model can be used here, Fake")
    expect(page.locator("#compare-stop")).to_be_disabled()
    page.click("#compare-kind label:has-text('Seeds')")
    expect(page.locator("#compare-models")).to_be_hidden()
    page.fill("#compare-prompt textarea", "a fox")
    page.fill("#compare-values textarea", "5-7")
    expect(page.locator("#compare-cost")).to_contain_text("Free")
    page.click("#compare")
    expect(page.locator("#compare-result img")).to_have_count(3)
    expect(page.locator("#compare-result figcaption b")).to_have_text(["Seed: 5", "Seed: 6", "Seed: 7"])
    assert [seeds[0].seed for _, seeds in served.backend.seen] == [5, 6, 7]
    expect(page.locator("#compare-stop")).to_be_disabled()  # the last image comes before the comparison has ended
    page.click("#compare-kind label:has-text('Settings')")
    page.fill("#compare-values textarea", "2")
    page.click("#compare")
    expect(page.get_by_text("Too few settings")).to_be_visible()
    assert window.complaints == []


def test_stop_ends_a_comparison(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    window.tab("Compare")
    page.click("#compare-kind label:has-text('Seeds')")
    page.fill("#compare-prompt textarea", "a fox")
    page.fill("#compare-values textarea", "1, 2")
    page.click("#compare")
    page.click("#compare-stop:not([disabled])")
    window.wait_for(lambda: all(job.stop_reason for job in served.studio.engine.jobs(LOCAL_USER)))
    served.backend.release(20)
    expect(page.locator("#compare-stop")).to_be_disabled()
    expect(page.locator("#compare-result img")).to_have_count(0)


def test_the_button_of_extras_says_what_it_does(opener: Opener) -> None:
    page = (window := opener.open_window(opener.serve(FAKE_MODEL))).open()
    window.tab("Extras")
    button = page.locator("#ext-generate")
    expect(button).to_have_text("Upscale")
    page.check(".ticks label:has-text('Finish') input")
    expect(button).to_have_text("Run 2 steps")
    page.uncheck(".ticks label:has-text('Upscale') input")
    expect(button).to_have_text("Finish")
