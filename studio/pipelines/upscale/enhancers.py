"""Upscalers and face restorers as one backend of the engine, a model for each file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.finish import Faces
from studio.core.model import GPU_LANE, TOOLS_LANE, Feature, Model, Quality, Sizes
from studio.core.ports import JobContext, PictureSeed
from studio.core.range_checks import MAX_SIDE
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.upscale_modes import RESTORER, UPSCALER
from studio.core.weights import Kind, Offer, WeightFile
from studio.pipelines import device_memory
from studio.pipelines.catalog import downloadable_weights
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.registry import Key
from studio.pipelines.run.source_images import with_pixels
from studio.pipelines.upscale import face_restoration, realesrgan_engine, upscale_request
from studio.pipelines.upscale.upscale_image import RESAMPLERS
from studio.vision.faces import find_faces

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog
    from studio.pipelines.run.run_plan import Resources

NO_FACE = "No face was found: the picture is as it was."
_SIZES = Sizes(multiple=1, smallest=1, largest=MAX_SIDE, max_pixels=MAX_SIDE * MAX_SIDE)
_FEATURES = frozenset({Feature.SEED})  # taken and of no effect, as chains and grids may carry one
_QUICK = 10_000_000  # bytes: an upscaler file below is one of the compact kinds


class Enhancers:
    """A Backend over the upscaler and restorer files in `catalog`. `resources` gives what runs share with the other local models,
    the registry and its memory budget among it; it is asked in the GPU lane only, and torch is not imported before. Weights that
    are not below `models_dir` are offered."""

    def __init__(self, catalog: Catalog, models_dir: Path, resources: Callable[[Settings], Resources]) -> None:
        self._catalog = catalog
        self._models_dir = models_dir
        self._resources = resources
        self._engines: dict[tuple[Path, int], bool] = {}

    def models(self) -> Sequence[Model]:
        weights = self._catalog.weights()
        files = [file for file in weights if file.kind is Kind.UPSCALER]
        resamplers = [
            _model(UPSCALER + name, name, Task.UPSCALE, lane=TOOLS_LANE, quality=Quality.DRAFT) for name in RESAMPLERS
        ]
        restorers = [_model(RESTORER + file.name, file.name, Task.RESTORE_FACES, file) for file in weights if file.kind is Kind.RESTORER]  # fmt: skip
        return [*(model for file in files for model in self._upscalers(file)), *resamplers, *restorers, *self._absent()]

    def offers(self) -> Sequence[Offer]:
        """Upscalers and restorers that can be fetched and are not here."""
        return downloadable_weights.missing(self._models_dir)

    def render(self, request: GenerationRequest, seeds: Sequence[PictureSeed], ctx: JobContext) -> list[Rendered]:
        """One picture for every seed: the seed changes nothing.

        Raises:
            InvalidRequest, ModelBroken, NotConfigured, OutOfMemory, JobCancelled, PictureSkipped.
        """
        if request.source is None:
            raise InvalidRequest("There is no picture to work on.", hint="Choose a picture first.")
        image = ctx.picture(request.source)
        done = self._restored(image, request, ctx) if request.task is Task.RESTORE_FACES else self._enlarged(image, request, ctx)  # fmt: skip
        return [Rendered(image=done, seed=seed.seed) for seed in seeds]

    def close(self) -> None:
        """Nothing: the registry is the local pipelines'."""

    def _enlarged(self, image: Image.Image, request: GenerationRequest, ctx: JobContext) -> Image.Image:
        name = request.model.removeprefix(UPSCALER)
        if name in RESAMPLERS:  # in the tools lane, where no network may run
            with ctx.stage("upscale"):
                return upscale_request.enlarged(None, name, image, request, ctx)
        resources = self._resources(ctx.settings)
        with ctx.stage("upscale"), device_memory.measured(resources.device, ctx.peak_memory):
            return upscale_request.enlarged(resources, name, image, request, ctx)

    def _restored(self, image: Image.Image, request: GenerationRequest, ctx: JobContext) -> Image.Image:
        name = request.model.removeprefix(RESTORER)
        file = self._catalog.find(Kind.RESTORER, name)
        with ctx.stage("find faces"):
            found = find_faces(image)
        ctx.raise_if_cancelled()
        if not found:
            ctx.notice(NO_FACE)
            ctx.progress(1, 1)
            return with_pixels(image)
        resources = self._resources(ctx.settings)

        def load() -> face_restoration.Restorer:
            ctx.loading(f"Loading {name}")
            with ctx.stage("load"):
                return face_restoration.load_restorer(file, resources.device, resources.precision)

        key = Key(RESTORER + name, resources.device, resources.precision)
        with (
            resources.registry.lease(key, name, load, expected=file.bytes) as held,
            ctx.stage("restore"),
            device_memory.measured(resources.device, ctx.peak_memory),
        ):
            return face_restoration.restore(image, found, held.pipe, request.faces or Faces(), ctx)

    def _upscalers(self, file: WeightFile) -> Iterator[Model]:
        quality = Quality.STANDARD if file.bytes < _QUICK else Quality.HIGH
        model = _model(UPSCALER + file.name, file.name, Task.UPSCALE, file, quality=quality)
        yield model
        if self._has_engine(file):
            title = f"{file.name} (its makers' engine)"
            yield dataclasses.replace(model, id=model.id + realesrgan_engine.SUFFIX, title=title)

    def _has_engine(self, file: WeightFile) -> bool:
        """Whether Real-ESRGAN's own engine knows the file; looked up once per file."""
        key = (file.path, file.bytes)
        if key not in self._engines:
            self._engines[key] = _is_original(file)
        return self._engines[key]

    def _absent(self) -> Iterator[Model]:
        """Restorers that can be fetched, so that they are seen where one looks for them."""
        for offer in self.offers():
            if offer in downloadable_weights.RESTORERS:
                problem = f"its weights are not here. Fetch “{offer.title}” ({offer.bytes / 1e6:.0f} MB, {offer.licence}) in Configurations."
                model = _model(RESTORER + Path(offer.filename).stem, offer.title, Task.RESTORE_FACES)
                yield dataclasses.replace(model, problem=problem)


def _model(
    model_id: str, title: str, task: Task, file: WeightFile | None = None, *, lane: str = GPU_LANE, quality: Quality = Quality.HIGH
) -> Model:  # fmt: skip
    return Model(
        id=model_id, title=title, family=model_id.partition("/")[0], lane=lane, tasks=frozenset({task}), features=_FEATURES,
        sizes=_SIZES, quality=quality, problem=file.problem if file else "",
    )  # fmt: skip


def _is_original(file: WeightFile) -> bool:
    if file.problem or not realesrgan_engine.is_here() or file.path.suffix.lower() != ".safetensors":
        return False
    try:
        return realesrgan_engine.fits(read_header(file.path).shapes)
    except ModelBroken:  # it went away, or changed
        return False
