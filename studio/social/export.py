"""The backend that turns a picture into platform formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import FileWish
from studio.core.model import TOOLS_LANE, Feature, Model
from studio.core.ports import JobContext, PictureSeed
from studio.core.request import GenerationRequest, Task
from studio.core.result import Rendered
from studio.core.social import CropResult, Extend, FormatCrop, Social, Verdict
from studio.core.social_formats import Format
from studio.finishing.fonts import Fonts
from studio.social.advice import Advisor, planned
from studio.social.contact_sheet import Sheet, with_zones
from studio.social.fit_format import MATTE, cropped, extended, flat, within
from studio.social.platforms import Platforms
from studio.social.text_overlay import Overlay

MODEL = Model(
    id="social", title="Platform formats", family="social", lane=TOOLS_LANE, tasks=frozenset({Task.SOCIAL}),
    features=frozenset[Feature](), max_batch=1,
)  # fmt: skip
QUALITY = 93  # of JPEG: every platform encodes again, and more than this is lost on it
SHEET_LABEL, ORIGINAL_LABEL = "sheet", "original"


@dataclass(frozen=True)
class _Job:
    """What all formats of one request share."""

    request: GenerationRequest
    social: Social
    picture: Image.Image
    chosen: tuple[Format, ...]
    plans: tuple[CropResult, ...]
    overlay: Overlay


class SocialFormats:
    """A Backend with the one model "social". Each format is one Rendered, of exactly the format's size; `label` is its id,
    `file` what its platform takes. The picture is decoded once and looked at once."""

    def __init__(self, platforms: Platforms, advisor: Advisor, fonts: Fonts) -> None:
        self._platforms = platforms
        self._fonts = fonts
        self._advisor = advisor

    def models(self) -> Sequence[Model]:
        return (MODEL,)

    def render(self, request: GenerationRequest, seeds: Sequence[PictureSeed], ctx: JobContext) -> list[Rendered]:
        social = request.social
        if social is None or request.source is None:
            raise InvalidRequest(
                "There is no picture or no format to make.", hint="Give a source picture and choose platform formats."
            )
        chosen = tuple(self._platforms.format(each) for each in social.formats)
        picture = ctx.picture(request.source)
        with ctx.stage("analyse"):
            plans = self._plans(picture, request.source, chosen, social)
        job = _Job(request, social, picture, chosen, plans, Overlay(social, self._fonts, ctx))
        made = list(self._all(job, ctx))
        return [dataclasses.replace(one, seed=seed.seed) for seed in seeds for one in made]

    def close(self) -> None:
        """Nothing is held."""

    def _plans(
        self, picture: Image.Image, source: str, chosen: Sequence[Format], social: Social
    ) -> tuple[CropResult, ...]:
        """The crop of each format: the user's own, else what was found."""
        seen = self._advisor.analyses.of(picture, source)
        general = {crop.format: crop.box for crop in social.crops if not crop.picture}
        own = general | {crop.format: crop.box for crop in social.crops if crop.picture == source}
        plans = tuple(planned(seen, chosen, social.focus, own, same=social.same))
        if social.extend is Extend.OUTPAINT and any(plan.verdict is Verdict.EXTEND for plan in plans):
            raise InvalidRequest(
                "Formats are cut out of a picture that is there; nothing is painted around it here.",
                hint="Put an outpainting step with a model before this one, or fill with blur, colour or mirror.",
            )
        return plans

    def _all(self, job: _Job, ctx: JobContext) -> Iterator[Rendered]:
        """The formats in their order, then the sheet, then the original."""
        social, steps = job.social, job.social.outputs
        sheet = Sheet()
        titles = {platform.id: platform.title for platform in self._platforms.platforms()}
        for number, (each, plan) in enumerate(zip(job.chosen, job.plans, strict=True), 1):
            one = _rendered(job, each, plan)
            if social.sheet:
                title = f"{titles.get(each.platform, each.platform)} · {each.name}"
                sheet.add(one.image, title, f"{each.width} x {each.height}")
            ctx.progress(number, steps, lambda one=one: one.image)
            yield one
        if social.sheet:
            yield _extra(job, sheet.made(), SHEET_LABEL, dataclasses.replace(social, original=False))
            ctx.progress(len(job.chosen) + 1, steps)
        if social.original:
            first = dataclasses.replace(social, formats=social.formats[:1], crops=(), sheet=False)
            yield _extra(job, job.picture.copy(), ORIGINAL_LABEL, first)
            ctx.progress(steps, steps)


def _rendered(job: _Job, of: Format, plan: CropResult) -> Rendered:
    social = job.social
    notes = [*plan.notes, *(f"Lost: {what}." for what in plan.loses)]
    extend = social.extend is not Extend.CROP and plan.verdict is Verdict.EXTEND
    if extend:
        image = extended(job.picture, of, social.extend, social.colour)
        notes = [f"No crop keeps what matters: the whole picture, filled with {_FILLED[social.extend]}."]
    else:
        image = cropped(job.picture, plan.box, (of.width, of.height))
        if social.upscale:
            notes = [note for note in notes if "is enlarged" not in note]
    kind = social.file_type or of.file_type
    if kind not in of.types:
        notes.append(f"{of.name} is not said to take {kind}.")
    if kind == "jpeg" and image.mode == "RGBA":
        image = flat(image, MATTE)
        notes.append("What is transparent became white: JPEG has no transparency.")
    image, said = job.overlay.over(image, of)
    notes += said
    if social.zones:
        image = with_zones(image, of)
        notes.append("The safe zones are drawn in: this is a proof.")
    if kind == "jpeg" and of.limit is not None:
        soft = within(image, of.limit)
        if soft is not image:
            notes.append(f"Softened: so much detail does not fit into {of.limit // 1000} kB.")
        image = soft
    own = () if extend else (FormatCrop(format=of.id, box=plan.box),)
    alone = dataclasses.replace(social, formats=(of.id,), crops=own, sheet=False, original=False)
    return Rendered(
        image=image,
        notes=tuple(notes),
        label=of.id,
        file=file_of(of, social),
        request=job.request.replace(social=alone),
    )


_FILLED = {Extend.BLUR: "a blurred border", Extend.COLOUR: "a colour", Extend.MIRROR: "mirrored edges"}


def file_of(of: Format, social: Social) -> FileWish:
    """How a format is written: the type that its platform takes, under the smallest of its limits."""
    kind = social.file_type or of.file_type
    quality = None if kind == "png" else QUALITY
    return FileWish(format=kind, quality=quality, max_bytes=of.limit, keep=social.keep)


def _extra(job: _Job, image: Image.Image, label: str, social: Social) -> Rendered:
    kind = "png" if image.mode == "RGBA" else "jpeg"
    wish = FileWish(format=kind, quality=QUALITY if kind == "jpeg" else None, keep=job.social.keep)
    return Rendered(image=image, label=label, file=wish, request=job.request.replace(social=social))
