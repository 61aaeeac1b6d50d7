"""What a new user stumbles over: a form that is still empty after a reload, errors that stay, and a narrow phone."""

from __future__ import annotations

import pytest
from opening import Opener
from playwright.sync_api import Route, expect

from studio.core.errors import ModelBroken

pytestmark = pytest.mark.browser


def test_a_reload_tells_that_the_form_comes_back(opener: Opener) -> None:
    window = opener.open_window(opener.serve())
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
    window = opener.open_window(opener.serve())
    page = window.page
    page.set_viewport_size({"width": 390, "height": 844})
    window.open()
    room = page.locator("#model input").evaluate("node => parseFloat(getComputedStyle(node).paddingRight)")
    assert room >= 36
