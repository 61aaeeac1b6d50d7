"""The default model, loaded in the background after the start."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from fakes import DEADLINE, FakeBackend
from serving import EmptyStore, make_studio

from studio import page, serve
from studio.core.errors import JobCancelled
from studio.pipelines.local_backend import LocalPipelines
from studio.pipelines.registry import PipelineKey, PipelineRegistry
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.test_registry import Weight
from tests.tiny_models import make_tiny_sd15

torch_test = pytest.mark.torch


class WarmStore(EmptyStore):
    """A ModelStore that records what it was asked to make ready."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done = threading.Event()

    def warm_up(self, model: str) -> None:
        self.asked.append(model)
        self.done.set()


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, warm_up: bool) -> WarmStore:
    """Run a studio that ends once it has said twice (its own address, a share link) that it is there."""
    store = WarmStore()
    studio = make_studio(tmp_path, FakeBackend(), models=store, warm_up=warm_up)
    monkeypatch.setattr(serve, "WARM_UP_DELAY", 0.0)
    monkeypatch.setattr(page, "mount", lambda parent, studio: parent)

    def serve_app(app, settings, studio, *, on_ready) -> None:
        assert not store.asked, "nothing is loaded before the page is there"
        on_ready("http://here")
        on_ready("http://elsewhere")
        store.done.wait(DEADLINE if warm_up else 0.2)
        studio.engine.close()

    monkeypatch.setattr(serve, "serve_app", serve_app)
    assert serve.run_studio(studio) == 0
    return store


def test_the_default_model_is_made_ready_once_the_page_is_there(tmp_path, monkeypatch) -> None:
    assert start(tmp_path, monkeypatch, warm_up=True).asked == ["fake"]


def test_the_setting_switches_it_off(tmp_path, monkeypatch) -> None:
    assert start(tmp_path, monkeypatch, warm_up=False).asked == []


@torch_test
def test_the_first_image_finds_the_model_loaded(tmp_path: Path) -> None:
    catalog = FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")})
    backend, settings = make_local_pipelines(tmp_path, catalog, previews=True)
    backend.warm_up("tiny")
    assert [one.model for one in backend.get_memory_report().resident] == ["tiny"]
    ctx = RecordingContext(settings, due=True)
    assert len(backend.render(make_request(), make_seeds(1), ctx)) == 1
    assert ctx.loaded == []
    assert ctx.previews
    backend.close()


@torch_test
def test_stop_is_heard_while_the_warm_up_imports(tmp_path: Path) -> None:
    class StoppedContext(RecordingContext):
        def raise_if_cancelled(self) -> None:
            raise JobCancelled("Stopped.")

    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")}))
    with backend._importing:
        job = threading.Thread(target=_stop_job, args=(backend, StoppedContext(settings)), daemon=True)
        job.start()
        job.join(DEADLINE)
        assert not job.is_alive()
    assert len(backend.render(make_request(), make_seeds(1), RecordingContext(settings))) == 1
    backend.close()


@torch_test
def test_stop_is_heard_while_the_first_job_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StoppedContext(RecordingContext):
        def raise_if_cancelled(self) -> None:
            if begun.wait(DEADLINE):
                raise JobCancelled("Stopped.")

    class SlowFinder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torch":
                begun.set()
                go_on.wait(DEADLINE)
                raise ImportError(name)

    begun, go_on = threading.Event(), threading.Event()
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")}))
    backend.render(make_request(), make_seeds(1), RecordingContext(settings))  # everything beside torch is there
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "torch")
        without.setattr(sys, "meta_path", [SlowFinder(), *sys.meta_path])
        job = threading.Thread(target=_stop_job, args=(backend, StoppedContext(settings)), daemon=True)
        job.start()
        job.join(DEADLINE / 2)
        was_stopped = begun.is_set() and not job.is_alive()
        go_on.set()
        with backend._importing:  # not before the import has ended
            pass
    assert was_stopped
    assert len(backend.render(make_request(), make_seeds(1), RecordingContext(settings))) == 1
    backend.close()


def _stop_job(backend: LocalPipelines, ctx: RecordingContext) -> None:
    with pytest.raises(JobCancelled):
        backend.render(make_request(), make_seeds(1), ctx)


@torch_test
def test_a_job_that_was_first_chooses_the_model(tmp_path: Path) -> None:
    folders = {name: make_tiny_sd15(tmp_path / name) for name in ("tiny", "other")}
    backend, settings = make_local_pipelines(tmp_path, FolderCatalog(folders))
    backend.render(make_request("other"), make_seeds(1), RecordingContext(settings))
    backend.warm_up("tiny")
    assert [one.model for one in backend.get_memory_report().resident] == ["other"]
    backend.close()


@torch_test
def test_a_broken_or_foreign_model_is_left_to_the_first_job(tmp_path: Path) -> None:
    broken = make_tiny_sd15(tmp_path / "broken")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    backend, _ = make_local_pipelines(tmp_path, FolderCatalog({"broken": broken}))
    for model in ("broken", "openai/gpt-image"):
        backend.warm_up(model)
    assert backend.get_memory_report().resident == ()
    backend.close()


@torch_test
def test_two_threads_that_want_one_pipeline_load_it_once() -> None:
    registry = PipelineRegistry(lambda: 1000)
    loads: list[str] = []
    entered, go_on = threading.Event(), threading.Event()

    def load() -> Weight:
        loads.append("load")
        entered.set()
        assert go_on.wait(DEADLINE)
        return Weight(400)

    found: list[object] = []

    def use() -> None:
        with registry.lease(PipelineKey("a", "cpu", "float32"), "a", load, expected=400) as held:
            found.append(held.pipe)

    threads = [threading.Thread(target=use) for _ in range(2)]
    threads[0].start()
    assert entered.wait(DEADLINE)
    threads[1].start()
    threads[1].join(0.2)
    assert threads[1].is_alive(), "it waits for the one that loads"
    go_on.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert loads == ["load"]
    assert found[0] is found[1]
