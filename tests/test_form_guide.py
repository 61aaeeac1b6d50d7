"""What the form says of a prompt before Generate: its tokens, that it is very long, and LoRAs that are not here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.model import Feature, Model
from studio.core.weights import WeightKind
from studio.tabs.common.form_guide import MAX_QUIET_CHUNKS, FormGuide

CLIP = Model(id="clip", title="CLIP", family="fake", features=frozenset({Feature.PROMPT_SYNTAX, Feature.LORA}))
OTHER = Model(id="other", title="Other", family="fake", features=frozenset({Feature.LORA}))
CLOUD = Model(id="cloud", title="Cloud", family="fake", features=frozenset())
LORAS = ("sd15/Ink Wash", "caf\u00e9")


@pytest.fixture
def guide() -> FormGuide:
    weights = [SimpleNamespace(name=name, kind=WeightKind.LORA, is_folder=False, path=Path()) for name in LORAS]
    weights.append(SimpleNamespace(name="vae", kind=WeightKind.VAE, is_folder=False, path=Path()))
    studio: Any = SimpleNamespace(
        engine=SimpleNamespace(models=lambda: (CLIP, OTHER, CLOUD)), store=SimpleNamespace(weights=lambda: weights)
    )
    return FormGuide(studio)


def test_a_prompt_beyond_four_chunks_is_warned_of(guide: FormGuide) -> None:
    assert "chunks" not in guide.counts("clip", "cat " * 75 * MAX_QUIET_CHUNKS, "")
    assert "takes 5 chunks" in guide.counts("clip", "cat " * (75 * MAX_QUIET_CHUNKS + 1), "")
    assert "takes 5 chunks" in guide.counts("clip", "a pear", "cat " * (75 * MAX_QUIET_CHUNKS + 1))


@pytest.mark.parametrize("model", ["clip", "other"])
def test_a_tag_of_a_lora_that_is_not_here_is_named(guide: FormGuide, model: str) -> None:
    assert "There is no LoRA “foo”." in guide.counts(model, "a pear <lora:foo:0.8> <lora:ink wash>", "")
    assert "There is no LoRA “vae”, “a&amp;b”." in guide.counts(model, "<lora:vae> <lora:a&b:1>", "<lora:vae>")
    assert "not a number" in guide.counts(model, "<lora:ink wash:much>", "")


def test_what_is_here_is_not_warned_of_however_it_is_written(guide: FormGuide) -> None:
    for tag in ("sd15/Ink Wash", "ink wash", "cafe\u0301", "CAF\u00c9"):
        assert "note-bad" not in guide.counts("clip", f"a pear <lora:{tag}:1>", "")
    assert guide.counts("cloud", "a pear <lora:foo:1>", "") == ""
