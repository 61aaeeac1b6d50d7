"""`make docs`: images of every tab, made by the real studio with the embedded model, and the tables of providers and of
request fields."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.startup import start_studio
from tools import field_tables, language_table, provider_tables

IMAGES = Path("docs/images")
SIZES = {"1440": (1440, 900), "1024": (1024, 768), "390": (390, 844)}
LOOKS = ("light", "dark")
TABS = {  # by the name of the image file
    "txt2img": "Txt2Img",
    "img2img": "Img2Img",
    "extras": "Extras",
    "social": "Social Optimizer",
    "prompts": "Prompts",
    "library": "Library",
    "compare": "Compare",
    "configurations": "Configurations",
    "home": "Home",
}
PROMPTS = ("a green pear", "a yellow lemon", "a blue fish", "a red apple")  # the last one is shown in Txt2Img
BRIEF = "An Instagram post for a bakery in Lisbon, autumn, warm light"
TIMEOUT_MS = 180_000  # ms: the first image loads the model
SETTLE_MS = 800  # ms that previews and thumbnails are given
QUALITY = 80
MIN_HEIGHT = 40  # px of something that is worth an image
IS_SHOWN = f"(blocks) => [...document.querySelectorAll(blocks)].some((block) => block.offsetHeight > {MIN_HEIGHT})"


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("No Chromium found: apt install chromium", file=sys.stderr)
        return 1
    provider_tables.main()
    field_tables.main()
    language_table.main()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with start_studio() as url, sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "cat.png"
        _save_photo(photo)
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for look in LOOKS:
            _capture_tabs(browser, url, look, photo)
        browser.close()
    return 0


def _save_photo(path: Path) -> None:
    from skimage import data

    Image.fromarray(data.chelsea()).save(path)


def _capture_tabs(browser: Browser, url: str, look: str, photo: Path) -> None:
    """Every tab at every size, in one window, as its content is the same at all."""
    page = _open_page(browser, url, look)
    for prompt in PROMPTS:
        _generate_images(page, prompt)
    for name, title in TABS.items():
        page.set_viewport_size({"width": 1440, "height": 900})
        page.locator(f"button[role=tab]:has-text('{title}')").first.click()
        page.wait_for_function(IS_SHOWN, arg=f"#tab-{title.lower().replace(' ', '-')} .column > *")
        if name in FILLERS:
            FILLERS[name](page, photo)
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(SETTLE_MS)
            _save_screenshot(page, f"{name}-{size}-{look}")
    page.close()


def _open_page(browser: Browser, url: str, look: str) -> Page:
    """A page that is used for the second time: its hints are closed."""
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark" if look == "dark" else "light")
    closed = json.dumps({"closedHints": [title.lower() for title in TABS.values()]})
    page.add_init_script(f"localStorage.setItem('easel-preferences', {json.dumps(closed)})")
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.wait_for_function("window.easel && window.easel.restored")
    return page


def _generate_images(page: Page, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#count input", "4")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(f'.result[data-status="finished"] img[alt="Generated image: {prompt}"]')


def _fill_img2img(page: Page, photo: Path) -> None:
    page.set_input_files("#i2i-source input[type=file]", photo)


def _fill_extras(page: Page, photo: Path) -> None:
    page.set_input_files("#ext-images input[type=file]", photo)
    page.click("#ext-generate")
    page.wait_for_selector('#ext-result .result[data-status="finished"]')
    page.click("#ext-result button:has-text('Before')")


def _fill_social(page: Page, photo: Path) -> None:
    page.set_input_files("#social-images input[type=file]", photo)
    for platform in ("Instagram", "Pinterest"):
        page.locator(f'#social-formats button[aria-label="All of {platform}"]').click()


def _fill_prompts(page: Page, _: Path) -> None:
    page.locator("#prompts-view textarea").first.fill(BRIEF)


FILLERS: dict[str, Callable[[Page, Path], None]] = {
    "img2img": _fill_img2img,
    "extras": _fill_extras,
    "social": _fill_social,
    "prompts": _fill_prompts,
}
"""What is put into a tab that is empty at first."""


def _save_screenshot(page: Page, name: str) -> None:
    page.evaluate("document.activeElement?.blur()")
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(IMAGES / f"{name}.webp", quality=QUALITY, method=6)
    print(IMAGES / f"{name}.webp")


if __name__ == "__main__":
    sys.exit(main())
