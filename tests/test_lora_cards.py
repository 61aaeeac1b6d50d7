"""LoRAs as cards: the words that files and the notes beside them name, previews through the gate, names that are no
paths."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FAKE_MODEL, FakeBackend
from PIL import Image
from serving import RunningStudio, serve_studio
from test_catalog import lora, write
from test_page import store

from studio.page import mount
from studio.tabs.common.lora_cards import MAX_WORDS, parse_facts

TENSOR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TAGS = json.dumps({"10_cat": {"cat": 40, "fur": 12}, "5_more": {"fur": 50, "": 3}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    loras = folder / "models" / "loras"
    facts = {"modelspec.title": "Neon <b>", "ss_tag_frequency": TAGS}
    write(loras / "styles" / "neon.safetensors", lora(TENSOR), facts)
    write(loras / "plain.safetensors", lora(TENSOR))
    Image.new("RGB", (900, 600), "red").save(loras / "styles" / "neon.preview.png")
    (loras / "plain.png").write_text("no image")
    (loras / "plain.json").write_text('{"activation text": "old paper, sepia", "preferred weight": 0.7}')
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[RunningStudio]:
    local = dataclasses.replace(FAKE_MODEL, family="sd15")
    other = dataclasses.replace(FAKE_MODEL, id="other", family="flux")
    with serve_studio(
        folder,
        page=mount,
        backend=FakeBackend(local, other),
        models=store(folder / "models"),
        default_model="fake",
        users=True,
    ) as served:
        yield served


def get_cards(served: RunningStudio, model: str = "fake") -> dict[str, dict[str, Any]]:
    cards = served.open_client("ann").get("/page/loras", params={"model": model}).json()
    return {card["name"]: card for card in cards}


def test_cards_have_title_words_weight_and_whether_there_is_a_preview(served: RunningStudio) -> None:
    cards = get_cards(served)
    neon, plain = cards["styles/neon"], cards["plain"]
    assert (neon["title"], neon["words"], neon["weight"]) == ("Neon <b>", ["fur", "cat"], 1.0)
    assert neon["preview"] is True
    assert (plain["title"], plain["words"], plain["weight"]) == ("plain", ["old paper", "sepia"], 0.7)


def test_changed_notes_are_read_again(served: RunningStudio, folder: Path) -> None:
    notes = folder / "models" / "loras" / "styles" / "neon.json"
    notes.write_text('{"activation text": "neon sign"}')
    assert get_cards(served)["styles/neon"]["words"] == ["neon sign"]
    notes.unlink()
    assert get_cards(served)["styles/neon"]["words"] == ["fur", "cat"]


def test_a_preview_is_a_small_image_and_a_broken_one_an_error(served: RunningStudio) -> None:
    client = served.open_client("ann")
    answer = client.get("/page/loras/preview", params={"name": "styles/neon"})
    assert answer.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert max(image.size) == 320
    assert client.get("/page/loras/preview", params={"name": "plain"}).status_code == 400


@pytest.mark.parametrize("name", ["", "neon", "../../outputs/library", "styles/../styles/neon", "/etc/passwd", "a\0b"])
def test_names_are_no_paths(served: RunningStudio, name: str) -> None:
    answer = served.open_client("ann").get("/page/loras/preview", params={"name": name})
    assert answer.status_code == 404


def test_cards_are_for_those_who_are_logged_in(served: RunningStudio) -> None:
    stranger = served.open_client()
    for path in ("/page/loras", "/page/loras/preview?name=styles/neon"):
        assert stranger.get(path, follow_redirects=False).status_code in (302, 303, 401)


@pytest.mark.parametrize(
    ("metadata", "notes"),
    [
        ({"ss_tag_frequency": "["}, {}),
        ({"ss_tag_frequency": "[" * 5000}, {}),
        ({"ss_tag_frequency": '{"a": {"b": "many"}}'}, {}),
        ({"ss_tag_frequency": '{"a": [1]}'}, {"activation text": 5, "preferred weight": "1"}),
        ({}, {"preferred weight": True}),
        ({}, {"preferred weight": 1e9}),
    ],
)
def test_facts_that_cannot_be_read_are_left_out(metadata: dict[str, str], notes: dict[str, Any]) -> None:
    facts = parse_facts(metadata, notes)
    assert (facts.words, facts.weight) == ((), 1.0)


def test_of_many_words_the_commonest_are_kept() -> None:
    tags = json.dumps({"a": {f"tag {n}": n for n in range(100)}})
    words = parse_facts({"ss_tag_frequency": tags}, {}).words
    assert words[0] == "tag 99"
    assert len(words) == MAX_WORDS
