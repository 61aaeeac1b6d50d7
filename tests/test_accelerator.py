"""Networks that OpenVINO runs: compiled behind the jobs, used when ready, at the same image."""

from __future__ import annotations

import dataclasses
import errno
import gc
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeBackend
from PIL import Image
from serving import EmptyStore, make_studio

from studio.core.errors import JobCancelled
from studio.core.ports import MemoryReport, ResidentModel
from studio.core.request import LoraUse
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.accelerate import accelerator, openvino_network, torch_options
from studio.pipelines.accelerate.network_calls import describe_processors, read_call
from studio.pipelines.accelerate.network_store import Measurement, NetworkStore, StoredNetwork, compute_digest
from studio.pipelines.accelerate.openvino_network import CompiledNetwork
from studio.tabs.configurations.model_manager import _render_memory
from tests.local_models import (
    FolderCatalog,
    RecordingContext,
    estimate_budget_gb,
    make_local_pipelines,
    make_request,
    make_seeds,
)
from tests.test_lora import make_lora
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not openvino_network.is_available(), reason="OpenVINO is not installed"),
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("checkpoints")
    tiny = make_tiny_sd15(root / "tiny")
    lora = make_lora(tiny, root / "tiny-lora.safetensors")
    file = WeightFile(name="tiny-lora", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15")
    return FolderCatalog({"tiny": tiny, "xl": make_tiny_sdxl(root / "xl")}, (file,))


class Studio:
    """Local pipelines that count the calls which OpenVINO answers."""

    def __init__(self, folder: Path, catalog: FolderCatalog, **settings: Any) -> None:
        values = {"accelerator": "openvino", **settings}
        self.backend, self.settings = make_local_pipelines(folder, catalog, **values)

    def draw(self, *numbers: int, **changes: Any) -> tuple[Image.Image, RecordingContext]:
        ctx = RecordingContext(self.settings)
        found = self.backend.render(make_request(**changes), make_seeds(*(numbers or (1,))), ctx)
        return found[-1].image, ctx

    def wait(self) -> None:
        assert self.backend._accelerator.wait(120)

    @property
    def networks(self) -> dict[str, accelerator.AcceleratedNetwork]:
        return self.backend._registry.get_resident("tiny").accelerated


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of the first tensor of every call that OpenVINO answers."""
    shapes: list[tuple[int, ...]] = []
    run = CompiledNetwork.run

    def record_run(self: CompiledNetwork, tensors: Any, *rest: Any) -> Any:
        shapes.append(tuple(tensors[0].shape))
        return run(self, tensors, *rest)

    monkeypatch.setattr(CompiledNetwork, "run", record_run)
    return shapes


@pytest.fixture
def studio(tmp_path: Path, catalog: FolderCatalog) -> Iterator[Studio]:
    started = Studio(tmp_path, catalog)
    yield started
    started.backend.close()


def measure_difference(one: Image.Image, other: Image.Image) -> tuple[float, int]:
    """The mean and the largest difference in levels of 255."""
    difference = np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int))
    return float(difference.mean()), int(difference.max())


def assert_alike(one: Image.Image, other: Image.Image) -> None:
    mean, most = measure_difference(one, other)
    assert mean <= 1
    assert most <= 4


def test_the_second_image_is_run_by_openvino_and_is_the_same(studio: Studio, runs: list[Any]) -> None:
    first, _ = studio.draw()
    assert not runs
    studio.wait()
    assert {name for name, one in studio.networks.items() if one.ready} == {"unet", "decoder"}
    second, _ = studio.draw()
    measured = len(runs)
    third, _ = studio.draw()
    assert len(runs) - measured == 3 + 1  # three steps and the decoder
    assert_alike(first, second)
    assert_alike(first, third)
    assert first.getextrema() != ((0, 0), (0, 0), (0, 0))


def test_sdxl_is_run_as_well(studio: Studio, runs: list[Any]) -> None:
    first, _ = studio.draw(model="xl")
    studio.wait()
    assert_alike(first, studio.draw(model="xl")[0])
    assert runs


def test_another_size_and_batch_need_no_other_network(studio: Studio, runs: list[Any], monkeypatch) -> None:
    studio.draw()
    studio.wait()
    monkeypatch.setattr(openvino_network, "convert_network", lambda *_: pytest.fail("converted again"))
    ours, _ = studio.draw(1, 2, width=96, height=128, sampler="Euler")
    studio.wait()
    again, _ = studio.draw(1, 2, width=96, height=128, sampler="Euler")
    assert any(shape[0] == 4 for shape in runs), "two images, each with and without its prompt"
    assert_alike(ours, again)


def test_what_was_compiled_is_found_after_a_restart(
    tmp_path: Path, catalog: FolderCatalog, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Studio(tmp_path, catalog)
    image, _ = first.draw()
    first.wait()
    first.draw()
    first.wait()
    first.backend.close()
    monkeypatch.setattr(openvino_network, "convert_network", lambda *_: pytest.fail("converted again"))
    second = Studio(tmp_path, catalog)
    runs.clear()
    second.backend.warm_up("tiny")
    second.wait()
    assert len(runs) == 2, "each network once, so that the first step need not pack its weights"
    runs.clear()
    assert_alike(image, second.draw()[0])
    assert len(runs) == 3 + 1, "neither compiled nor measured again"
    second.backend.close()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _misname_sizes(path: Path) -> None:
    data = json.loads(path.read_text())
    data["measured"] = {f"no sizes of {name}": measured for name, measured in data["measured"].items()}
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("start", ["warm up", "draw"])
@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".bin", _cut),
        (".bin", Path.unlink),
        (".xml", _cut),
        (".xml", lambda path: path.write_text("<net/>")),
        (".json", _misname_sizes),
    ],
    ids=["cut weights", "no weights", "cut network", "another network", "sizes that are none"],
)
def test_what_was_stored_and_is_damaged_is_compiled_again(
    tmp_path: Path, catalog: FolderCatalog, runs: list[Any], suffix: str, damage: Callable[[Path], Any], start: str
) -> None:
    first = Studio(tmp_path, catalog)
    image, _ = first.draw()
    first.wait()
    first.draw()
    first.wait()
    weights = first.backend._registry.get_resident("tiny").bytes
    first.backend.close()
    for path in (tmp_path / ".cache" / "openvino").glob(f"*{suffix}"):
        damage(path)
    second = Studio(tmp_path, catalog)
    if start == "warm up":
        second.backend.warm_up("tiny")
        second.wait()
    assert_alike(image, second.draw()[0])
    second.wait()
    assert {name for name, one in second.networks.items() if one.ready} == {"unet", "decoder"}
    assert second.backend._registry.get_resident("tiny").bytes == weights, "what failed to compile takes none"
    runs.clear()
    assert_alike(image, second.draw()[0])
    assert runs
    second.backend.close()


def test_networks_are_on_the_disk_before_what_is_measured_of_them(studio: Studio, tmp_path: Path, monkeypatch) -> None:
    synced: set[int] = set()
    sync = os.fsync

    def record_sync(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", record_sync)
    studio.draw()
    studio.wait()
    files = [path for path in (tmp_path / ".cache" / "openvino").iterdir() if path.suffix in (".bin", ".xml")]
    assert len(files) == 4
    assert {path.stat().st_ino for path in files} <= synced


def test_other_weights_are_another_network(tmp_path: Path) -> None:
    import diffusers

    units = [
        diffusers.UNet2DConditionModel.from_pretrained(make_tiny_sd15(tmp_path / f"{n}", seed=n) / "unet")
        for n in (0, 1)
    ]
    assert compute_digest(units[0]) == compute_digest(units[0])
    assert compute_digest(units[0]) != compute_digest(units[1])


def test_a_job_with_a_lora_is_run_by_torch_and_says_so(
    studio: Studio, runs: list[Any], tmp_path: Path, catalog: FolderCatalog
) -> None:
    use = (LoraUse(name="tiny-lora", weight=1.0),)
    plain = Studio(tmp_path / "plain", catalog, accelerator="none")
    expected, _ = plain.draw(loras=use)
    plain.backend.close()
    bare, _ = studio.draw()
    studio.wait()
    runs.clear()
    got, ctx = studio.draw(loras=use)
    assert not runs
    assert any("LoRAs change the model" in notice for notice in ctx.notices)
    assert measure_difference(expected, got) == (0.0, 0)
    assert_alike(bare, studio.draw()[0])
    assert runs, "the next job without one is accelerated again"


def test_a_network_that_cannot_be_converted_fails_no_job(studio: Studio, runs: list[Any], monkeypatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("an operation that cannot be converted")

    monkeypatch.setattr(openvino_network, "convert_network", fail)
    first, _ = studio.draw()
    studio.wait()
    second, ctx = studio.draw()
    assert measure_difference(first, second) == (0.0, 0)
    assert not runs
    assert ctx.notices == []


def test_a_network_that_fails_while_it_runs_gives_way_to_torch(studio: Studio, monkeypatch) -> None:
    first, _ = studio.draw()
    studio.wait()
    studio.draw()

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(CompiledNetwork, "run", fail)
    assert measure_difference(first, studio.draw()[0]) == (0.0, 0)
    assert not studio.networks["unet"].ready


def test_a_size_that_a_network_cannot_run_is_left_to_torch_and_no_other(
    studio: Studio, tmp_path: Path, catalog: FolderCatalog, runs: list[Any]
) -> None:
    plain = Studio(tmp_path / "plain", catalog, accelerator="none")
    odd = {"width": 72, "height": 104}  # latents that cannot be halved: the UNet takes another way
    expected, _ = plain.draw(**odd)
    plain.backend.close()
    studio.draw()
    studio.wait()
    for _ in range(2):
        assert_alike(expected, studio.draw(**odd)[0])
    runs.clear()
    studio.draw()
    assert runs, "the size that it was compiled for is still accelerated"


def test_sizes_that_are_used_often_are_compiled_for_themselves(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_MOST_SIZES", 2)
    first, _ = studio.draw()
    studio.wait()
    unet = studio.networks["unet"]
    assert not unet.sized
    bytes_before = studio.backend.get_memory_report().resident[0].bytes
    for width, times in ((64, 4), (96, 5), (128, 6)):
        for _ in range(times):
            studio.draw(width=width)
            studio.wait()
    assert len(unet.sized) >= 2
    assert sum(sized is not None for sized in unet.sized.values()) <= 2
    counted = studio.backend.get_memory_report().resident[0].bytes - bytes_before
    assert 0 < counted <= 2 * sum(one.compiled_bytes for one in studio.networks.values())
    for _ in range(2):
        assert_alike(first, studio.draw()[0])


def test_a_network_for_one_size_with_other_results_is_not_used(studio: Studio, monkeypatch) -> None:
    first, _ = studio.draw()
    studio.wait()
    for _ in range(2):
        studio.draw()
        studio.wait()
    run = CompiledNetwork.run
    sized = {id(one.compiled) for one in studio.networks["unet"].sized.values() if one is not None}
    assert sized
    monkeypatch.setattr(
        CompiledNetwork, "run", lambda self, *call: run(self, *call) * (1.01 if id(self) in sized else 1.0)
    )
    for _ in range(2):
        assert_alike(first, studio.draw()[0])
    assert set(studio.networks["unet"].sized.values()) == {None}
    memory = studio.backend.get_memory_report().resident[0].bytes
    for _ in range(5):
        studio.draw(width=96)
        studio.wait()
    assert len(studio.networks["unet"].sized) == 2
    grown = studio.backend.get_memory_report().resident[0].bytes - memory
    assert grown < studio.networks["unet"].bytes, "the next one has the first one's place"


def test_stop_is_heard_in_the_middle_of_a_call_and_the_next_one_is_whole(tmp_path: Path) -> None:
    import torch

    network = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(12))).eval()
    with torch.no_grad():
        small = torch.rand(1, 64, 16, 16)
        call = read_call((small,), {}, "")
        assert call is not None
        openvino_network.convert_network(network, call, tmp_path / "network.xml")
        compiled = CompiledNetwork(tmp_path / "network.xml")
        asked: list[int] = []

        def stop() -> None:
            asked.append(1)
            raise JobCancelled("Stopped.")

        with pytest.raises(JobCancelled):
            compiled.run((torch.rand(1, 64, 512, 512),), stop)
        assert len(asked) == 1
        compiled.release_memory()
        for check in (None, lambda: None):
            assert torch.allclose(compiled.run((small,), check), network(small), atol=1e-5)


def test_img2img_encodes_by_openvino_too(studio: Studio, runs: list[Any]) -> None:
    source = Image.effect_noise((64, 64), 60).convert("RGB")
    images: list[Image.Image] = []
    for _ in range(3):
        ctx = RecordingContext(studio.settings, images={"it": source})
        request = make_request(task=Task.IMG2IMG, source="it", strength=0.7)
        images.append(studio.backend.render(request, make_seeds(1), ctx)[0].image)
        studio.wait()
    assert_alike(images[0], images[1])
    assert_alike(images[0], images[2])
    assert (1, 3, 64, 64) in runs, "the source image went through OpenVINO"


def test_a_network_with_other_results_is_not_used(studio: Studio, monkeypatch) -> None:
    first, _ = studio.draw()
    studio.wait()
    run = CompiledNetwork.run
    monkeypatch.setattr(CompiledNetwork, "run", lambda self, *call: run(self, *call) * 1.01)
    for _ in range(2):
        assert measure_difference(first, studio.draw()[0]) == (0.0, 0)


def test_automatic_keeps_to_torch_where_nothing_is_gained(tmp_path: Path, catalog: FolderCatalog, monkeypatch) -> None:
    studio = Studio(tmp_path, catalog, accelerator="auto")
    monkeypatch.setattr(accelerator, "_LEAST_GAIN", 1e9)
    first, _ = studio.draw()
    studio.wait()
    for _ in range(2):
        assert measure_difference(first, studio.draw()[0]) == (0.0, 0)
    (resident,) = studio.backend.get_memory_report().resident
    assert resident.gains["unet"] > 0, "what was measured is told all the same"
    studio.backend.close()


def test_configurations_shows_what_openvino_gains(tmp_path: Path) -> None:
    class ResidentStore(EmptyStore):
        def get_memory_report(self) -> MemoryReport:
            gains = {"unet": 3.14, "decoder": 0.9}
            held = ResidentModel(model="m", title="M", bytes=1, in_use=False, idle=1.0, gains=gains)
            return MemoryReport(device="cpu", total=1, free=1, budget=1, resident=(held,))

    studio = make_studio(tmp_path, FakeBackend(), models=ResidentStore())
    shown = _render_memory(studio)
    studio.engine.close()
    assert "OpenVINO: UNet 3.1 × as fast, VAE 0.9 × as fast" in shown


def test_its_memory_is_counted_and_freed_with_the_model(studio: Studio) -> None:
    studio.draw()
    before = studio.backend.get_memory_report().resident[0].bytes
    studio.wait()
    after = studio.backend.get_memory_report().resident[0].bytes
    assert after == before + sum(one.compiled_bytes for one in studio.networks.values() if one.ready)
    assert all(one.compiled_bytes >= one.bytes for one in studio.networks.values() if one.ready)
    watched = weakref.ref(studio.networks["unet"])
    studio.backend.unload("tiny")
    studio.backend._accelerator.wait(60)
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("choice", ["none", "compile"])
def test_its_memory_is_given_back_to_jobs_of_another_setting(studio: Studio, runs: list[Any], choice: str) -> None:
    first, _ = studio.draw()
    before = studio.backend.get_memory_report().resident[0].bytes
    for _ in range(4):
        studio.wait()
        studio.draw()
    studio.wait()
    assert studio.networks["unet"].sized, "single sizes are counted too"
    assert studio.backend.get_memory_report().resident[0].bytes > before
    watched = weakref.ref(studio.networks["unet"].ready.popitem()[1][0])
    openvino = studio.settings
    studio.settings = dataclasses.replace(openvino, accelerator=choice)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_options, "compile_blocks", lambda *_, **__: True)  # takes half a minute
        studio.draw()
    assert studio.networks == {}
    assert studio.backend.get_memory_report().resident[0].bytes == before
    gc.collect()
    assert watched() is None
    studio.settings = openvino
    studio.draw()
    studio.wait()
    runs.clear()
    assert_alike(first, studio.draw()[0])
    assert runs, "what is on the disk is read again"


def test_a_network_that_was_given_back_is_no_more_worked_for(studio: Studio) -> None:
    blocked = threading.Event()
    studio.backend._accelerator._work.put(lambda: blocked.wait(60) and None)
    studio.draw()
    held = studio.backend._registry.get_resident("tiny")
    studio.backend._accelerator._forget(held)
    held.accelerated["unet"] = accelerator.AcceleratedNetwork("unet", held.pipe.unet)  # of a job that has begun since
    blocked.set()
    studio.wait()
    assert not held.accelerated["unet"].ready
    studio.draw()
    studio.wait()
    assert held.accelerated["unet"].ready, "the worker goes on"


@pytest.mark.parametrize("choice", ["none", "compile", "graphs"])
def test_the_warm_up_reads_no_networks_for_another_setting(tmp_path: Path, catalog: FolderCatalog, choice: str) -> None:
    first = Studio(tmp_path, catalog)
    first.draw()
    first.wait()
    first.backend.close()
    second = Studio(tmp_path, catalog, accelerator=choice)
    second.backend.warm_up("tiny")
    second.wait()
    assert second.networks == {}
    second.backend.close()


def test_a_network_that_the_disk_has_no_room_for_is_said_and_leaves_nothing(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fill(self: NetworkStore, network: StoredNetwork) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(NetworkStore, "save", fill)
    first, _ = studio.draw()
    studio.wait()
    assert measure_difference(first, studio.draw()[0]) == (0.0, 0)
    assert list((tmp_path / ".cache" / "openvino").iterdir()) == []
    said = [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()]
    assert len(said) == 2, "once for each network"


def test_no_room_on_the_disk_is_said_once(studio: Studio, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(NetworkStore, "make_room", lambda *_: False)
    for _ in range(3):
        studio.draw()
        studio.wait()
    said = [record.getMessage() for record in caplog.records if "not enough memory or disk" in record.getMessage()]
    assert len(said) == 2, "once for each network"


def test_what_an_ended_studio_was_writing_leaves_the_disk(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path)
    kept = store.get_path("digest", "pattern")
    kept.write_text("<net/>")
    store.save(StoredNetwork("digest", "pattern", {}))
    remains = [kept.with_name(name) for name in (f"{kept.stem}.17.bin", ".a.json.17.18.part", "a.xml", "a.bin")]
    fresh = tmp_path / "b.17.bin"
    for path in (*remains, fresh):
        path.write_bytes(b"0")
    for path in (*remains, kept, kept.with_suffix(".json")):
        os.utime(path, (1, 1))
    store.make_room(0)
    assert set(tmp_path.iterdir()) == {kept, kept.with_suffix(".json"), fresh}


def test_an_order_that_waits_keeps_no_weights_in_memory(studio: Studio) -> None:
    blocked = threading.Event()
    studio.backend._accelerator._work.put(lambda: blocked.wait(60) and None)
    studio.draw()
    weights = weakref.ref(next(studio.networks["unet"].module.parameters()))
    studio.backend.unload("tiny")
    gc.collect()
    assert weights() is None, "the worker has not even begun"
    blocked.set()
    studio.wait()


def test_a_model_that_is_being_compiled_leaves_only_when_that_has_stopped(studio: Studio, monkeypatch) -> None:
    begun, seen = threading.Event(), list[str]()

    def read_slowly(network: Any, is_stopped: Any) -> str:
        begun.set()
        while not is_stopped():
            time.sleep(0.01)
        time.sleep(0.2)
        seen.append("stopped")
        return ""

    monkeypatch.setattr(accelerator, "compute_digest", read_slowly)
    studio.draw()
    assert begun.wait(60)
    studio.backend.unload("tiny")
    seen.append("left")
    assert seen == ["stopped", "left"]


def test_a_slow_moment_is_measured_again_and_the_fastest_calls_count() -> None:
    slow, quick = Measurement(1.0, 2.0, 1e-6), Measurement(1.5, 0.5, 1e-5)
    both = slow.combine(quick)
    assert (both.torch, both.accelerated, both.error, both.samples) == (1.0, 0.5, 1e-5, 2)
    assert slow.gain < 1 < both.gain == 2.0


def test_nothing_is_compiled_where_memory_is_short(tmp_path: Path, catalog: FolderCatalog, runs: list[Any]) -> None:
    studio = Studio(tmp_path, catalog, memory_budget_gb=estimate_budget_gb(catalog, "tiny"))
    for _ in range(2):
        studio.draw()
        studio.wait()
    assert not runs
    studio.backend.close()


def test_the_setting_switches_it_off(tmp_path: Path, catalog: FolderCatalog) -> None:
    studio = Studio(tmp_path, catalog, accelerator="none")
    studio.draw()
    studio.wait()
    assert studio.networks == {}
    studio.backend.close()


def test_nothing_is_asked_of_the_network(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    studio.draw()
    studio.wait()
    assert studio.networks["unet"].ready
    assert asked == []


def test_the_least_recently_used_networks_leave_the_disk(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path / "networks", limit=2500)
    for age, digest in enumerate(("old", "new")):
        path = store.get_path(digest, "p")
        path.parent.mkdir(exist_ok=True)
        path.write_text("<net/>")
        path.with_suffix(".bin").write_bytes(bytes(1000))
        store.save(StoredNetwork(digest, "p", {}))
        os.utime(path.with_suffix(".json"), (age, age))
    assert store.make_room(500)
    assert store.list_networks("old") == []
    assert [one.digest for one in store.list_networks("new")] == ["new"]
    store.get_path("new", "p").with_suffix(".json").write_text("{spoilt")
    assert store.list_networks("new") == []


def test_calls_with_numbers_or_foreign_layers_are_left_to_torch(tmp_path: Path) -> None:
    import torch

    tensor = torch.zeros(1, 2)
    assert read_call((tensor, 3.0), {}, "") is None
    assert read_call((), {"name": "x"}, "") is None
    same = [read_call((torch.zeros(n, 2),), {"flag": None}, "") for n in (1, 5)]
    assert same[0] is not None
    assert same[1] is not None
    assert same[0].pattern == same[1].pattern
    times = [read_call((tensor, torch.tensor(time)), {}, "") for time in (7, 7.5)]
    assert times[0] is not None
    assert times[1] is not None
    assert times[0].pattern == times[1].pattern, "one network for all samplers"
    hooked = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert describe_processors(hooked) == ""
    hooked[0].register_forward_hook(lambda *_: None)
    assert describe_processors(hooked) is None
    for mark, value in (("base_layer", torch.nn.Linear(2, 2)), ("_hf_hook", object())):  # a LoRA's and an offloader's
        changed = torch.nn.Sequential(torch.nn.Linear(2, 2))
        setattr(changed[0], mark, value)
        assert describe_processors(changed) is None
