"""Denoisers as CUDA graphs, on a CPU: without a card the job says so; with a stand-in for the card's recorder, which
reads and writes the same tensors each time as a graph does, everything around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.request import LoraUse
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.accelerate import cuda_graphs
from studio.pipelines.accelerate.cuda_graphs import CHANGED, NO_CARD, NOT_RECORDED, TOO_LARGE
from studio.pipelines.local_backend import LocalPipelines
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.test_lora import make_lora
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch

STEPS = 3


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("checkpoints")
    tiny = make_tiny_sd15(root / "tiny")
    lora = make_lora(tiny, root / "tiny-lora.safetensors")
    file = WeightFile(name="tiny-lora", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")
    return FolderCatalog({"tiny": tiny}, (file,))


@pytest.fixture
def backend(tmp_path: Path, catalog: FolderCatalog) -> Iterator[LocalPipelines]:
    started, _ = make_local_pipelines(tmp_path, catalog)
    yield started
    started.close()


def draw(backend: LocalPipelines, accelerator: str = "graphs", **changes: Any) -> tuple[Image.Image, list[str]]:
    ctx = RecordingContext(backend._settings().replace(accelerator=accelerator))
    request = make_request(**{"steps": STEPS, "sampler": "DDIM", **changes})
    return backend.render(request, make_seeds(1), ctx)[0].image, ctx.notices


def get_graphs(backend: LocalPipelines) -> cuda_graphs.RecordedGraphs:
    return backend._registry.get_resident("tiny").graphs


class Recorder:
    """Stands in for the card: what it captured is done again at each replay, from the same tensors and into the same
    one. `recorded` has the shape of the answer of each recording, `replays` counts the calls."""

    def __init__(self) -> None:
        self.recorded: list[tuple[int, ...]] = []
        self.replays = 0
        self.change: Callable[[Any], Any] = lambda found: found

    def __call__(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        answer = function()
        self.recorded.append(tuple(answer.shape))

        def replay() -> None:
            self.replays += 1
            answer.copy_(self.change(function()))

        return replay, answer


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(cuda_graphs, "capture", found)
    monkeypatch.setattr(cuda_graphs, "can_record", lambda network: True)
    return found


def test_without_a_card_the_image_is_the_same_and_the_job_says_so(backend: LocalPipelines) -> None:
    plain, _ = draw(backend, "none")
    image, notices = draw(backend)
    assert notices == [NO_CARD]
    assert image.tobytes() == plain.tobytes()


def test_a_size_is_recorded_once_and_replayed_at_the_same_image(backend: LocalPipelines, recorder: Recorder) -> None:
    plain, _ = draw(backend, "none")
    for _ in range(2):
        image, notices = draw(backend)
        assert notices == []
        assert image.tobytes() == plain.tobytes()
    assert len(recorder.recorded) == 1
    assert recorder.replays == 1 + (STEPS - 1) + STEPS  # the first call is answered by the network, and compared


def test_another_size_attention_and_pattern_are_recorded_for_themselves(
    backend: LocalPipelines, recorder: Recorder
) -> None:
    draw(backend)
    draw(backend, width=96)
    assert len(recorder.recorded) == len(set(recorder.recorded)) == 2
    ctx = RecordingContext(backend._settings().replace(accelerator="graphs", attention="math"))
    backend.render(make_request(steps=STEPS, sampler="DDIM"), make_seeds(1), ctx)
    assert len(recorder.recorded) == 3


def test_the_graph_that_was_used_least_recently_leaves(
    backend: LocalPipelines, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "_MOST_GRAPHS", 2)
    for width in (64, 96, 64, 128, 64):
        draw(backend, width=width)
    assert len(recorder.recorded) == 3, "the one that was used in between has stayed"
    draw(backend, width=96)
    assert len(recorder.recorded) == 4
    assert len(get_graphs(backend).graphs) == 2


def test_a_graph_with_other_results_is_not_used(backend: LocalPipelines, recorder: Recorder) -> None:
    plain, _ = draw(backend, "none")
    recorder.change = lambda found: found * 1.01
    image, notices = draw(backend)
    again, later = draw(backend)
    assert (notices, later) == ([NOT_RECORDED], [])
    assert image.tobytes() == again.tobytes() == plain.tobytes()
    assert recorder.replays == 1


def test_a_network_that_cannot_be_recorded_fails_no_job(
    backend: LocalPipelines, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    plain, _ = draw(backend, "none")
    monkeypatch.setattr(cuda_graphs, "capture", fail)
    image, notices = draw(backend)
    assert notices == [NOT_RECORDED]
    assert image.tobytes() == plain.tobytes()


def test_a_lora_is_run_without_graphs_and_says_so(backend: LocalPipelines, recorder: Recorder) -> None:
    use = (LoraUse(name="tiny-lora", weight=1.0),)
    plain, _ = draw(backend, "none", loras=use)
    image, notices = draw(backend, loras=use)
    assert notices == [CHANGED]
    assert recorder.recorded == []
    assert image.tobytes() == plain.tobytes()


def test_weights_that_lie_elsewhere_are_recorded_anew(backend: LocalPipelines, recorder: Recorder) -> None:
    draw(backend)
    network = backend._registry.get_resident("tiny").pipe.unet
    weight = next(network.parameters())
    weight.data = weight.data.clone()
    draw(backend)
    assert len(recorder.recorded) == 2


def test_another_setting_gives_the_memory_of_graphs_back(backend: LocalPipelines, recorder: Recorder) -> None:
    draw(backend)
    assert get_graphs(backend).graphs
    draw(backend, "none")
    assert not get_graphs(backend).graphs


def test_what_changes_the_inside_of_the_network_is_not_recorded(backend: LocalPipelines, recorder: Recorder) -> None:
    plain, _ = draw(backend, "none", freeu="1.3, 1.4, 0.9, 0.2")
    image, _ = draw(backend, freeu="1.3, 1.4, 0.9, 0.2")
    assert recorder.recorded == []
    assert image.tobytes() == plain.tobytes()


def test_large_networks_and_weights_in_eight_bits_are_not_recorded(
    tmp_path: Path, catalog: FolderCatalog, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, _ = make_local_pipelines(tmp_path, catalog, precision="float8")
    assert draw(small)[1] == [CHANGED]
    small.close()
    plain, _ = make_local_pipelines(tmp_path, catalog)
    monkeypatch.setattr(cuda_graphs, "_MOST_BYTES", 1)
    image, notices = draw(plain)
    assert notices == [TOO_LARGE]
    assert np.asarray(image).std() > 0
    assert recorder.recorded == []
    plain.close()
