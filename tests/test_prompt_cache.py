"""Prompts that are encoded once for consecutive jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.request import LoraUse
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.local_backend import LocalPipelines
from studio.pipelines.run.prompt_cache import PromptCache, cache_encoding
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.test_lora import make_lora
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("checkpoints")
    tiny = make_tiny_sd15(root / "tiny")
    lora = make_lora(tiny, root / "tiny-lora.safetensors")
    others = [WeightFile(name="tiny-lora", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")]
    return FolderCatalog({"tiny": tiny}, tuple(others))


@pytest.fixture
def backend(tmp_path: Path, catalog: FolderCatalog) -> Iterator[LocalPipelines]:
    made, _ = make_local_pipelines(tmp_path, catalog)
    yield made
    made.close()


def draw(backend: LocalPipelines, **changes: Any) -> np.ndarray:
    ctx = RecordingContext(backend._settings())
    return np.asarray(backend.render(make_request(**changes), make_seeds(1), ctx)[0].image)


def count_calls(backend: LocalPipelines) -> list[int]:
    """One entry for every call of the text encoder from now on."""
    calls: list[int] = []
    encoder = backend._registry.get_resident("tiny").pipe.text_encoder
    encoder.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_the_same_words_are_encoded_once(backend: LocalPipelines) -> None:
    first = draw(backend, prompt="a red apple", negative_prompt="blurry")
    calls = count_calls(backend)
    assert (draw(backend, prompt="a red apple", negative_prompt="blurry") == first).all()
    assert calls == []
    draw(backend, prompt="a (red:1.3) apple", negative_prompt="blurry")
    assert calls == [], "weights act on what was encoded"
    draw(backend, prompt="a green apple", negative_prompt="blurry")
    assert len(calls) == 1
    draw(backend, prompt="a green apple", negative_prompt="blurry", clip_skip=2)
    assert len(calls) == 3, "other layers are read again"


def test_other_loras_are_other_words(backend: LocalPipelines) -> None:
    plain = draw(backend)
    calls = count_calls(backend)
    draw(backend, loras=(LoraUse(name="tiny-lora", weight=1.0),))
    assert len(calls) == 2
    assert (draw(backend) == plain).all()
    assert len(calls) == 4


def test_the_least_recently_used_text_leaves() -> None:
    cache, made = PromptCache(limit=2), []

    def get(key: str) -> None:
        cache.get(key, lambda: made.append(key))

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]
    cache.keep_for("another state")
    get("a")
    assert made[-1] == "a"


def test_any_pipeline_encodes_a_prompt_once() -> None:
    import torch

    class Pipe:
        calls = 0

        def encode_prompt(self, prompt: Any = None, prompt_embeds: Any = None, images: int = 1) -> Any:
            self.calls += 1
            return torch.full((images, 2), float(len(prompt or "")))

    cache, first, second = PromptCache(), Pipe(), Pipe()
    for pipe in (first, second):
        cache_encoding(pipe, cache)
    assert first.encode_prompt("word", images=2) is second.encode_prompt("word", images=2)
    assert (first.calls, second.calls) == (1, 0)
    second.encode_prompt("word", images=3)
    second.encode_prompt(prompt_embeds=torch.zeros(1))
    second.encode_prompt(prompt_embeds=torch.zeros(1))
    assert second.calls == 3
    cache_encoding(object(), cache)  # one without a text encoder
