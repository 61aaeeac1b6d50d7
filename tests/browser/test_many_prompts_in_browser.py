"""Many images at a press: a list of prompts, and generating forever."""

from __future__ import annotations

import pytest
from opening import BrowserWindow, Opener
from playwright.sync_api import expect

from studio.core.events import Status
from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser


def test_every_line_of_a_file_becomes_an_image(opener: Opener) -> None:
    served = opener.share()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "oil painting")
    page.click("#prompt-list button.label-wrap")
    with page.expect_file_chooser() as chooser:
        page.click("#prompt-list-load")
    text = "a pear\n--prompt an apple --seed 9\n"
    chooser.value.set_files({"name": "prompts.txt", "mimeType": "text/plain", "buffer": text.encode()})
    expect(page.locator("#prompt-list-lines textarea")).to_have_value(text)
    page.click("#prompt-list-generate")
    window.wait_for(lambda: len(served.backend.seen) == 2)
    assert sorted(request.prompt for request, _ in served.backend.seen) == [
        "a pear oil painting",
        "an apple oil painting",
    ]
    window.wait_for_status("finished")
    assert window.complaints == []


def stop_first_job(window: BrowserWindow) -> None:
    """Press Stop while a job is drawn, and let the drawing go on once that has arrived."""
    served = window.served
    window.wait_for(lambda: served.backend.seen)
    served.backend.release(1)
    window.wait_for_status("running")
    job = served.studio.engine.job(window.page.get_attribute("#result .result", "data-job") or "", LOCAL_USER)
    window.page.click("#stop")
    window.wait_for(lambda: job.stop_reason)
    served.backend.release(1)


def test_stopping_one_of_a_list_stops_those_behind_it(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    page.click("#prompt-list button.label-wrap")
    page.fill("#prompt-list-lines textarea", "a pear\nan apple\na plum")
    page.click("#prompt-list-generate")
    stop_first_job(window)
    window.wait_for_status("cancelled")
    expect(page.locator("#generate")).to_be_enabled()
    window.wait_for(
        lambda: all(job.stop_reason or job.snapshot.status.is_final for job in served.studio.engine.jobs(LOCAL_USER))
    )
    served.backend.release(100)
    window.wait_for(
        lambda: all(job.snapshot.status is Status.CANCELLED for job in served.studio.engine.jobs(LOCAL_USER))
    )


def test_forever_goes_on_until_it_is_switched_off(opener: Opener) -> None:
    served = opener.share()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a pear")
    forever = page.locator("#prompt-tools button:has-text('Forever')")
    forever.click()
    expect(forever).to_have_attribute("aria-pressed", "true")
    window.wait_for(lambda: len(served.backend.seen) >= 3)
    forever.click()
    expect(forever).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#generate")).to_be_enabled()
    window.wait_for_status("finished")
    assert window.complaints == []


def test_stop_ends_forever(opener: Opener) -> None:
    served = opener.serve(held=True)
    window = opener.open_window(served)
    page = window.open()
    forever = page.locator("#prompt-tools button:has-text('Forever')")
    forever.click()
    stop_first_job(window)
    window.wait_for_status("cancelled")
    expect(forever).to_have_attribute("aria-pressed", "false")
