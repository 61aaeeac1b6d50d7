"""An enlarged image drawn anew in tiles by an image-to-image checkpoint: new details after a prompt, in the old
shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Upscale
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Resize
from studio.core.task import Task
from studio.core.upscale_modes import DEFAULT_CREATIVITY, compute_upscaled_size
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.control import control_files
from studio.pipelines.control.control_tasks import find_control_files
from studio.pipelines.run import source_images
from studio.pipelines.run.diffusion import Progress
from studio.pipelines.run.image_to_image import Editing
from studio.pipelines.run.run_plan import Resources
from studio.pipelines.run.tone_matching import match_tones
from studio.pipelines.upscale import upscale_request
from studio.pipelines.upscale.tiling import Span, TileGrid
from studio.vision.hidden_colours import fill_clear_pixels

if TYPE_CHECKING:
    import torch

    from studio.pipelines.run.prepared_run import PassRunner

DEFAULT_CREATIVE_FACTOR = 4.0
"""The factor of a request that names no size."""
_OVERLAP = 1 / 4  # of a tile
_TILE = "tile"  # what the tile at hand is called in place of a content hash


class CreativeUpscale:
    """A request for an enlarged image, drawn by its checkpoint, planned; `draw` may be called again. Every tile is an
    img2img of its own with the same seed, its strength the creativity, and is faded into its neighbours."""

    is_sequential = True

    def __init__(self, resources: Resources, request: GenerationRequest, runs: PassRunner) -> None:
        """Raises InvalidRequest or UnknownModel for what does not go together, before anything is loaded."""
        if request.source is None:
            raise InvalidRequest("No image to upscale.", hint="Choose an image first.")
        model, upscale = resources.model(request.model), request.upscale or Upscale()
        self._resources, self._runs, self._upscale = resources, runs, upscale
        self._source = source_images.ensure_rgb(runs.ctx.load_image(request.source))
        self._size = upscale_request.check_output_size(
            compute_upscaled_size(upscale, *self._source.size, DEFAULT_CREATIVE_FACTOR), runs.ctx
        )
        self._near = model.sizes.find_nearest_size
        step = model.sizes.multiple
        side = max(model.sizes.smallest, (upscale.tile or min(model.sizes.liked[0])) // step * step)
        overlap = round(side * _OVERLAP) if upscale.overlap is None else upscale.overlap
        self._grid = TileGrid.cover(*self._size, side, overlap, step)
        self._request = _add_tile_control(resources, _make_tile_request(request, upscale))
        self._base: Image.Image | None = None
        self._steps = self._plan_tile(self._source.crop((0, 0, *self._get_tile_size())).convert("RGB")).steps
        if self._request.control != request.control:
            runs.ctx.add_notice(f"The ControlNet {self._request.control[-1].model} guides the tiles.")

    @property
    def steps(self) -> int:
        """Steps of one `draw`."""
        return self._steps * len(self._grid)

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        """An image per seed, in order."""
        if self._base is None:
            self._base = self._enlarge_source()
        return [self._redraw_tiles(self._base, seed, progress) for seed in seeds]

    def _enlarge_source(self) -> Image.Image:
        """The source at its final size, by the upscaler that the request starts from."""
        names = [
            file.name
            for file in self._resources.catalog.weights()
            if file.kind is WeightKind.UPSCALER and not file.problem
        ]
        base = self._upscale.base or upscale_request.get_default_base(names)
        ctx = self._runs.ctx

        def report_tile(tile: int, tiles: int) -> None:
            ctx.raise_if_cancelled()
            ctx.report_loading(f"Upscaling with {base}: tile {tile} of {tiles}")

        plain = dataclasses.replace(self._upscale, width=self._size[0], height=self._size[1], tile=None, overlap=None)
        request = self._request.replace(upscale=plain, resize=Resize.CROP)
        with ctx.phase("upscale"):
            return upscale_request.enlarge_image(
                self._resources, base, self._source, request, _ScopedContext(ctx, report=report_tile).context
            )

    def _redraw_tiles(self, base: Image.Image, seed: ImageSeed, progress: Progress) -> Image.Image:
        import numpy as np
        import torch

        if self._steps == 0:
            return base
        image = fill_clear_pixels(base)

        def draw(row: Span, column: Span) -> torch.Tensor:
            before = image.crop((column.start, row.start, column.stop, row.stop))
            [drawn] = self._plan_tile(before).draw((seed,), progress)
            after = drawn.convert("RGB").resize(before.size, Image.Resampling.LANCZOS)
            pixels = match_tones(np.asarray(after, np.float32), np.asarray(before, np.float32))
            return torch.from_numpy(pixels).permute(2, 0, 1)

        made, top = Image.new("RGB", image.size), 0
        for band in self._grid.draw_bands(draw):
            pixels = band.clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
            made.paste(Image.fromarray(np.ascontiguousarray(pixels)), (0, top))
            top += len(pixels)
        if base.mode == "RGBA":
            made.putalpha(base.getchannel("A"))
        return made

    def _plan_tile(self, image: Image.Image) -> Editing:
        """The img2img of one tile."""
        width, height = self._near(*image.size)
        lens = _ScopedContext(self._runs.ctx, image=image)
        runs = dataclasses.replace(self._runs, ctx=lens.context)
        return Editing(self._resources, self._request.replace(width=width, height=height), runs)

    def _get_tile_size(self) -> tuple[int, int]:
        return self._grid.columns[0].size, self._grid.rows[0].size


class _ScopedContext:
    """The job as a part of the work sees it: `image` stands for the source, `report` hears progress."""

    def __init__(
        self, ctx: JobContext, *, image: Image.Image | None = None, report: Callable[[int, int], None] | None = None
    ) -> None:
        self._ctx = ctx
        self._image = image
        self._report = report

    @property
    def context(self) -> JobContext:
        """This as a JobContext: what is not said here is the job's own."""
        lens: Any = self
        return lens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def load_image(self, content_hash: str) -> Image.Image:
        if content_hash == _TILE and self._image is not None:
            return self._image.copy()
        return self._ctx.load_image(content_hash)

    def report_progress(self, step: int, steps: int, preview: Callable[[], Image.Image] | None = None) -> None:
        if self._report is not None:
            self._report(step, steps)
        else:
            self._ctx.report_progress(step, steps, preview)


def _make_tile_request(request: GenerationRequest, upscale: Upscale) -> GenerationRequest:
    strength = DEFAULT_CREATIVITY if upscale.creativity is None else upscale.creativity
    return request.replace(
        task=Task.IMG2IMG, source=_TILE, upscale=None, strength=strength, resize=Resize.STRETCH, aspect=None, loops=1
    )


def _add_tile_control(resources: Resources, request: GenerationRequest) -> GenerationRequest:
    """`request` with the checkpoint's own ControlNet for tiles, where there is one, none is asked for, and diffusers
    can."""
    checkpoint = resources.catalog.checkpoint(request.model)
    spec = resources.catalog.spec(checkpoint)
    can = spec.control.can_steer(Task.IMG2IMG)
    files = find_control_files(checkpoint, spec, resources.catalog.weights()) if can else ()
    found = next((file for file in files if _is_tile_control(file)), None)
    if found is None or request.control:
        return request
    return request.replace(control=(ControlUnit(model=found.name, preprocessor="none", kind="tile"),))


def _is_tile_control(file: WeightFile) -> bool:
    if file.kind is not WeightKind.CONTROLNET or file.problem:
        return False
    return "tile" in file.name.rpartition("/")[2].lower() or bool(control_files.count_union_types(file))
