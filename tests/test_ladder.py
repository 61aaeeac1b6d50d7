from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from local_models import RecordingContext, make_seeds

from studio.core.errors import OutOfMemory
from studio.core.settings import Settings
from studio.pipelines import device_memory
from studio.pipelines.registry import PipelineKey, PipelineRegistry
from studio.pipelines.run.oom_fallbacks import OomFallbacks

pytestmark = pytest.mark.torch


@pytest.fixture
def registry() -> PipelineRegistry:
    registry = PipelineRegistry(lambda: 1 << 40)
    for name in ("other", "mine"):
        with registry.lease(
            PipelineKey(name, "cuda", "float16"), name, lambda: SimpleNamespace(components={}), expected=1
        ):
            pass
    return registry


def test_the_rungs_are_taken_in_order_and_told(registry: PipelineRegistry, tmp_path: Path) -> None:
    import torch

    ctx = RecordingContext(Settings(models_dir=tmp_path))
    ladder = OomFallbacks(registry, ctx, device="cuda")
    ladder.working = PipelineKey("mine", "cuda", "float16")
    sizes: list[tuple[int, bool]] = []

    def attempt(part: object) -> list[str]:
        sizes.append((len(part), ladder.offloaded))  # type: ignore[arg-type]
        if not ladder.offloaded:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
        return ["picture"] * len(part)  # type: ignore[arg-type]

    assert ladder.run(make_seeds(1, 2), attempt) == ["picture", "picture"]
    assert sizes == [(2, False), (1, False), (1, False), (1, True), (1, True)]
    assert [
        word in notice for word, notice in zip(("from 2 to 1", "other", "system memory"), ctx.notices, strict=True)
    ] == [True] * 3
    assert registry.list_residents() == ()  # nothing lies on the card beside the copy that waits outside


def test_single_layers_wait_outside_where_whole_models_are_too_large(
    registry: PipelineRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(device_memory, "read_total_and_free", lambda device: (2, 1))  # of a card that is not there
    tried: dict[str, list[str]] = {}
    for first in ("models", "layers"):
        ctx = RecordingContext(Settings(models_dir=tmp_path, offload=first))
        ladder = OomFallbacks(registry, ctx, device="cuda", offloaded=True)
        tried[first] = []

        def attempt(part: object, ladder: OomFallbacks = ladder, ways: list[str] = tried[first]) -> list[str]:
            ways.append(ladder.offload_by)
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")

        with pytest.raises(OutOfMemory):
            ladder.run(make_seeds(1), attempt)
    assert tried["models"][-2:] == ["models", "layers"]
    assert tried["layers"] == ["layers"], "nothing is left to leave, and nothing is tried twice"


def test_another_error_is_not_taken_for_memory(registry: PipelineRegistry, tmp_path: Path) -> None:
    ladder = OomFallbacks(registry, RecordingContext(Settings(models_dir=tmp_path)), device="cuda")

    def attempt(part: object) -> list[str]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        ladder.run(make_seeds(1), attempt)
    assert len(registry.list_residents()) == 2
