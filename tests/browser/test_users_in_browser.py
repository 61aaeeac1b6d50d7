from __future__ import annotations

import pytest
from opening import Opener
from playwright.sync_api import expect
from serving import PASSWORDS

pytestmark = pytest.mark.browser


def test_a_member_logs_in_and_sees_the_own_logins_alone(opener: Opener) -> None:
    served = opener.serve(users=True)
    window = opener.open_window(served)
    page = window.page
    page.goto(served.url)
    page.fill("input[name=username]", "bob")
    page.fill("input[name=password]", PASSWORDS["bob"])
    page.keyboard.press("Enter")
    window.ready()
    window.tab("Configurations")
    panel = page.locator("#users-panel")
    expect(panel.get_by_text("this one")).to_be_visible()
    expect(panel.get_by_text("Add user")).to_be_hidden()
    assert window.complaints == []
