"""Run the upscalers of a request: lease them by name, report progress, blend two, bring to the size that was asked
for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from studio.core.errors import InvalidRequest, ModelBroken, OutOfMemory
from studio.core.finish import Upscale
from studio.core.ports import JobContext
from studio.core.request import GenerationRequest
from studio.core.request_parts import Resize
from studio.core.upscale_modes import LANCZOS, compute_upscaled_size
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog.file_stamps import read_stamp
from studio.pipelines.catalog.model_folders import find_model_upscaler
from studio.pipelines.registry import PipelineKey
from studio.pipelines.run import source_images
from studio.pipelines.upscale import realesrgan_engine, upscale_image
from studio.pipelines.upscale.upscale_image import RESAMPLERS, Upscaler

if TYPE_CHECKING:
    from studio.pipelines.run.run_plan import Resources

DEFAULT_RESAMPLE_FACTOR = 2.0
"""The factor of a resampler if none is given."""


class TileProgress:
    """A Watch that reports a job's progress in tiles. `expected` are the tiles of each image that is to come, as
    planned."""

    def __init__(self, ctx: JobContext, expected: list[int]) -> None:
        self._ctx = ctx
        self._expected = expected
        self._before, self._done, self._tiles = 0, 0, 0
        self.add_notice = ctx.add_notice
        self.check = ctx.raise_if_cancelled

    def start_tiles(self, tiles: int) -> None:
        if self._done == self._tiles:  # the last image is done, this is another
            self._before += self._done
            if self._expected:
                self._expected.pop(0)
        self._done, self._tiles = 0, tiles

    def finish_tile(self) -> None:
        self._done += 1
        self._ctx.report_progress(self._before + self._done, self._before + self._tiles + sum(self._expected))


@contextmanager
def lease_upscaler(resources: Resources, name: str, ctx: JobContext) -> Iterator[Upscaler]:
    """The upscaler file of that name, resident; with original.SUFFIX behind the name run by its makers' engine.

    Raises:
        InvalidRequest: no such file. ModelBroken: it cannot be used. NotConfigured: the engine is not installed.
    """
    plain = name.removesuffix(realesrgan_engine.ENGINE_SUFFIX)
    file = resources.catalog.find(WeightKind.UPSCALER, plain)
    load = upscale_image.load_upscaler if plain == name else realesrgan_engine.load_engine_upscaler
    with _lease_file(resources, name, file, load, ctx) as upscaler:
        yield upscaler


@contextmanager
def lease_model_upscaler(resources: Resources, model: WeightFile, ctx: JobContext | None) -> Iterator[Upscaler]:
    """The upscaler that the folder of `model` brings for its own images, resident. Without a job there is nobody to
    tell.

    Raises:
        ModelBroken: it is gone, or cannot be used.
    """
    path = find_model_upscaler(model.path)
    if path is None:
        raise ModelBroken(f"{model.name} has no upscaler of its own.", hint="Switch enlarging off.")
    name = f"{model.name}/upscaler"
    file = WeightFile(name=name, kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)
    with _lease_file(resources, name, file, _load_model_upscaler, ctx) as upscaler:
        yield upscaler


def _load_model_upscaler(file: WeightFile, device: str, precision: str) -> Upscaler:
    """As `load_upscaler`, but for the hint: nobody has chosen this file, or downloaded it by itself."""
    try:
        return upscale_image.load_upscaler(file, device, precision)
    except ModelBroken as error:
        raise ModelBroken(
            f"The upscaler of {file.path.parent.parent.name} cannot be used: {error.message}",
            hint="Switch enlarging off, or restore the file in the model's folder.",
            details=error.details,
        ) from error


@contextmanager
def _lease_file(
    resources: Resources, name: str, file: WeightFile, load: Callable[..., Upscaler], ctx: JobContext | None
) -> Iterator[Upscaler]:
    def load_leased() -> Upscaler:
        if ctx is None:
            return load(file, resources.device, resources.precision)
        ctx.report_loading(f"Loading {name}")
        with ctx.phase("load"):
            return load(file, resources.device, resources.precision)

    add_notice = ctx.add_notice if ctx else _ignore_notice
    key = PipelineKey(name, resources.device, resources.precision, stamp=read_stamp(file.path))
    resources.registry.drop_changed(key, name, add_notice)
    with resources.registry.lease(key, name, load_leased, expected=file.bytes * 2) as held:
        held.report_notices(add_notice)
        if resources.accelerator is None or ctx is None:
            yield held.pipe
            return
        held.pipe.prepare()  # with hooks, under which no network is accelerated
        with resources.accelerator.accelerate(held, held.pipe, ctx):
            yield held.pipe


def _ignore_notice(text: str) -> None: ...


def enlarge_image(
    resources: Resources | None, name: str, image: Image.Image, request: GenerationRequest, ctx: JobContext
) -> Image.Image:
    """`image` enlarged as `request.upscale` says by the upscaler or resampler `name`, RGB or RGBA. Stopping is heard
    between any two layers of a network. Without `resources` there are resamplers only, and torch is not needed.

    Raises:
        InvalidRequest: an unknown upscaler, or a size beyond what images may have.
        ModelBroken, OutOfMemory, JobCancelled, ImageSkipped.
    """
    upscale = request.upscale or Upscale()
    image = source_images.ensure_rgb(image)
    check_output_size(compute_upscaled_size(upscale, *image.size, 1.0), ctx)  # before anything is loaded
    second = upscale.second if upscale.second_weight and upscale.second != name else ""
    with _open_upscaler(resources, name, ctx) as first, _open_upscaler(resources, second, ctx) as other:
        size = check_output_size(
            compute_upscaled_size(upscale, *image.size, first.scale if first else DEFAULT_RESAMPLE_FACTOR), ctx
        )
        way = request.resize if upscale.width is not None else Resize.STRETCH
        shape = _crop_to_shape(image, size) if way is Resize.CROP else image
        inside = _fit_size(image.size, size) if way is Resize.FILL else size
        networks = [one for one in (first, other) if one is not None]
        counter = TileProgress(
            ctx, [tiles for one in networks for tiles in _count_expected_tiles(shape, inside, one, upscale)]
        )
        work = _UpscaleWork(resources, shape, inside, (upscale.tile, upscale.overlap), counter)
        made = work.enlarge_with(name, first)
        if second:
            made = _blend(made, work.enlarge_with(second, other), upscale.second_weight)
    if not networks:
        ctx.report_progress(1, 1)
    return made if inside == size else source_images.resize_source(source_images.flatten_alpha(made), size, Resize.FILL)


def check_output_size(size: tuple[int, int], ctx: JobContext) -> tuple[int, int]:
    """`size`, unless the studio could not open such an image again.

    Raises:
        InvalidRequest: more megapixels than the settings let in.
    """
    most = ctx.settings.max_megapixels
    if size[0] * size[1] > most * 1_000_000:
        raise InvalidRequest(
            f"The image would be {size[0]}×{size[1]}; the limit is {most} megapixels.",
            hint="Choose a smaller factor or size, or raise the maximum image size in Configurations.",
            details={"width": size[0], "height": size[1], "most": most},
        )
    return size


def _open_upscaler(resources: Resources | None, name: str, ctx: JobContext) -> AbstractContextManager[Upscaler | None]:
    """The upscaler leased, or None for a resampler and for no name."""
    if not name or name in RESAMPLERS:
        return nullcontext()
    if resources is None:
        raise InvalidRequest(
            "A network cannot be blended into a plain resampling.",
            hint=f"Choose {name} as the first upscaler and blend the other one in.",
        )
    return lease_upscaler(resources, name, ctx)


@dataclass(frozen=True)
class _UpscaleWork:
    """One image that is brought to `size`, by as many upscalers as are asked for."""

    resources: Resources | None
    image: Image.Image
    size: tuple[int, int]
    tiling: tuple[int | None, int | None]
    counter: TileProgress

    def enlarge_with(self, name: str, upscaler: Upscaler | None) -> Image.Image:
        """By the resampler `name`, or by `upscaler`; other models leave when memory is short even for the smallest
        tiles."""
        if upscaler is None or self.resources is None:
            return self.image.resize(self.size, RESAMPLERS[name])
        while True:
            try:
                return upscale_image.enlarge_image(
                    self.image, self.size, upscaler, tiling=self.tiling, watch=self.counter
                )
            except OutOfMemory:
                left = self.resources.registry.evict_one()
                if not left:
                    raise
            self.counter.add_notice(f"Low memory: {left} was unloaded.")


def _blend(first: Image.Image, second: Image.Image, weight: float) -> Image.Image:
    """`weight` of `second` over `first`; where one of them is clear the colour is the other's."""
    if first.mode != "RGBA":
        return Image.blend(first, second, weight)
    return Image.blend(first.convert("RGBa"), second.convert("RGBa"), weight).convert("RGBA")


def _crop_to_shape(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of `image` in the shape of `size`."""
    across, down = (
        min(1.0, image.height * size[0] / (size[1] * image.width)),
        min(1.0, image.width * size[1] / (size[0] * image.height)),
    )
    wide, high = max(1, round(image.width * across)), max(1, round(image.height * down))
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    return image.crop((left, top, left + wide, top + high)) if (wide, high) != image.size else image


def _fit_size(size: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the shape of `size` inside `most`."""
    factor = min(most[0] / size[0], most[1] / size[1])
    return min(most[0], max(1, round(size[0] * factor))), min(most[1], max(1, round(size[1] * factor)))


def _count_expected_tiles(image: Image.Image, size: tuple[int, int], upscaler: Upscaler, upscale: Upscale) -> list[int]:
    """The tiles of each pass, as they would be with the memory that is free now."""
    counts = upscale_image.count_tiles(image.size, size, upscaler, (upscale.tile, upscale.overlap))
    alpha = image.getchannel("A").getextrema() if image.mode == "RGBA" else (0, 0)
    return counts * 2 if alpha[0] != alpha[1] else counts


def get_default_base(names: list[str]) -> str:
    """The upscaler that a redrawing starts from when it is not said: Real-ESRGAN's for photographs, else any, else
    Lanczos."""
    best = "RealESRGAN_x4plus"
    return best if best in names else next(iter(names), LANCZOS)
