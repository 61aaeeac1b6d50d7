"""All local models as one backend of the engine, and as the model store of the Configurations tab."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest, StudioError, UnknownModel
from studio.core.merges import MergeRecipe
from studio.core.model import Model
from studio.core.ports import Annotators, DownloadState, ImageSeed, JobContext, MemoryReport
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.weights import DownloadableWeights, WeightFile
from studio.pipelines import device_memory
from studio.pipelines.accelerate.accelerator import OPENVINO_CHOICES, Accelerator
from studio.pipelines.accelerate.network_store import NetworkStore
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.file_stamps import read_stamp
from studio.pipelines.catalog.merging import plan_merge
from studio.pipelines.device_memory import PeakStore
from studio.pipelines.registry import PipelineKey, PipelineRegistry
from studio.pipelines.run.composed_drawing import count_things
from studio.pipelines.run.edit_tasks import ANNOTATOR_TASKS
from studio.pipelines.run.name_checks import check_names
from studio.pipelines.run.render import Rendering
from studio.pipelines.run.run_plan import Resources
from studio.pipelines.upscale.upscale_request import lease_model_upscaler

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog
    from studio.pipelines.catalog.hub import Hub

_CHECK_SECONDS = 0.1  # between two looks at whether a job that waits is to stop


class LocalPipelines:
    """A Backend and a ModelStore over `catalog`. torch is imported by the first render or load, not before.

    `annotators` find objects by words and the foreground; without them no model does the tasks that need that.
    """

    def __init__(
        self, settings: Callable[[], Settings], catalog: Catalog, hub: Hub, annotators: Annotators | None = None
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._hub = hub
        self._annotators = annotators
        self._registry = PipelineRegistry(lambda: device_memory.compute_budget(settings(), self._get_device()))
        cache = settings().models_dir / ".cache"
        self._peaks = PeakStore(cache / "peaks.json")
        self._accelerator = Accelerator(NetworkStore(cache / "openvino"), self._registry)
        self._device = ""
        self._idle = device_memory.IdleRelease(before=self._registry.release_working_memory)
        self._importing = threading.Lock()  # a run that begins during the warm-up waits for its imports
        self._asked = False

    def models(self) -> Sequence[Model]:
        models = self._catalog.models()
        if self._annotators is not None:
            return models
        return [dataclasses.replace(model, tasks=model.tasks - ANNOTATOR_TASKS) for model in models]

    def check_names(self, request: GenerationRequest) -> None:
        """See NamingBackend."""
        check_names(self._catalog, request, self._annotators)

    def count_generations(self, request: GenerationRequest) -> int:
        """See ComposingBackend."""
        return count_things(self._catalog, request)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        """One pass; see Backend. Nothing that a job put on a model is on it for the next.

        Raises:
            OutOfMemory, ModelBroken, InvalidRequest, JobCancelled, ImageSkipped.
        """
        resources = self.resources(ctx)
        try:
            with self._idle.postpone():
                images = Rendering(resources, request, ctx).render_images(seeds)
        except ValueError as error:  # how diffusers complains about arguments that do not go together
            raise InvalidRequest(f"The model rejected the request: {error}", hint="Change the named field.") from error
        return [
            RenderedImage(image=image, seed=seed.seed, variation_seed=seed.variation, batch_index=seed.batch_index)
            for image, seed in zip(images, seeds, strict=True)
        ]

    def close(self) -> None:
        self._idle.cancel()
        self._accelerator.close()
        self._registry.clear()

    def weights(self) -> Sequence[WeightFile]:
        return self._catalog.weights()

    def refresh(self) -> None:
        self._catalog.refresh()

    def get_memory_report(self) -> MemoryReport:
        """The resident pipelines. Until the first load the device is a guess from the settings: torch is not asked."""
        device = self._get_device()
        total, free = device_memory.read_total_and_free(device)
        return MemoryReport(
            device=device,
            total=total,
            free=free,
            budget=device_memory.compute_budget(self._settings(), device),
            resident=self._registry.list_residents(),
        )

    def load(self, model: str, ctx: JobContext) -> None:
        self._make_resident(model, self.resources(ctx), ctx.report_loading, ctx.add_notice)

    def warm_up(self, model: str) -> None:
        """See ModelStore."""
        try:
            weight = self._catalog.checkpoint(model)
        except UnknownModel:  # a cloud model
            return
        if weight.problem:
            return
        self._import_libraries()
        if self._asked:  # a run has begun, which may want another model
            return
        settings = self._settings()
        resources = self._build_resources(settings)
        with contextlib.suppress(StudioError, RuntimeError, MemoryError):  # the first job says what is wrong
            self._make_resident(model, resources, lambda _: None, lambda _: None)
            held = self._registry.get_resident(model)
            if resources.model(model).sampling.enlarge:
                with lease_model_upscaler(resources, weight, None):
                    pass
            if settings.accelerator in OPENVINO_CHOICES:
                self._accelerator.look_up(held)
            if settings.previews:
                held.get_previewer(held.pipe.vae).prepare()

    def _make_resident(
        self, model: str, resources: Resources, report: Callable[[str], None], tell: Callable[[str], None]
    ) -> None:
        weight = self._catalog.checkpoint(model)
        title = resources.model(model).title
        spec = self._catalog.spec(weight)
        options = resources.choose_options(model, spec, weight)

        def load() -> Any:
            report(f"Loading {title}")
            return resources.load(title, spec, weight, options)

        key = PipelineKey(model, options.device, options.format, stamp=read_stamp(weight.path))
        self._registry.drop_changed(key, title, tell)
        with self._registry.lease(key, title, load, expected=resources.plan_load(key, title, weight, options)):
            pass

    def unload(self, model: str) -> None:
        self._registry.evict(model)

    def sha256(self, name: str) -> str:
        return self._catalog.sha256(name)

    def read_metadata(self, weight: WeightFile) -> Mapping[str, str]:
        return read_header(weight.path).metadata if weight.path.suffix.lower() == ".safetensors" else {}

    def download(self, repo_id: str) -> None:
        self._hub.download(repo_id)

    def list_downloadable_weights(self) -> Sequence[DownloadableWeights]:
        return self._hub.list_downloadable_weights()

    def fetch(self, weights_id: str) -> None:
        self._hub.fetch(weights_id)

    def merge(self, recipe: MergeRecipe) -> None:
        """See ModelStore."""
        self._hub.merge(plan_merge(recipe, self._catalog.checkpoint))

    def cancel_download(self, repo_id: str) -> None:
        self._hub.cancel(repo_id)

    def list_downloads(self) -> Sequence[DownloadState]:
        return self._hub.list_downloads()

    def _get_device(self) -> str:
        wanted = self._settings().device
        return self._device or ("cpu" if wanted == "auto" else wanted)

    def resources(self, ctx: JobContext) -> Resources:
        """The resources that runs share, for others that run in the GPU lane; waits for the imports of torch and
        diffusers until the job is to stop. They go on then, for the next job.

        Raises:
            JobCancelled, ImageSkipped.
        """
        self._asked = True
        importing = threading.Thread(target=self._import_libraries, name="imports", daemon=True)
        importing.start()
        while importing.is_alive():
            importing.join(_CHECK_SECONDS)
            ctx.raise_if_cancelled()
        return self._build_resources(ctx.settings)

    def _import_libraries(self) -> None:
        """Import what every run needs; one thread at a time does."""
        with self._importing, contextlib.suppress(ImportError):  # a run that imports it again says what is wrong
            import diffusers  # noqa: F401
            import peft  # noqa: F401
            import torch  # noqa: F401

    def _build_resources(self, settings: Settings) -> Resources:
        self._device = resolve_device(settings.device)
        return Resources(
            self._catalog,
            self._registry,
            self._peaks,
            self._device,
            settings.precision,
            self._annotators,
            self._accelerator,
        )


def resolve_device(wanted: str) -> str:
    """ "cuda", "mps" or "cpu": what is wanted, or with "auto" the best there is.

    Raises:
        StudioError: a device that this machine does not have.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, found in there.items() if found)
    if not there[wanted]:
        raise StudioError(
            f"This machine has no {wanted} device for torch.", hint="Set the device to auto in Configurations."
        )
    return wanted
