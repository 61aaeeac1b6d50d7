"""Upscalers and face restorers as one backend of the engine, a model for each file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.finish import FaceRestoration
from studio.core.model import GPU_LANE, TOOLS_LANE, Feature, Model, Quality, Sizes
from studio.core.model_ids import RESTORER_PREFIX, UPSCALER_PREFIX
from studio.core.ports import ImageSeed, JobContext
from studio.core.range_checks import MAX_SIDE
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.core.weights import DownloadableWeights, WeightFile, WeightKind
from studio.pipelines import device_memory
from studio.pipelines.catalog import downloadable_weights
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.file_stamps import read_stamp
from studio.pipelines.registry import PipelineKey
from studio.pipelines.run.name_checks import check_upscaler_names
from studio.pipelines.run.source_images import ensure_rgb
from studio.pipelines.upscale import face_restoration, realesrgan_engine, upscale_request
from studio.pipelines.upscale.upscale_image import RESAMPLERS
from studio.vision.faces import find_faces

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog
    from studio.pipelines.run.run_plan import Resources

NO_FACE_NOTICE = "No face was found; the image is unchanged."
_SIZES = Sizes(multiple=1, smallest=1, largest=MAX_SIDE, max_pixels=MAX_SIDE * MAX_SIDE)
_FEATURES = frozenset({Feature.SEED})  # taken and of no effect, as chains and grids may carry one
_COMPACT_BYTES = 10_000_000  # bytes: an upscaler file below is one of the compact kinds


class Enhancers:
    """A Backend over the upscaler and restorer files in `catalog`. `resources` gives what runs share with the other
    local models, the registry and its memory budget among it; it is asked in the GPU lane only, and torch is not
    imported before. Weights that are not below `models_dir` are offered."""

    def __init__(self, catalog: Catalog, models_dir: Path, resources: Callable[[JobContext], Resources]) -> None:
        self._catalog = catalog
        self._models_dir = models_dir
        self._resources = resources
        self._engines: dict[tuple[Path, int], bool] = {}

    def models(self) -> Sequence[Model]:
        weights = self._catalog.weights()
        files = [file for file in weights if file.kind is WeightKind.UPSCALER]
        resamplers = [
            _build_model(UPSCALER_PREFIX + name, name, Task.UPSCALE, lane=TOOLS_LANE, quality=Quality.DRAFT)
            for name in RESAMPLERS
        ]
        restorers = [
            _build_model(RESTORER_PREFIX + file.name, file.name, Task.RESTORE_FACES, file)
            for file in weights
            if file.kind is WeightKind.RESTORER
        ]
        return [
            *(model for file in files for model in self._list_upscaler_models(file)),
            *resamplers,
            *restorers,
            *self._list_missing_restorers(),
        ]

    def list_downloadable_weights(self) -> Sequence[DownloadableWeights]:
        """Upscalers and restorers that can be fetched and are not here."""
        return downloadable_weights.list_missing_weights(self._models_dir)

    def check_names(self, request: GenerationRequest) -> None:
        """See NamingBackend."""
        check_upscaler_names(self._catalog, request.upscale)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        """One image for every seed: the seed changes nothing.

        Raises:
            InvalidRequest, ModelBroken, NotConfigured, OutOfMemory, JobCancelled, ImageSkipped.
        """
        if request.source is None:
            raise InvalidRequest("No source image.", hint="Choose an image first.")
        image = ctx.load_image(request.source)
        done = (
            self._restore_faces(image, request, ctx)
            if request.task is Task.RESTORE_FACES
            else self._enlarge_image(image, request, ctx)
        )
        return [RenderedImage(image=done, seed=seed.seed) for seed in seeds]

    def close(self) -> None:
        """Nothing: the registry is the local pipelines'."""

    def _enlarge_image(self, image: Image.Image, request: GenerationRequest, ctx: JobContext) -> Image.Image:
        name = request.model.removeprefix(UPSCALER_PREFIX)
        if name in RESAMPLERS:  # in the tools lane, where no network may run
            with ctx.phase("upscale"):
                return upscale_request.enlarge_image(None, name, image, request, ctx)
        resources = self._resources(ctx)
        with ctx.phase("upscale"), device_memory.measure_peak(resources.device, ctx.record_peak_memory):
            return upscale_request.enlarge_image(resources, name, image, request, ctx)

    def _restore_faces(self, image: Image.Image, request: GenerationRequest, ctx: JobContext) -> Image.Image:
        name = request.model.removeprefix(RESTORER_PREFIX)
        file = self._catalog.find(WeightKind.RESTORER, name)
        with ctx.phase("find faces"):
            found = find_faces(image)
        ctx.raise_if_cancelled()
        if not found:
            ctx.add_notice(NO_FACE_NOTICE)
            ctx.report_progress(1, 1)
            return ensure_rgb(image)
        resources = self._resources(ctx)

        def load() -> face_restoration.Restorer:
            ctx.report_loading(f"Loading {name}")
            with ctx.phase("load"):
                return face_restoration.load_restorer(file, resources.device, resources.precision)

        stamp = read_stamp(file.path)
        key = PipelineKey(RESTORER_PREFIX + name, resources.device, resources.precision, stamp=stamp)
        resources.registry.drop_changed(key, name, ctx.add_notice)
        with (
            resources.registry.lease(key, name, load, expected=file.bytes) as held,
            ctx.phase("restore"),
            device_memory.measure_peak(resources.device, ctx.record_peak_memory),
        ):
            held.report_notices(ctx.add_notice)
            return face_restoration.restore_faces(image, found, held.pipe, request.faces or FaceRestoration(), ctx)

    def _list_upscaler_models(self, file: WeightFile) -> Iterator[Model]:
        quality = Quality.STANDARD if file.bytes < _COMPACT_BYTES else Quality.HIGH
        model = _build_model(UPSCALER_PREFIX + file.name, file.name, Task.UPSCALE, file, quality=quality)
        yield model
        if self._has_engine(file):
            title = f"{file.name} (its makers' engine)"
            yield dataclasses.replace(model, id=model.id + realesrgan_engine.ENGINE_SUFFIX, title=title)

    def _has_engine(self, file: WeightFile) -> bool:
        """Whether Real-ESRGAN's own engine knows the file; looked up once per file."""
        key = (file.path, file.bytes)
        if key not in self._engines:
            self._engines[key] = _is_engine_supported(file)
        return self._engines[key]

    def _list_missing_restorers(self) -> Iterator[Model]:
        """Restorers that can be fetched, so that they are seen where one looks for them."""
        for weights in self.list_downloadable_weights():
            if weights in downloadable_weights.DOWNLOADABLE_RESTORERS:
                problem = (
                    f"its weights are not installed. Download “{weights.title}” ({weights.bytes / 1e6:.0f} MB,"
                    f" {weights.licence}) in Configurations."
                )
                model = _build_model(RESTORER_PREFIX + Path(weights.filename).stem, weights.title, Task.RESTORE_FACES)
                yield dataclasses.replace(model, problem=problem)


def _build_model(
    model_id: str,
    title: str,
    task: Task,
    file: WeightFile | None = None,
    *,
    lane: str = GPU_LANE,
    quality: Quality = Quality.HIGH,
) -> Model:
    return Model(
        id=model_id,
        title=title,
        family=model_id.partition("/")[0],
        lane=lane,
        tasks=frozenset({task}),
        features=_FEATURES,
        sizes=_SIZES,
        quality=quality,
        problem=file.problem if file else "",
    )


def _is_engine_supported(file: WeightFile) -> bool:
    if file.problem or not realesrgan_engine.is_installed() or file.path.suffix.lower() != ".safetensors":
        return False
    try:
        return realesrgan_engine.is_supported(read_header(file.path).shapes)
    except ModelBroken:  # it went away, or changed
        return False
