"""Finishing as a backend of the engine: crop, resize, text, watermark, and all derivatives of one image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Derivative, Finish
from studio.core.model import TOOLS_LANE, Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.finishing import hidden_text, text, watermark
from studio.finishing.crop_and_resize import crop_image, make_derivative, resize_image
from studio.finishing.fonts import Fonts

FINISH_MODEL = Model(
    id="finish",
    title="Finish",
    family="finish",
    lane=TOOLS_LANE,
    tasks=frozenset({Task.FINISH}),
    features=frozenset(),
    max_batch=1,
)
_EXTENSIONS = {"jpeg": "jpg"}


class FinishingBackend:
    """A Backend with the one model "finish". Thread-safe."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts

    def models(self) -> Sequence[Model]:
        return (FINISH_MODEL,)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        """See Backend; the result is the same for every seed. The image is opened once, and every derivative is made
        from its finished pixels, none from another."""
        finish = request.finish or Finish()
        if request.source is None:
            raise InvalidRequest("No image to process.", hint="Choose an image first.")
        for overlay in finish.text:
            text.check_overlay(overlay)
        with ctx.phase("finish"):
            whole = self.finish_image(ctx.load_image(request.source), finish, ctx)
            return [output for seed in seeds for output in self._render_outputs(request, finish, whole, seed, ctx)]

    def finish_image(self, image: Image.Image, finish: Finish, ctx: JobContext) -> Image.Image:
        """`image` cropped, resized, lettered and marked."""
        if image.mode == "L":
            image = image.convert("RGB")
        if finish.crop is not None:
            image = crop_image(image, finish.crop)
        image = resize_image(image, finish.width, finish.height, ctx.settings.max_megapixels * 1_000_000)
        for overlay in finish.text:
            ctx.raise_if_cancelled()
            drawn = text.draw_text(image, overlay, self._fonts)
            image = drawn.image
            for note in drawn.notes:
                ctx.add_notice(note)
        if finish.watermark is not None:
            ctx.raise_if_cancelled()
            logo = ctx.load_image(finish.watermark.image) if finish.watermark.image else None
            image = watermark.draw_watermark(image, finish.watermark, logo, self._fonts)
        return image

    def close(self) -> None: ...

    def _render_outputs(
        self, request: GenerationRequest, finish: Finish, whole: Image.Image, seed: ImageSeed, ctx: JobContext
    ) -> list[RenderedImage]:
        if not finish.derivatives:
            ctx.report_progress(1, 1)
            return [RenderedImage(image=whole, seed=seed.seed, notes=_warn_of_small_image(whole, finish))]
        made: list[RenderedImage] = []
        for number, one in enumerate(finish.derivatives, 1):
            ctx.raise_if_cancelled()
            image = make_derivative(whole, one, ctx.settings.max_megapixels * 1_000_000)
            own = request.replace(finish=dataclasses.replace(finish, derivatives=(one,)))
            label = f"{image.width}x{image.height}.{_get_extension(one, ctx)}"
            notes = _warn_of_small_image(image, finish)
            made.append(
                RenderedImage(image=image, seed=seed.seed, notes=notes, request=own, label=label, file=one.file)
            )
            ctx.report_progress(number, len(finish.derivatives))
        return made


def _warn_of_small_image(image: Image.Image, finish: Finish) -> tuple[str, ...]:
    """The notice for a hidden text in an image that is too small to keep it."""
    if finish.watermark is None or not finish.watermark.hidden or min(image.size) >= hidden_text.ROBUST_SIDE:
        return ()
    return (f"Hidden text in images under {hidden_text.ROBUST_SIDE} px does not survive JPEG compression or resizing.",)


def _get_extension(derivative: Derivative, ctx: JobContext) -> str:
    kind = derivative.file.format or ctx.settings.output_format
    return _EXTENSIONS.get(kind, kind)
