"""The backend that turns an image into platform formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import OutputOptions
from studio.core.ground import WHITE, describe_faint_ground, flatten_on_ground
from studio.core.model import TOOLS_LANE, Feature, Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest, Task
from studio.core.result import RenderedImage
from studio.core.social import CropResult, ExtendMode, FormatCrop, NoteKind, SocialExport, Verdict
from studio.core.social_formats import Format
from studio.finishing.fonts import Fonts
from studio.social.advice import Advisor, plan_crops
from studio.social.contact_sheet import ContactSheet, draw_zones
from studio.social.fit_format import crop_to_size, extend_image, soften_to_limit
from studio.social.platforms import Platforms
from studio.social.text_overlay import Overlay

SOCIAL_MODEL = Model(
    id="social",
    title="Platform formats",
    family="social",
    lane=TOOLS_LANE,
    tasks=frozenset({Task.SOCIAL}),
    features=frozenset[Feature](),
    max_batch=1,
)
JPEG_QUALITY = 93  # of JPEG: every platform encodes again, and more than this is lost on it
SHEET_LABEL, ORIGINAL_LABEL = "sheet", "original"


@dataclass(frozen=True)
class _ExportJob:
    """The data that all formats of one request share."""

    request: GenerationRequest
    social: SocialExport
    image: Image.Image
    chosen: tuple[Format, ...]
    plans: tuple[CropResult, ...]
    overlay: Overlay


class SocialBackend:
    """A Backend with the one model "social". Each format is one Rendered, of exactly the format's size; `label` is its
    id, `file` what its platform takes. The image is decoded once and looked at once."""

    def __init__(self, platforms: Platforms, advisor: Advisor, fonts: Fonts) -> None:
        self._platforms = platforms
        self._fonts = fonts
        self._advisor = advisor

    def models(self) -> Sequence[Model]:
        return (SOCIAL_MODEL,)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        social = request.social
        if social is None or request.source is None:
            raise InvalidRequest(
                "No image or no platform format.", hint="Give a source image and choose platform formats."
            )
        platforms = self._platforms.of(ctx.user)
        chosen = tuple(platforms.format(each) for each in social.formats)
        image = ctx.load_image(request.source)
        with ctx.phase("analyse"):
            plans = self._plan_formats(image, request.source, chosen, social)
        job = _ExportJob(request, social, image, chosen, plans, Overlay(social, self._fonts, ctx))
        made = list(self._render_all(job, ctx))
        return [dataclasses.replace(one, seed=seed.seed) for seed in seeds for one in made]

    def close(self) -> None:
        """Has nothing to close."""

    def _plan_formats(
        self, image: Image.Image, source: str, chosen: Sequence[Format], social: SocialExport
    ) -> tuple[CropResult, ...]:
        """The crop of each format: the user's own, else what was found."""
        seen = self._advisor.analyses.of(image, source)
        general = {crop.format: crop.box for crop in social.crops if not crop.image}
        own = general | {crop.format: crop.box for crop in social.crops if crop.image == source}
        plans = tuple(plan_crops(seen, chosen, social.focus, own, same=social.same))
        if social.extend is ExtendMode.OUTPAINT and any(plan.verdict is Verdict.EXTEND for plan in plans):
            raise InvalidRequest(
                "Platform formats are cropped from an image; outpainting is not available here.",
                hint="Add an outpainting step first, or fill with blur, colour or mirror.",
            )
        return plans

    def _render_all(self, job: _ExportJob, ctx: JobContext) -> Iterator[RenderedImage]:
        """The formats in their order, then the sheet, then the original."""
        social, steps = job.social, job.social.outputs
        sheet = ContactSheet()
        titles = {platform.id: platform.title for platform in self._platforms.of(ctx.user).platforms()}
        for number, (each, plan) in enumerate(zip(job.chosen, job.plans, strict=True), 1):
            one = _render_format(job, each, plan)
            if social.sheet:
                title = f"{titles.get(each.platform, each.platform)} · {each.name}"
                sheet.add(one.image, title, f"{each.width} x {each.height}")
            ctx.report_progress(number, steps, lambda one=one: one.image)
            yield one
        if social.sheet:
            yield _render_extra(job, sheet.draw_sheet(), SHEET_LABEL, dataclasses.replace(social, original=False))
            ctx.report_progress(len(job.chosen) + 1, steps)
        if social.original:
            first = dataclasses.replace(social, formats=social.formats[:1], crops=(), sheet=False)
            yield _render_extra(job, job.image.copy(), ORIGINAL_LABEL, first)
            ctx.report_progress(steps, steps)


def _render_format(job: _ExportJob, of: Format, plan: CropResult) -> RenderedImage:
    social = job.social
    remarks = [note.text for note in plan.notes if not (social.upscale and note.kind is NoteKind.ENLARGED)]
    notes = [*remarks, *(f"Cut off: {what}." for what in plan.loses)]
    extend = social.extend is not ExtendMode.CROP and plan.verdict is Verdict.EXTEND
    if extend:
        whole = job.image if social.extend is ExtendMode.COLOUR else flatten_on_ground(job.image, social.ground)
        image = extend_image(whole, of, social.extend, social.colour)
        notes = [f"No suitable crop; the whole image is used with {_FILL_NAMES[social.extend]}."]
    else:
        image = crop_to_size(job.image, plan.box, (of.width, of.height))
    kind = social.file_type or of.file_type
    if kind not in of.types:
        notes.append(f"{of.name} may not accept {kind} files.")
    if kind == "jpeg" and image.mode == "RGBA":
        notes += filter(None, [describe_faint_ground(image, social.ground)])
        image = flatten_on_ground(image, social.ground)
        colour = "white" if social.ground.lower() == WHITE else social.ground
        notes.append(f"What is transparent became {colour}: JPEG has no transparency.")
    image, overlay_notes = job.overlay.draw(image, of)
    notes += overlay_notes
    if social.zones:
        image = draw_zones(image, of)
        notes.append("The safe zones are drawn into this file.")
    if kind == "jpeg" and of.limit is not None:
        soft = soften_to_limit(image, of.limit)
        if soft is not image:
            notes.append(f"The image was softened to fit into {of.limit // 1000} kB.")
        image = soft
    own = () if extend else (FormatCrop(format=of.id, box=plan.box),)
    alone = dataclasses.replace(social, formats=(of.id,), crops=own, sheet=False, original=False)
    return RenderedImage(
        image=image,
        notes=tuple(notes),
        label=of.id,
        file=choose_output_options(of, social),
        request=job.request.replace(social=alone),
    )


_FILL_NAMES = {ExtendMode.BLUR: "a blurred border", ExtendMode.COLOUR: "a colour", ExtendMode.MIRROR: "mirrored edges"}


def choose_output_options(of: Format, social: SocialExport) -> OutputOptions:
    """How a format is written: the type that its platform takes, under the smallest of its limits."""
    kind = social.file_type or of.file_type
    quality = None if kind == "png" else JPEG_QUALITY
    return OutputOptions(format=kind, quality=quality, max_bytes=of.limit, keep=social.keep)


def _render_extra(job: _ExportJob, image: Image.Image, label: str, social: SocialExport) -> RenderedImage:
    kind = "png" if image.mode == "RGBA" else "jpeg"
    options = OutputOptions(format=kind, quality=JPEG_QUALITY if kind == "jpeg" else None, keep=job.social.keep)
    return RenderedImage(image=image, label=label, file=options, request=job.request.replace(social=social))
