"""Messages in other languages: found with names and numbers in them, and complete in every language."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from access import find_blocks
from serving import RunningStudio, serve_studio
from test_page import store

from studio.core.errors import InvalidRequest
from studio.core.events import Snapshot, Status
from studio.core.settings import ENGLISH, LANGUAGES
from studio.page import mount
from studio.tabs.common.events import make_toast, show_errors
from studio.tabs.common.form_warnings import FormWarning
from studio.tabs.common.languages import (
    FOLDER,
    MESSAGES,
    Catalog,
    Languages,
    read_messages,
    translate_message,
    use_texts,
)
from studio.tabs.common.message_texts import MAX_CHARS, MessageTexts
from studio.tabs.common.result_panel import format_status
from studio.tabs.common.translated_page import translate_html
from tools.message_templates import GAP_WORDS, STATUS_LINES, list_messages

CODES = tuple(code for code in LANGUAGES if code != ENGLISH)
COVERED = 0.95  # of all messages, in every language
GAP = re.compile(r"\{\d+\}")
MESSAGES_DE = {
    "The mask is empty.": "Die Maske ist leer.",
    "Paint over the area to change.": "Übermale den Bereich.",
    "There is no LoRA “{1}”.": "Es gibt kein LoRA „{1}“.",
    "{1} is out of range.": "{1} ist außerhalb des Bereichs.",
    "The mask is {1}×{2}, the image {3}×{4}.": "Das Bild ist {3}×{4}, die Maske {1}×{2}.",
    "Step {1} of {2}": "Schritt {1} von {2}",
    "about {1} s left": "noch etwa {1} s",
    "Use {1}": "Nimm {1}",
    "There is no {1} {2}.": "{1} {2} gibt es nicht.",
    "Not composed, because of: {1}.": "Nicht zusammengesetzt, wegen: {1}.",
    "hires pass": "Hires-Durchgang",
    "tiling": "Kachelbarkeit",
    "upscaler": "Upscaler",
}
GERMAN = Catalog({"Steps": "Schritte"}, MESSAGES_DE)


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages()


@pytest.fixture(scope="module")
def messages() -> dict[str, set[str]]:
    return list_messages()


def say(text: str) -> str:
    with use_texts(GERMAN):
        return translate_message(text)


def test_what_stands_in_gaps_comes_into_the_other_language() -> None:
    assert say("There is no LoRA “neon {1} (v2)”.") == "Es gibt kein LoRA „neon {1} (v2)“."
    assert say("The mask is 64×32, the image 8×16.") == "Das Bild ist 8×16, die Maske 64×32."
    assert say("The mask is empty.") == "Die Maske ist leer."
    assert say("The mask is full.") == "The mask is full."
    assert say("") == ""


def test_names_of_fields_in_gaps_are_looked_up_and_quoted_names_are_not() -> None:
    assert say("Steps is out of range.") == "Schritte ist außerhalb des Bereichs."
    assert say("There is no LoRA “Steps”.") == "Es gibt kein LoRA „Steps“."


def test_words_of_the_code_in_gaps_are_looked_up_one_by_one() -> None:
    assert say("There is no upscaler tiling, steps.") == "Upscaler tiling, steps gibt es nicht."
    assert say("Not composed, because of: tiling.") == "Nicht zusammengesetzt, wegen: Kachelbarkeit."
    assert say("Not composed, because of: hires pass, tiling.") == (
        "Nicht zusammengesetzt, wegen: Hires-Durchgang, Kachelbarkeit."
    )
    assert say("Not composed, because of: tiling, a cat.") == "Nicht zusammengesetzt, wegen: tiling, a cat."


@pytest.mark.parametrize("code", CODES)
def test_a_language_has_every_word_that_the_code_fills_into_gaps(code: str) -> None:
    assert set(GAP_WORDS) - read_messages(code).keys() == set()


@pytest.mark.parametrize(
    ("english", "german"),
    [
        (
            "Not composed of single things, because of: reference image, hires pass.",
            "Nicht aus einzelnen Dingen zusammengesetzt, wegen: Referenzbild, Hires-Durchgang.",
        ),
        ("SANA does not support token merging.", "SANA unterstützt Zusammenfassen von Tokens nicht."),
        (
            "The size 2048×2048 is outside what SANA can draw. Sides from 64 to 512 px, at most 0.3 megapixels.",
            "Größe 2048×2048 liegt außerhalb dessen, was SANA zeichnen kann. "
            "Seiten von 64 bis 512 px, höchstens 0.3 Megapixel.",
        ),
        (
            "128 × 128 is far from the 512 × 512 that SANA was trained at; images may lack detail.",
            "128 × 128 ist weit von 512 × 512 entfernt, worauf SANA trainiert wurde; Bildern fehlen womöglich Details.",
        ),
        ("Pick another face restorer.", "Wählen Sie ein anderes: Gesichtsrestaurierer."),
        ("There is not enough graphics memory for this image.", "Für dieses Bild ist nicht genug da: Grafikspeicher."),
        ("Too many areas; the limit is 8.", "Zu viele Bereiche; die Grenze ist 8."),
        ("This token may not make images.", "Dieses Token darf nicht: Bilder machen."),
    ],
)
def test_messages_with_words_of_the_code_are_wholly_german(languages: Languages, english: str, german: str) -> None:
    with use_texts(languages.get_texts("de")):
        assert translate_message(english) == german


def test_lines_and_sentences_are_looked_up_part_by_part() -> None:
    assert say("Step 3 of 20 · about 5 s left") == "Schritt 3 von 20 · noch etwa 5 s"
    assert say("The mask is empty. Paint over the area to change.") == "Die Maske ist leer. Übermale den Bereich."
    assert say("The mask is empty. Nobody knows why.") == "Die Maske ist leer. Nobody knows why."


def test_the_message_with_the_most_words_of_its_own_counts() -> None:
    found = MessageTexts({"{1} is empty.": "leer: {1}", "The trash of {1} is empty.": "Papierkorb von {1} leer"})
    assert found.translate("The trash of ann is empty.") == "Papierkorb von ann leer"
    assert found.translate("The box is empty.") == "leer: The box"


def test_in_english_and_without_messages_nothing_changes() -> None:
    assert translate_message("The mask is empty.") == "The mask is empty."
    with use_texts({"Steps": "Schritte"}):
        assert translate_message("The mask is empty.") == "The mask is empty."


@pytest.mark.parametrize("text", ["a" * (MAX_CHARS + 1), " · " * 190, ". A" * 190, "{1}" * 100, "There is no " * 49])
def test_texts_of_users_are_left_in_peace(text: str) -> None:
    assert say(text) == text


def test_an_error_is_shown_in_the_language_and_stays_english_in_the_api() -> None:
    error = InvalidRequest("The mask is empty.", hint="Paint over the area to change.")
    with use_texts(GERMAN):
        toast = make_toast(error)
    assert toast.message == "Die Maske ist leer. Übermale den Bereich."
    assert error.to_json()["error"] == "The mask is empty."


def test_a_handler_raises_its_error_in_the_language() -> None:
    @show_errors
    def fail() -> None:
        raise InvalidRequest("There is no LoRA “neon”.")

    with use_texts(GERMAN), pytest.raises(gr.Error) as raised:
        fail()
    assert raised.value.message == "Es gibt kein LoRA „neon“."


def test_html_and_warnings_are_shown_in_the_language() -> None:
    with use_texts(GERMAN):
        assert translate_html("<li>There is no LoRA “&lt;b&gt;”.</li>") == "<li>Es gibt kein LoRA „&lt;b&gt;“.</li>"
        shown = FormWarning(text="There is no LoRA “a”.", remedy="Use b", changes={"prompt": "Use b"}).to_json()
    assert shown == {"text": "Es gibt kein LoRA „a“.", "remedy": "Nimm b", "changes": {"prompt": "Use b"}}


@pytest.mark.parametrize("code", CODES)
def test_messages_have_the_gaps_of_the_english_ones(code: str) -> None:
    for text, shown in read_messages(code).items():
        assert sorted(set(GAP.findall(text))) == sorted(set(GAP.findall(shown))), text
        assert shown.strip() == shown != "", text


@pytest.mark.parametrize("code", CODES)
def test_a_catalog_has_only_messages_of_the_sources(messages: dict[str, set[str]], code: str) -> None:
    known = read_messages(code)
    assert [text for text in known if text not in messages] == []


@pytest.mark.parametrize("code", CODES)
def test_a_language_covers_messages(messages: dict[str, set[str]], code: str) -> None:
    missing = messages.keys() - read_messages(code).keys()
    assert len(messages) > 1000
    assert len(missing) <= (1 - COVERED) * len(messages), sorted(missing)


def test_messages_are_found_as_the_code_writes_them(messages: dict[str, set[str]]) -> None:
    assert "Paint over the area to change." in messages
    assert "The mask is {1}×{2}, the image {3}×{4}." in messages
    assert "Invalid request" in messages, "titles of errors too"
    assert messages["There is no LoRA “{1}”."] == {"tabs/common/form_warnings.py"}


@pytest.mark.parametrize(
    "text",
    [
        "Drawn at {1}×{2} px and enlarged to {3}×{4} px.",
        "The source has {1}×{2} px; it was drawn at {3}×{4} px, the nearest size of {5}.",
        "Made with {1} instead of {2}: {3}",
        "Sides from {1} to {2} px, {3} to {4} megapixels, at most {5}:1.",
        "Skipped {1} images",
        "No hidden mark: {1}",
        "Transparency was laid on {1}: JPEG has none.",
        "The AI marker was kept: this studio writes it always.",
    ],
)
def test_notices_that_functions_return_and_lists_hold_are_messages_too(
    messages: dict[str, set[str]], text: str
) -> None:
    assert text in messages
    assert text in read_messages("de")


def list_states() -> Iterator[Snapshot]:
    queued = [
        Snapshot(status=Status.QUEUED, ahead=ahead, eta=eta) for ahead in (0, 1, 3) for eta in (None, 0.5, 30, 600)
    ]
    loading = [
        Snapshot(status=Status.LOADING, loading=text, loading_since=time.monotonic()) for text in ("", "Loading M")
    ]
    running = Snapshot(status=Status.RUNNING, image=2, images=4, step=3, steps=20, eta=30)
    yield from (*queued, *loading, running, Snapshot(status=Status.FAILED), Snapshot(status=Status.CANCELLED))
    yield Snapshot(status=Status.FINISHED, seconds=1.5)


@pytest.mark.parametrize("code", CODES)
def test_status_lines_are_in_every_language(languages: Languages, code: str) -> None:
    known = read_messages(code)
    assert set(STATUS_LINES) <= known.keys()
    with use_texts(languages.get_texts(code)):
        for state in list_states():
            for part in format_status(state).split(" · "):
                if (part and not part[0].isdigit()) or "image" in part:
                    assert translate_message(part) != part or part.endswith(" images"), part


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("messages")
    with serve_studio(folder, page=mount, models=store(folder / "models"), default_model="fake", users=True) as found:
        yield found


def test_scripts_ask_for_messages_of_the_api_in_the_language(served: RunningStudio, languages: Languages) -> None:
    ann = served.open_client("ann")
    texts = ["Step 3 of 20", "<b>unknown</b>"]
    german = ann.post("page/texts", json={"texts": texts}, headers={"Accept-Language": "de"})
    with use_texts(languages.get_texts("de")):
        assert german.json() == {"texts": [translate_message("Step 3 of 20"), "<b>unknown</b>"]}
    assert german.json()["texts"][0] != texts[0]
    assert ann.post("page/texts", json={"texts": texts}).json() == {"texts": texts}


def test_a_toast_comes_in_the_language_of_whoever_pressed_the_button(served: RunningStudio) -> None:
    number = next(key for key, event in find_blocks(served.app).fns.items() if get_name(event.fn) == "start_merge")
    said = {}
    for code in ("de", "en"):
        client = served.open_client("root", headers={"Accept-Language": code})
        body = {"data": [None] * 8, "fn_index": number, "session_hash": f"toast-{code}"}
        assert client.post("/gradio_api/queue/join", json=body).status_code == 200
        with client.stream("GET", f"/gradio_api/queue/data?session_hash=toast-{code}") as stream:
            said[code] = next(line for line in stream.iter_lines() if "process_completed" in line)
    assert "The merge cannot be read. Choose method" in said["en"]
    assert "Die Mischung " in said["de"]


def get_name(function: Any) -> str:
    return getattr(function, "__name__", "")


@pytest.mark.parametrize(
    "body", [{}, {"texts": "a"}, {"texts": ["a"] * 9}, {"texts": ["a" * 2001]}, {"texts": [1]}, {"texts": [], "x": 1}]
)
def test_what_are_no_messages_is_refused(served: RunningStudio, body: dict[str, object]) -> None:
    assert served.open_client("ann").post("page/texts", json=body).status_code in (400, 422)


def test_nobody_else_asks(served: RunningStudio) -> None:
    assert served.open_client().post("page/texts", json={"texts": ["a"]}).status_code == 401


def test_the_api_says_the_same_in_all_languages(served: RunningStudio) -> None:
    address, body = "/api/image-studio/create", {"prompt": "a", "model": "nothing"}
    answers = [
        served.open_client("ann", headers=headers).post(address, json=body).json()
        for headers in ({}, {"Accept-Language": "de"})
    ]
    assert answers[0] == answers[1]


def test_a_form_is_warned_in_the_language(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    body = {"values": {"model": "gone", "prompt": "a"}}
    plain = ann.post("page/form-check", json=body).json()["warnings"][0]["text"]
    shown = ann.post("page/form-check", json=body, headers={"Accept-Language": "de"}).json()["warnings"][0]["text"]
    assert "gone" in plain
    assert "gone" in shown
    assert plain != shown


def test_the_folder_has_no_other_files() -> None:
    assert {path.stem for path in (FOLDER / MESSAGES).iterdir()} == set(CODES)
