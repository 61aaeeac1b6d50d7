"""Ten common tasks, each done with as many presses as docs/clicks.md says, and never more than elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from opening import BrowserWindow, Opener
from playwright.sync_api import expect
from serving import RunningStudio
from test_catalog import lora, write
from test_form_in_browser import TENSOR
from test_img2img_in_browser import PAINTER, stroke

pytestmark = pytest.mark.browser

TABLE = Path(__file__).parents[2] / "docs" / "clicks.md"


ADD_EXAMPLE = """() => document.querySelector("#result .welcome").insertAdjacentHTML(
  "beforeend", '<button class="chip" data-prompt="a small boat">a small boat</button>')"""


class Presses:
    """What a user presses in a window; each press is counted."""

    def __init__(self, window: BrowserWindow) -> None:
        self.window, self.page, self.count = window, window.page, 0

    def press(self, selector: str) -> None:
        self.page.locator(f"{selector} >> visible=true").first.click()
        self.count += 1

    def choose(self, field: str, option: str) -> None:
        """Open a list and choose from it."""
        self.press(f"{field} input")
        self.press(f"[role=option]:has-text('{option}')")

    def fill(self, field: str, text: str) -> None:
        """Press into a field and type."""
        self.press(field)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)


def read_table() -> dict[str, list[int | None]]:
    """The presses of each task: here, then in the other programs; None where one cannot do it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.read_text().splitlines()]
    tasks = [row for row in rows if len(row) == 5 and row[1].isdigit()]
    return {name: [int(cell) if cell.isdigit() else None for cell in cells] for name, *cells in tasks}


def draw(window: BrowserWindow, prompt: str = "a pear") -> None:
    """A result to begin with."""
    page = window.page
    page.fill("#prompt textarea", prompt)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result img.shown")).to_have_attribute("alt", f"Generated image: {prompt}")
    window.wait_for_status("finished")


def make_the_first_image(user: Presses) -> None:
    user.page.evaluate(ADD_EXAMPLE)  # the fake has none; the embedded model brings some
    user.press("#result .chip[data-prompt]")
    user.window.wait_for_status("finished")


def use_a_lora(user: Presses) -> None:
    user.fill("#prompt textarea", "a pear")
    user.press("button:has-text('+ LoRA')")
    user.press(".lora-card button:has-text('Add')")
    expect(user.page.locator("#prompt textarea")).to_have_value(re.compile("<lora:neon:"))
    user.press("#generate")
    user.window.wait_for_status("finished")
    assert "<lora:neon:" in user.window.served.backend.seen[-1][0].prompt


def use_hires_fix(user: Presses) -> None:
    user.fill("#prompt textarea", "a pear")
    user.press("#hires-on input")
    user.press("#generate")
    user.window.wait_for_status("finished")
    assert user.window.served.backend.seen[-1][0].hires is not None


def make_four_images(user: Presses) -> None:
    user.fill("#prompt textarea", "a pear")
    user.fill("#count input", "4")
    user.press("#generate")
    expect(user.page.locator("#result .frame")).to_have_count(4)


def use_settings_again(user: Presses) -> None:
    draw(user.window)
    user.page.fill("#prompt textarea", "something else")
    user.press("#use-settings")
    expect(user.page.locator("#prompt textarea")).to_have_value("a pear")


def find_an_old_image(user: Presses) -> None:
    for prompt in ("a pear", "a plum"):
        draw(user.window, prompt)
    user.press("button[role=tab]:has-text('Library')")
    user.page.wait_for_selector("input.lib-search")
    user.page.keyboard.press("/")
    user.page.keyboard.type("pear")
    expect(user.page.locator(".lib-cell[data-id]:visible")).to_have_count(1)
    user.press(".lib-cell")
    user.page.keyboard.press("Enter")
    expect(user.page.locator(".lib-prompt")).to_have_text("a pear")


def inpaint_a_result(user: Presses) -> None:
    draw(user.window)
    user.press("#txt2img-send-inpaint")
    user.page.wait_for_selector("#i2i-mask .paint-sheet canvas")
    stroke(user.page, "#i2i-mask", (0.2, 0.5), (0.8, 0.5))
    user.count += 1
    user.press("#i2i-generate")
    user.page.wait_for_selector('#i2i-result .result[data-status="finished"]')


def upscale_a_result(user: Presses) -> None:
    draw(user.window)
    user.press("#result [data-act=upscale]")
    expect(user.page.locator("#result [data-act=compare]")).to_be_visible()


def make_a_grid(user: Presses) -> None:
    user.fill("#prompt textarea", "a pear")
    user.press("button:has-text('X/Y/Z grid')")
    user.choose("#axis-x", "Steps")
    user.fill("#axis-x-values textarea", "2, 3")
    user.choose("#axis-y", "Seed")
    user.fill("#axis-y-values textarea", "1, 2")
    user.press("#generate")
    expect(user.page.locator("#result .frame")).to_have_count(5)


def make_a_social_set(user: Presses) -> None:
    draw(user.window)
    user.press("#txt2img-send-social")
    user.press("#social-formats .formats-platform > button")
    user.press("#social-export")
    user.page.wait_for_selector("#social-zip")


TASKS: dict[str, Callable[[Presses], None]] = {
    "First image": make_the_first_image,
    "Image with a LoRA": use_a_lora,
    "Image with hires fix": use_hires_fix,
    "Four images": make_four_images,
    "Settings of the shown image again": use_settings_again,
    "Old image, found by a word of its prompt": find_an_old_image,
    "Inpaint a result": inpaint_a_result,
    "Upscale a result": upscale_a_result,
    "2 × 2 grid over two settings": make_a_grid,
    "A result in the sizes of a social platform": make_a_social_set,
}


def serve_painter(opener: Opener) -> RunningStudio:
    """A fake that draws, and a LoRA."""
    write(opener.folder / "models" / "loras" / "neon.safetensors", lora(TENSOR))
    return opener.serve(PAINTER)


SERVERS: dict[str, Callable[[Opener], RunningStudio]] = {  # where what others have drawn, or a fake, is in the way
    "Old image, found by a word of its prompt": serve_painter,
    "Upscale a result": Opener.serve_social,
    "A result in the sizes of a social platform": Opener.serve_formats,
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_as_many_presses_as_the_table_says(opener: Opener, task: str) -> None:
    served = SERVERS[task](opener) if task in SERVERS else opener.share_as("painter", serve_painter)
    window = opener.open_window(served)
    window.open()
    user = Presses(window)
    TASKS[task](user)
    assert user.count == read_table()[task][0]
    assert window.complaints == []


@pytest.mark.parametrize("task", read_table())
def test_no_other_program_needs_fewer_presses(task: str) -> None:
    ours, *others = read_table()[task]
    assert task in TASKS
    assert ours is not None
    assert ours <= min((count for count in others if count is not None), default=ours)
