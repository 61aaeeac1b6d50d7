"""What the page's own scripts and styles expect of Gradio's page; studio/assets/js/common/gradio_dom.js and
studio/assets/css/gradio.css name it all. An upgrade of Gradio that changes any of it fails here."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import gradio as gr
import httpx
import pytest
from fakes import DEADLINE, FAKE_MODEL
from opening import Opener
from playwright.sync_api import Page, Route, expect

import studio
from studio.core.model import Feature
from studio.page import read_own_styles
from studio.serving.page_styles import scope_styles

pytestmark = pytest.mark.browser

STYLES = Path(studio.__file__).parent / "assets" / "css" / "gradio.css"
TABS = ("Txt2Img", "Img2Img", "Extras", "Social Optimizer", "Library", "Compare", "Configurations", "Home")
STATES = (".toast", ":focus-visible", ".hide", ".seed-field")  # of a moment, or with a test of their own
LOOK = """selector => { const style = getComputedStyle(document.querySelector(selector));
  return [style.backgroundColor, style.borderRadius, style.borderLeftWidth, style.boxShadow]; }"""
OPEN = """() => {
  const all = [...document.querySelectorAll("button.label-wrap:not(.open)")];
  const closed = all.filter((button) => button.offsetParent);
  closed.forEach((button) => button.click());
  return closed.length;
}"""
COMPARE_SELECTORS = """async ([styles, version, ours]) => {
  const core = document.querySelector("link[rel=modulepreload][href*='/core-']").href;
  const scope = Object.values(await import(core)).find(
    (each) => typeof each === "function" && String(each).includes(".contain "),
  );
  const describe = (rule) => [rule.selectorText ?? rule.conditionText, list(rule.cssRules ?? [])];
  const list = (rules) => [...rules].map(describe);
  const read = (text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return list(sheet.cssRules);
  };
  return [read(scope(styles, version)), read(ours)];
}"""
FIND = "selectors => selectors.filter((selector) => document.querySelector(selector))"


def read_rules() -> list[tuple[list[str], list[str]]]:
    """The selectors and the custom properties of every rule in gradio.css, those in media queries too."""
    text = re.sub(r"/\*.*?\*/", "", STYLES.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"([^{}]+)\{([^{}]*)\}", text)
    return [(split_selectors(head), re.findall(r"(--[\w-]+)\s*:", body)) for head, body in found]


def split_selectors(head: str) -> list[str]:
    """Split at commas that stand outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", head)]


def open_accordions(page: Page) -> None:
    for _ in range(3):  # one may hold another
        if not page.evaluate(OPEN):
            return
        page.wait_for_timeout(500)


def test_every_selector_of_the_styles_finds_something(opener: Opener) -> None:
    window = opener.open_window(opener.serve_social())
    page = window.open()
    page.click("#generate")
    window.wait_for_status("finished")  # below a result stand buttons of its own
    selectors = {each for selectors, _ in read_rules() for each in selectors}
    missing = {each for each in selectors if not any(state in each for state in STATES)}
    assert len(missing) > 20
    for tab in TABS:
        window.tab(tab)
        expect(page.locator("button[role=tab][aria-selected=true]").first).to_contain_text(tab)
        if tab == "Extras":
            for box in page.locator(".ticks input").all():
                box.check()
        open_accordions(page)
        missing -= set(page.evaluate(FIND, sorted(missing)))
    assert missing == set()


def test_our_styles_have_the_selectors_that_gradio_would_give_them(opener: Opener) -> None:
    """The selectors alone: of `border` with a variable in it Gradio would leave nothing."""
    page = opener.open_window(opener.share()).open()
    styles, version = read_own_styles(), gr.__version__
    theirs, ours = page.evaluate(COMPARE_SELECTORS, [styles, version.replace(".", "-"), scope_styles(styles, version)])
    assert len(ours) > 500
    assert ours == theirs
    assert page.locator(f".gradio-container.gradio-container-{version.replace('.', '-')} .contain").count() == 1


def test_every_variable_that_the_styles_set_is_one_of_gradio(opener: Opener) -> None:
    served = opener.share()
    config = httpx.get(served.url + "/config").json()
    theme = httpx.get(f"{served.url}/theme.css?v={config['theme_hash']}").text
    wanted = {name for _, names in read_rules() for name in names}
    assert len(wanted) > 30
    assert {name for name in wanted if f"{name}:" not in theme.replace(" ", "")} == set()


def test_a_field_that_the_model_lacks_is_gone_or_marked_as_hidden(opener: Opener) -> None:
    model = dataclasses.replace(FAKE_MODEL, features=FAKE_MODEL.features - {Feature.SEED})
    page = opener.open_window(opener.serve(model)).open()
    expect(page.locator(".seeds:not(:has(.seed-field)), .seeds:has(.seed-field.hide)")).to_have_count(1)


def test_our_toasts_stand_below_those_of_gradio(opener: Opener, tmp_path: Path) -> None:
    window = opener.open_window(opener.share())
    page = window.open()
    window.tab("Img2Img")
    page.click("#i2i-generate")
    theirs = page.locator(".toast-wrap [data-testid=toast-body].error")
    expect(theirs).to_be_visible()
    (tmp_path / "text.png").write_text("not an image")
    page.set_input_files("#i2i-source input[type=file]", tmp_path / "text.png")
    ours = page.locator(".toast")
    expect(ours).to_contain_text("Unusable image")
    above, below = theirs.bounding_box(), ours.bounding_box()
    assert above is not None
    assert below is not None
    assert below["y"] >= above["y"] + above["height"]
    assert [page.evaluate(LOOK, each) for each in (".toast", ".toast-body")] == [page.evaluate(LOOK, ".toast")] * 2


def test_an_open_list_is_a_listbox_that_escape_closes(opener: Opener) -> None:
    page = opener.open_window(opener.share()).open()
    page.click("#sampler input")
    expect(page.locator("ul[role=listbox]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("ul[role=listbox]")).to_have_count(0)


def test_what_a_script_types_reaches_the_server(opener: Opener) -> None:
    page = opener.open_window(opener.share_social()).open()
    page.click("#templates > button")
    page.locator("#template-cards [data-template]").first.click()
    expect(page.locator("#template-about dl")).to_be_visible()


def test_scripts_open_a_tab_and_an_accordion(opener: Opener) -> None:
    page = opener.open_window(opener.share_social()).open()
    page.click(".brand")
    page.click("section[aria-label='Templates'] .chip >> nth=0")
    expect(page.locator("button[role=tab][aria-selected=true]").first).to_contain_text("Txt2Img")
    expect(page.locator("#template-about dl")).to_be_visible(timeout=DEADLINE * 1000)


def test_a_number_counts_while_its_field_still_has_the_focus(opener: Opener) -> None:
    served = opener.serve()
    window = opener.open_window(served)
    page = window.open()
    page.fill("#width input", "96")
    page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")
    assert served.backend.seen[0][0].width == 96


def test_gradio_marks_the_dark_theme_at_the_body(opener: Opener) -> None:
    page = opener.open_window(opener.share(), color_scheme="dark").open()
    page.wait_for_function("document.body.classList.contains('dark')")
    text = "getComputedStyle(document.body).getPropertyValue('--body-text-color').trim()"
    dark = page.evaluate(text)
    page.click("#theme-toggle")
    assert page.evaluate(text) != dark


def test_tabs_that_do_not_fit_are_in_a_menu(opener: Opener) -> None:
    page = opener.open_window(opener.share(), viewport={"width": 390, "height": 844}).open()
    page.click("[aria-label='More tabs']")
    expect(page.locator(".overflow-dropdown button").first).to_be_visible()


def test_scripts_that_ran_before_the_modules_are_made_up_for(opener: Opener) -> None:
    """Gradio runs the scripts of components and events whether or not ours have loaded."""
    window = opener.open_window(opener.share())
    page = window.page
    held: list[Route] = []
    page.route("**/page/assets/*/main.js", lambda route: held.append(route))
    page.goto(window.served.url, wait_until="commit")  # the load event waits for the script
    page.wait_for_selector("#generate")
    window.wait_for(lambda: held)
    assert page.evaluate("window.easel.restored") is False
    held[0].continue_()
    window.ready()
    page.click("button[role=tab]:has-text('Img2Img')")
    expect(page.locator("#i2i-source .pad-drop")).to_be_visible()
    assert window.complaints == []


def test_every_file_that_the_page_loads_at_first_is_named_in_its_head(opener: Opener) -> None:
    served = opener.share()
    page = opener.open_window(served).open()
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).pathname)")
    html = httpx.get(served.url).text
    named = set(re.findall(r'"(?:\./)?assets/([^"]+)"', html))
    shown = {f"/assets/{name}" for name in re.findall(r'disabled href="assets/([^"]+)"', html)}
    assert len(named) > 40
    assert len(shown) > 10
    assert {path.removeprefix("/assets/") for path in loaded if path.startswith("/assets/")} <= named
    assert not [path for path in loaded if path.endswith(".css") and path in shown], "they come in one file"
    assert "/theme.css" not in loaded, "its text is in that file too"
    assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--body-text-color')")


def test_the_modules_come_once_one_can_type_and_keep_what_was_typed_before(opener: Opener) -> None:
    window = opener.open_window(opener.share())
    page = window.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    held: dict[str, list[Route]] = {"Blocks": [], "main": []}
    page.route("**/assets/Blocks-*.js", lambda route: held["Blocks"].append(route))
    page.route("**/page/assets/*/main.js", lambda route: held["main"].append(route))
    page.goto(window.served.url, wait_until="commit")
    window.wait_for(lambda: held["Blocks"])
    assert not [url for url in asked if "/page/assets/" in url and url.endswith(".js")]
    for route in held["Blocks"]:
        route.continue_()
    page.fill("#prompt textarea", "a boat")
    window.wait_for(lambda: held["main"])
    held["main"][0].continue_()
    window.ready()
    expect(page.locator("#prompt textarea")).to_have_value("a boat")
    assert window.complaints == []
