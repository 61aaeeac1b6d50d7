"""Texts that no file, log or database can hold, and data nested too deep, are refused wherever they come in."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBackend, open_engine
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts

from studio.api.responses import PREFIX as API
from studio.core.errors import InvalidRequest, StudioError
from studio.core.finish import TextOverlay
from studio.core.request import Axis, GenerationRequest, LoraUse
from studio.core.settings import Settings
from studio.core.social import SocialExport
from studio.core.task import Task
from studio.core.text_checks import MAX_DEPTH, check_json_depth, check_name
from studio.core.user import LOCAL_USER
from studio.engine.jobs.saved_chains import SavedChains
from studio.library.database import Database
from studio.prompting.styles import load_styles
from studio.tabs.social.social_values import parse_board

BAD = {"half a character": "a\ud800b", "NUL": "a\0b", "vertical tab": "a\x0bb", "delete": "a\x7fb", "C1": "a\x9bb"}


def nest(depth: int) -> dict[str, Any]:
    step: dict[str, Any] = {"task": "finish"}
    for _ in range(depth):
        step = {"task": "finish", "then": [step]}
    return step


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One studio for all: each test is refused."""
    folder = tmp_path_factory.mktemp("served")
    social, _painter, backends = make_social_parts(folder)
    with serve_studio(folder, backend=backends, social=social, default_model="fake") as server:
        yield server


DEEP = MAX_DEPTH + 1
FLAT = {"wide": b"[" + b"[]," * 99 + b"0]", "in a text": b'["' + b"[" * DEEP + b'"]', "at the limit": b"[" * MAX_DEPTH}
NESTED = {
    "lists": b"[" * 50_000,
    "objects": b'{"a":' * DEEP,
    "behind a quote in a text": b'["\\"", ' + b"[" * DEEP,
    "behind a backslash in a text": b'["\\\\", ' + b"[" * DEEP,
}


@pytest.mark.parametrize("text", FLAT.values(), ids=FLAT.keys())
def test_json_that_is_not_deep_may_be_parsed(text: bytes) -> None:
    check_json_depth(text, "body")


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED.keys())
def test_deep_json_is_refused_before_it_is_parsed(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match="nested too deep"):
        check_json_depth(text, "body")


def test_looking_through_a_long_text_takes_no_memory() -> None:
    text = b'["' + b'\\"' * 1_000_000 + b'", ' + b"[]," * 40 + b"0]"
    tracemalloc.start()
    try:
        check_json_depth(text, "body")
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"prompt": text},
        lambda text: {"sampler": text},
        lambda text: {"fallbacks": [text]},
        lambda text: {"loras": [{"name": text, "weight": 1.0}]},
        lambda text: {"then": [{"task": "finish", "prompt": text}]},
        lambda text: {"social": {"formats": ["x.y"], "text": [{"text": text}]}},
        lambda text: {"axes": [{"parameter": "prompt", "values": [text]}]},
    ],
)
def test_every_text_of_a_request_is_checked(place: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"U\+") as refused:
        GenerationRequest.from_json(place(text))
    assert refused.value.hint


def test_line_breaks_tabs_and_all_scripts_belong_to_a_prompt() -> None:
    text = "a\tcat\r\nüber 猫 👩‍👩‍👧 العربية"
    assert GenerationRequest.from_json({"prompt": text}).prompt == text


def test_what_an_earlier_version_let_in_is_still_read_from_disk() -> None:
    old = {"prompt": "a\x0b cat\ud800", "then": [{"task": "finish", "negative_prompt": "b\x7f"}]}
    found = GenerationRequest.from_stored_json(old)
    assert (found.prompt, found.then[0].negative_prompt) == ("a cat", "b")


@pytest.mark.parametrize(
    "made",
    [
        GenerationRequest(prompt="a\x0bb"),
        GenerationRequest(prompt="a", loras=(LoraUse(name="a\x7f"),)),
        GenerationRequest(prompt="a", axes=(Axis(parameter="prompt", values=("a", "a\ud800")),)),
        GenerationRequest(
            prompt="a",
            then=(
                GenerationRequest(
                    task=Task.SOCIAL, social=SocialExport(formats=("x.y",), text=(TextOverlay(text="a\x1bb"),))
                ),
            ),
        ),
    ],
)
def test_a_request_that_was_never_json_is_checked_before_it_waits(tmp_path: Path, made: GenerationRequest) -> None:
    engine = open_engine(tmp_path, FakeBackend())
    try:
        with pytest.raises(InvalidRequest, match=r"U\+"):
            engine.submit(made, LOCAL_USER)
    finally:
        engine.close()


@pytest.mark.parametrize("depth", [MAX_DEPTH, 120, 300, 5_000])
def test_data_nested_too_deep_is_refused_before_it_is_followed(depth: int) -> None:
    with pytest.raises(InvalidRequest, match="nested too deep"):
        GenerationRequest.from_json(nest(depth))
    with pytest.raises(InvalidRequest, match="nested too deep"):
        GenerationRequest.from_stored_json(nest(depth))


@pytest.mark.parametrize("depth", [40, 160, 300])
@pytest.mark.parametrize("route", ["create", "edit", "optimize", "chain"])
def test_deep_json_is_a_refusal_on_every_route(served: RunningStudio, depth: int, route: str) -> None:
    client = served.open_client()
    deep = nest(depth)
    answer = {
        "create": lambda: client.post(f"{API}/create", json={"prompt": "x", "then": [deep]}),
        "edit": lambda: client.post(f"{API}/edit", json={"operation": "img2img", "image": "x", "control": [deep]}),
        "optimize": lambda: client.post(
            f"{API}/social/optimize", json={"image": "x", "formats": ["a.b"], "text": [deep]}
        ),
        "chain": lambda: client.put(f"{API}/chains/x", json={"steps": [deep]}),
    }[route]()
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert answer.json()["details"]["hint"]


def test_deep_json_in_a_field_of_the_page_or_a_file_is_a_refusal_too(tmp_path: Path) -> None:
    deep = "[" * 5_000 + "]" * 5_000
    with pytest.raises(InvalidRequest, match="crops"):
        parse_board(deep)
    (tmp_path / "styles.json").write_text(deep)
    with pytest.raises(InvalidRequest, match="styles"):
        load_styles(tmp_path / "styles.json")


def test_a_wrong_value_of_great_depth_is_echoed_shortly(served: RunningStudio) -> None:
    deep: Any = []
    for _ in range(700):
        deep = [deep]
    answer = served.open_client().post(f"{API}/create", json={"prompt": deep})
    assert answer.status_code == 400
    assert len(answer.json()["error"]) < 300


@pytest.mark.parametrize("text", ["a\\ud800b", "a\\u007fb", "a\\u000bb"])
def test_texts_of_the_http_api_are_checked_at_every_depth(served: RunningStudio, text: str) -> None:
    client, kind = served.open_client(), {"content-type": "application/json"}
    bodies = [
        ("create", f'{{"prompt": "{text}"}}'),
        ("create", f'{{"prompt": "x", "then": [{{"task": "finish", "prompt": "{text}"}}]}}'),
        ("create", f'{{"prompt": "x", "social": {{"formats": ["instagram.story"], "text": [{{"text": "{text}"}}]}}}}'),
        ("templates", f'{{"name": "{text}", "format": "instagram.story"}}'),
    ]
    for route, body in bodies:
        answer = client.post(f"{API}/{route}", content=body, headers=kind)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), body


@pytest.mark.parametrize("name", ["a\x7fb", "a\ud800b", "a\x9bb"])
def test_names_hold_no_control_characters(tmp_path: Path, name: str) -> None:
    chains = SavedChains(Database(tmp_path / "library.db"))
    with pytest.raises(StudioError, match=r"U\+"):
        chains.save("ann", name, [GenerationRequest(task=Task.FINISH)])
    with pytest.raises(InvalidRequest, match=r"U\+"):
        Settings(comfyui_checkpoint=name)


def test_a_name_is_one_line() -> None:
    assert check_name("Summer – été 夏", "x") == "Summer – été 夏"
    for name in ("a\nb", "a\tb", "a\u2028b"):
        with pytest.raises(InvalidRequest):
            check_name(name, "x")
