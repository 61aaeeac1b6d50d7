"""The languages of the page: their catalogs, the choice of one, and what a visitor is sent in it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from page_studio import build_real_page
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts
from test_page import store
from test_page_weight import find_event, open_tab, read_page

from studio.core.settings import BROWSER_LANGUAGE, ENGLISH, LANGUAGES
from studio.page import mount
from studio.serving.page_language import PageLanguage, select_script_texts
from studio.tabs.common.languages import Languages, parse_accepted, translate, use_texts
from studio.tabs.common.translated_page import translate_components, translate_html, translate_label, translate_page
from tools.language_table import NAMES, PAGE, list_names, list_script_texts, list_texts

ROOT = Path(__file__).parent.parent
CODES = tuple(code for code in LANGUAGES if code != ENGLISH)
COVERED = 0.95  # of the labels and buttons, and of the texts of scripts, in every language
MOST_BYTES = 4_096  # that a page in another language may be larger, compressed
PLACEHOLDER = re.compile(r"\{\w+\}")
TEXTS = {
    "Steps": "Schritte",
    "Fast": "Schnell",
    "Generate": "Generieren",
    'Needs "this" & that': "Braucht „dies“ & das",
    "Unit {number}": "Einheit {number}",
    "Takes effect after a restart.": "Gilt nach einem Neustart.",
    "Port.": "Anschluss.",
    "Drop it": "Ablegen",
}


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages()


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All components of the page, as Gradio describes them."""
    found: Any = build_real_page(tmp_path_factory.mktemp("page")).get_config_file()
    return found["components"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("studio")
    social, _, backends = make_social_parts(folder)
    with serve_studio(
        folder, page=mount, backend=backends, social=social, models=store(folder / "models"), default_model="fake"
    ) as served:
        yield served


def describe(kind: str, **props: Any) -> dict[str, Any]:
    return {"components": [{"id": 1, "type": kind, "props": props}]}


def translate_described(kind: str, **props: Any) -> dict[str, Any]:
    with use_texts(TEXTS):
        return translate_components(describe(kind, **props))["components"][0]["props"]


def test_every_language_of_the_setting_has_a_catalog_and_a_name(languages: Languages) -> None:
    assert set(languages.codes) == set(CODES)
    assert set(NAMES) == set(LANGUAGES)


@pytest.mark.parametrize("code", CODES)
def test_a_catalog_has_only_texts_of_the_page(
    languages: Languages, components: list[dict[str, Any]], code: str
) -> None:
    files = [*(ROOT / "studio").rglob("*.py"), *(ROOT / "studio" / "assets" / "js").rglob("*.js")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
    known = list_texts(components)
    unknown = [
        text
        for text in languages.get_texts(code)
        if text not in known and not any(form.format(text) in sources for form in ('"{}"', ">{}<", '"{}<'))
    ]
    assert unknown == []


@pytest.mark.parametrize("code", CODES)
def test_a_translation_has_the_placeholders_of_its_text(languages: Languages, code: str) -> None:
    for text, shown in languages.get_texts(code).items():
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(shown)), text
        assert shown.strip() == shown != "", text


@pytest.mark.parametrize("code", CODES)
def test_a_language_covers_labels_and_buttons(
    languages: Languages, components: list[dict[str, Any]], code: str
) -> None:
    names = list_names(components)
    missing = names - languages.get_texts(code).keys()
    assert len(names) > 300
    assert len(missing) <= (1 - COVERED) * len(names), sorted(missing)


@pytest.mark.parametrize("code", CODES)
def test_a_language_covers_the_texts_of_scripts(languages: Languages, code: str) -> None:
    wanted = list_script_texts()
    missing = wanted - languages.get_texts(code).keys()
    assert len(wanted) > 300
    assert len(missing) <= (1 - COVERED) * len(wanted), sorted(missing)


def test_the_table_of_the_docs_names_every_language() -> None:
    table = PAGE.read_text(encoding="utf-8")
    assert [name for name in NAMES.values() if f"| {name}" not in table] == []


def test_scripts_look_up_what_they_show() -> None:
    found = list_script_texts()
    assert {"Empty trash", "Loading …", "{count} images"} <= found


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", ENGLISH),
        ("nl,fr;q=0.7,de;q=0.8", "de"),
        ("PT-br", "pt"),
        ("zh", "zh-CN"),
        ("zh-Hans-SG,en;q=0.1", "zh-CN"),
        ("zh-TW,en;q=0.5", ENGLISH),
        ("nl", ENGLISH),
        ("", ENGLISH),
        ("de;q=0, fr", "fr"),
        ("de;q=nan, ;;;=,fr;q=0.1", "fr"),
        ("*", ENGLISH),
    ],
)
def test_the_browser_chooses_the_language(languages: Languages, accepted: str, code: str) -> None:
    assert languages.choose(BROWSER_LANGUAGE, accepted) == code


def test_a_setting_chooses_for_everybody(languages: Languages) -> None:
    assert languages.choose("ja", "de") == "ja"
    assert languages.choose(ENGLISH, "de") == ENGLISH


def test_of_a_long_header_only_the_beginning_is_read() -> None:
    assert len(parse_accepted(",".join(f"x{number}" for number in range(10_000)))) == 20


def test_labels_help_and_choices_are_looked_up_and_values_stay() -> None:
    shown = translate_described(
        "radio", label="Steps", info="Port. Takes effect after a restart.", choices=[("Fast", "Fast")], value="Fast"
    )
    assert shown["label"] == "Schritte"
    assert shown["info"] == "Anschluss. Gilt nach einem Neustart."
    assert [list(choice) for choice in shown["choices"]] == [["Schnell", "Fast"]]
    assert shown["value"] == "Fast"


@pytest.mark.parametrize("kind", ["textbox", "dropdown", "number"])
def test_what_a_field_holds_is_never_looked_up(kind: str) -> None:
    assert translate_described(kind, value="Steps")["value"] == "Steps"


def test_a_button_shows_its_text_in_the_language() -> None:
    assert translate_described("button", value="Generate")["value"] == "Generieren"
    assert translate_described("button", value="→ Steps")["value"] == "→ Schritte"


def test_html_is_looked_up_where_it_is_read_and_stays_escaped() -> None:
    with use_texts(TEXTS):
        shown = translate_html('<a title="Steps" href="Steps"> Steps </a><b>Needs &quot;this&quot; &amp; that</b>')
    assert shown == '<a title="Schritte" href="Steps"> Schritte </a><b>Braucht „dies“ &amp; das</b>'


def test_the_data_of_a_scripted_field_stays_and_its_label_does_not() -> None:
    script = 'mountField("pad", {}, {"name": "Steps", "label": "Steps", "hint": "Drop it"})'
    shown = translate_described("html", html_template="<div></div>", value="<b>Steps</b>", js_on_load=script)
    assert shown["value"] == "<b>Steps</b>"
    assert shown["js_on_load"] == 'mountField("pad", {}, {"name": "Steps", "label": "Schritte", "hint": "Ablegen"})'


def test_one_translation_serves_all_numbers() -> None:
    with use_texts(TEXTS):
        assert [translate_label(f"Unit {number}") for number in (1, 12)] == ["Einheit 1", "Einheit 12"]
        assert translate_label("LoRA 1") == "LoRA 1"


def test_texts_are_those_of_one_request() -> None:
    with use_texts(TEXTS):
        assert translate("Steps") == "Schritte"
    assert translate("Steps") == "Steps"


def test_without_a_catalog_nothing_changes() -> None:
    described = describe("radio", label="Steps", choices=[("Fast", "Fast")])
    assert translate_components(described) == described


def test_a_page_without_a_description_stays_as_it_is() -> None:
    assert translate_page("<html>Steps</html>", TEXTS) == "<html>Steps</html>"


def test_a_translation_cannot_leave_the_script_that_describes_the_page() -> None:
    page = 'window.gradio_config = {"components":[{"id":1,"type":"tab","props":{"label":"Steps"}}]};</script>'
    shown = translate_page(page, {"Steps": "</script><script>alert('x')</script>"})
    assert shown.count("</script>") == 1
    assert "alert(\\u0027x\\u0027)" in shown


def test_scripts_get_the_texts_that_stand_in_them() -> None:
    texts = {"Steps": "Schritte", "Trash": "Papierkorb", "None": "Keine"}
    assert select_script_texts(texts, 'make("b", {}, "Trash")') == {"Trash": "Papierkorb", "None": "Keine"}


def test_a_language_for_everybody_is_also_gradio_s() -> None:
    def change(wanted: str) -> str:
        return PageLanguage(Languages(), lambda: wanted).change_page({"accept-language": "nl"}, "<head></head>")

    assert change(BROWSER_LANGUAGE) == "<head></head>"
    assert "{value: 'en', configurable: true}" in change(ENGLISH)
    assert "{value: 'ko', configurable: true}" in change("ko")


def get_page(served: RunningStudio, accepted: str) -> httpx.Response:
    return served.open_client(headers={"Accept-Language": accepted}).get("/")


def test_a_visitor_gets_the_page_in_their_language(served: RunningStudio) -> None:
    answer = get_page(served, "de")
    labels = {each["props"].get("label") for each in read_page(answer.text)["components"]}
    assert {"Negativer Prompt", "Bibliothek"} <= labels
    assert "Accept-Language" in answer.headers["Vary"]
    address = re.search(r'src="(page/assets/[^"]+/languages/de\.js)"', answer.text)
    assert address
    script = served.open_client().get("/" + address[1])
    assert '"Empty trash": "Papierkorb leeren"' in script.text
    assert "immutable" in script.headers["Cache-Control"]


def test_the_page_in_english_is_what_it_was(served: RunningStudio) -> None:
    page = get_page(served, "en-GB,en;q=0.9,de;q=0.8").text
    assert page == get_page(served, "nl").text
    assert "languages/" not in page
    assert "Negativer" not in page


@pytest.mark.parametrize("code", CODES)
def test_a_page_in_another_language_is_hardly_larger(served: RunningStudio, code: str) -> None:
    sizes = [len(zlib.compress(get_page(served, each).content, 9)) for each in (ENGLISH, code)]
    assert sizes[1] - sizes[0] <= MOST_BYTES


def test_other_programs_see_english_names_whatever_they_accept(served: RunningStudio) -> None:
    german, plain = served.open_client(headers={"Accept-Language": "de"}), served.open_client()
    get_page(served, "de")
    assert german.get("/gradio_api/info").json() == plain.get("/gradio_api/info").json()
    assert german.get("/config").json()["components"] == plain.get("/config").json()["components"]


def test_a_part_that_comes_later_comes_in_the_language_and_so_do_updates(served: RunningStudio) -> None:
    page = read_page(get_page(served, ENGLISH).text)
    client = served.open_client(headers={"Accept-Language": "de"})
    number = find_event(page, "Extras")
    body = {"data": [], "fn_index": number, "session_hash": "language"}
    sent = client.post("/gradio_api/run/predict", json=body).json()["render_config"]["components"]
    english = open_tab(served, page, "Extras")["components"]
    labels = {each["props"].get("label") for each in sent}
    assert {"Upscaler", "Qualität", "Zielgröße"} <= labels
    values = [[choice[1] for choice in each["props"].get("choices") or ()] for each in sent]
    assert values == [[choice[1] for choice in each["props"].get("choices") or ()] for each in english]
    fields = [each["props"].get("value") for each in sent if each["type"] not in ("button", "html", "markdown")]
    assert fields == [
        each["props"].get("value") for each in english if each["type"] not in ("button", "html", "markdown")
    ]
