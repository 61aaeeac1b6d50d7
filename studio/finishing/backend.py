"""Finishing as a backend of the engine: crop, resize, text, watermark, and all derivatives of one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Box, Derivative, Finish
from studio.core.model import Model
from studio.core.ports import JobContext, PictureSeed
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.finishing import text, watermark
from studio.finishing.fonts import Fonts

MODEL = Model(
    id="finish", title="Finish", family="finish", lane="tools", tasks=frozenset({Task.FINISH}), features=frozenset(), max_batch=1,
)  # fmt: skip


class Finishing:
    """A Backend with the one model "finish". Thread-safe."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts

    def models(self) -> Sequence[Model]:
        return (MODEL,)

    def render(self, request: GenerationRequest, seeds: Sequence[PictureSeed], ctx: JobContext) -> list[Rendered]:
        """See Backend; the result is the same for every seed."""
        wish = request.finish or Finish()
        if request.source is None:
            raise InvalidRequest("There is no picture to finish.", hint="Choose a picture first.")
        with ctx.stage("finish"):
            whole = self.finished(ctx.picture(request.source), wish, ctx)
            return [output for seed in seeds for output in self._outputs(request, wish, whole, seed, ctx)]

    def finished(self, image: Image.Image, wish: Finish, ctx: JobContext) -> Image.Image:
        """`image` cropped, resized, lettered and marked."""
        if image.mode == "L":
            image = image.convert("RGB")
        if wish.crop is not None:
            image = cropped(image, wish.crop)
        size = within(image.size, wish.width, wish.height)
        if size != image.size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        for overlay in wish.text:
            drawn = text.draw(image, overlay, self._fonts)
            image = drawn.image
            for note in drawn.notes:
                ctx.notice(note)
        if wish.watermark is not None:
            logo = ctx.picture(wish.watermark.picture) if wish.watermark.picture else None
            image = watermark.mark(image, wish.watermark, logo, self._fonts)
        return image

    def close(self) -> None: ...

    def _outputs(
        self, request: GenerationRequest, wish: Finish, whole: Image.Image, seed: PictureSeed, ctx: JobContext
    ) -> list[Rendered]:
        if not wish.derivatives:
            ctx.progress(1, 1)
            return [Rendered(image=whole, seed=seed.seed)]
        made: list[Rendered] = []
        for number, one in enumerate(wish.derivatives, 1):
            own = request.replace(finish=dataclasses.replace(wish, derivatives=(one,)))
            image = derived(whole, one)
            made.append(
                Rendered(image=image, seed=seed.seed, request=own, label=f"{image.width}x{image.height}", file=one.file)
            )
            ctx.progress(number, len(wish.derivatives))
        return made


def cropped(image: Image.Image, box: Box) -> Image.Image:
    """The part of `image` in `box`, at least a pixel."""
    left, top = int(box.left * image.width), int(box.top * image.height)
    right, bottom = round(box.right * image.width), round(box.bottom * image.height)
    return image.crop((left, top, max(left + 1, right), max(top + 1, bottom)))


def within(size: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    """`size` brought to `width` and `height` px; where one is None the shape stays."""
    if width is None and height is None:
        return size
    if width is not None and height is not None:
        return width, height
    scale = width / size[0] if width is not None else (height or 1) / size[1]
    return (width or max(1, round(size[0] * scale))), (height or max(1, round(size[1] * scale)))


def derived(image: Image.Image, wish: Derivative) -> Image.Image:
    """`image` as the derivative: never made larger; inside its sides in its own shape, or with `crop` filling them from the
    middle."""
    width, height = wish.width or image.width, wish.height or image.height
    if wish.crop and wish.width and wish.height:
        scale = max(width / image.width, height / image.height)
        part = (width / scale, height / scale)
        left, top = (image.width - part[0]) / 2, (image.height - part[1]) / 2
        size = (width, height) if scale <= 1 else (max(1, int(part[0])), max(1, int(part[1])))
        return image.resize(
            size, Image.Resampling.LANCZOS, box=(left, top, left + part[0], top + part[1]), reducing_gap=3.0
        )
    scale = min(1.0, width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
