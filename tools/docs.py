"""`make docs`: images of Txt2Img and Configurations, made by the real studio with the embedded model, and the tables of
providers and of request fields."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.startup import start_studio
from tools import field_tables, provider_tables

IMAGES = Path("docs/images")
SIZES = {"1440": (1440, 900), "1024": (1024, 768), "390": (390, 844)}
PROMPT = "a red apple"
TIMEOUT_MS = 180_000  # ms: the first image loads the model
QUALITY = 80


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("No Chromium found: apt install chromium", file=sys.stderr)
        return 1
    provider_tables.main()
    field_tables.main()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with start_studio() as url, sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        _generate_images(browser.new_page(), url)  # loads the model, so that the images show what every later job takes
        for look in ("light", "dark"):
            for name, (width, height) in SIZES.items():
                _capture_tabs(browser, url, f"{name}-{look}", width, height)
        browser.close()
    return 0


def _capture_tabs(browser: Browser, url: str, suffix: str, width: int, height: int) -> None:
    look = "dark" if suffix.endswith("dark") else "light"
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=look)
    _generate_images(page, url)
    _save_screenshot(page, f"txt2img-{suffix}")
    page.click("button[role=tab]:has-text('Configurations')")
    page.wait_for_selector("#models-table table")
    _save_screenshot(page, f"configurations-{suffix}")
    page.close()


def _generate_images(page: Page, url: str) -> None:
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.wait_for_function("window.easel && window.easel.restored")
    page.fill("#prompt textarea", PROMPT)
    page.fill("#count input", "4")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector('.result[data-status="finished"]')
    page.wait_for_load_state("networkidle")


def _save_screenshot(page: Page, name: str) -> None:
    page.evaluate("document.activeElement?.blur()")
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(IMAGES / f"{name}.webp", quality=QUALITY, method=6)
    print(IMAGES / f"{name}.webp")


if __name__ == "__main__":
    sys.exit(main())
