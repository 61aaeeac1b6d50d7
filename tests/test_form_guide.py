"""What the form says of a prompt before Generate: its tokens, and where it is cut when it is very long."""

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


@pytest.fixture
def guide() -> FormGuide:
    weights = [SimpleNamespace(name="vae", kind=WeightKind.VAE, is_folder=False, path=Path())]
    studio: Any = SimpleNamespace(
        engine=SimpleNamespace(models=lambda: (CLIP, OTHER, CLOUD)), store=SimpleNamespace(weights=lambda: weights)
    )
    return FormGuide(studio)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"prompt": "a cat", "seed": 1}, "a dog", {"seed": 2}, {"prompt": ""}]', ["a cat", "a dog"]),
        ('[1, null, ["a cat"], {"prompt": 2}, "a dog"]', ["a dog"]),
        ("7", []),
        ('{"prompt": "a cat"}', []),
        ("[", []),
    ],
)
def test_examples_that_are_none_are_passed_over(tmp_path: Path, content: str, expected: list[str]) -> None:
    (tmp_path / "examples.json").write_text(content, encoding="utf-8")
    weight = SimpleNamespace(name="clip", is_folder=True, path=tmp_path)
    studio: Any = SimpleNamespace(store=SimpleNamespace(weights=lambda: [weight]))
    assert FormGuide(studio).list_examples(CLIP) == expected


def test_tokens_are_counted_where_the_text_encoder_is_clip(guide: FormGuide) -> None:
    assert "<b>75</b>/75" in guide.counts("clip", "cat " * 75, "")
    assert "negative" in guide.counts("clip", "a pear", "snow")
    assert guide.counts("clip", "<lora:ink wash:much>", "") == "", "what is wrong is warned of elsewhere"
    assert guide.counts("other", "a pear", "") == ""
    assert guide.counts("cloud", "a pear", "") == ""


def test_a_long_prompt_is_cut_between_phrases_outside_brackets(guide: FormGuide) -> None:
    fits = "cat " * 75 * MAX_QUIET_CHUNKS
    assert guide.count_chunks(CLIP, fits) == MAX_QUIET_CHUNKS
    assert guide.shorten_prompt(CLIP, fits).split() == fits.split()
    long = "cat, " * 149 + "(a red, wet fox:1.2), the end of it"
    assert guide.count_chunks(CLIP, long) == MAX_QUIET_CHUNKS + 1
    shorter = guide.shorten_prompt(CLIP, long)
    assert long.startswith(shorter)
    assert guide.count_chunks(CLIP, shorter) <= MAX_QUIET_CHUNKS
    assert shorter.count("(") == shorter.count(")")
    assert guide.shorten_prompt(CLIP, "(" + "cat " * 400 + ":1.2)") == ""
    assert guide.count_chunks(OTHER, long) == 0
