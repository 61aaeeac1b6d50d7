"""Plan an export: inspect every image, so that problems are reported before anything
waits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Box, Upscale
from studio.core.request import GenerationRequest
from studio.core.request_parts import Outpaint
from studio.core.social import CropResult, ExtendMode, FormatCrop, SocialExport, Verdict
from studio.core.social_formats import Format
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import SocialParts, Studio
from studio.tabs.social import social_values
from studio.tabs.social.social_fields import ASK

MAX_INSPECTED = 24  # images that are inspected before a job; of more, the result shows what they lose
MAX_SCALE = 4.0  # an upscaler is not asked for more at once


@dataclass(frozen=True)
class _InspectedImage:
    """One image, and the crops that it would get."""

    source: str
    width: int
    height: int
    crops: tuple[CropResult, ...]


class ExportPlanner:
    """Makes the one request of an export."""

    def __init__(self, studio: Studio, parts: SocialParts) -> None:
        self._studio, self._parts = studio, parts

    def plan_request(self, values: Mapping[str, Any], user: User) -> GenerationRequest:
        """The request for what the fields say.

        Raises:
            InvalidRequest: no image or format, nothing to see in an image, people who would be left out and nobody has
                chosen. NotFound: a format or image that is gone.
        """
        sources = social_values.read_sources(values)
        export = social_values.read_social(values)
        platforms = self._parts.platforms.of(user.name)
        formats = {name: platforms.format(name) for name in export.formats}
        drawn = social_values.parse_board(values.get("board"))
        looks = [
            self._inspect_image(source, export, drawn.crops.get(source, {}), drawn.focus.get(source), user)
            for source in sources[:MAX_INSPECTED]
        ]
        if values.get("extend", ASK) == ASK:
            for number, look in enumerate(looks, 1):
                if look.source in drawn.focus:  # the user said who matters
                    continue
                where = f" of image {number}" if len(sources) > 1 else ""
                self._check_faces(look, drawn.crops.get(look.source, {}), formats, where)
        if len(sources) == 1:
            own = drawn.crops.get(sources[0], {})
            export = dataclasses.replace(export, focus=drawn.focus.get(sources[0]), crops=_build_crops(own, export))
            to_extend = [each for each in looks[0].crops if each.verdict is Verdict.EXTEND]
            if export.extend is ExtendMode.OUTPAINT and to_extend:
                return self._build_outpaint_request(
                    looks[0], export, [formats[each.format].ratio for each in to_extend]
                )
        elif export.extend is ExtendMode.OUTPAINT:
            raise InvalidRequest(
                "Outpainting works on one image at a time.", hint="Keep one image, or choose another border."
            )
        else:
            crops = [crop for source in sources for crop in _build_crops(drawn.crops.get(source, {}), export, source)]
            crops += [
                crop
                for look in looks
                if look.source in drawn.focus
                for crop in _build_marked_crops(look, crops, export)
            ]
            export = dataclasses.replace(export, crops=tuple(crops))
        if export.extend is ExtendMode.OUTPAINT:  # every format fits already
            export = dataclasses.replace(export, extend=ExtendMode.CROP)
        request = _set_sources(sources, GenerationRequest(task=Task.SOCIAL, model="social", social=export))
        scale = max(_compute_scale(look, formats) for look in looks)
        return (
            request
            if scale <= 1 or not values.get("upscale")
            else self._prepend_upscale(request, str(values["upscale"]), scale)
        )

    def _inspect_image(
        self, source: str, export: SocialExport, own: Mapping[str, Box], focus: Box | None, user: User
    ) -> _InspectedImage:
        with Image.open(self._studio.engine.get_kept_file(source, user)) as image:
            image.load()
            if image.mode == "RGBA" and image.getchannel("A").getextrema()[1] == 0:
                raise InvalidRequest("The image is fully transparent.", hint="Choose another one.")
            own_crops = {name: box for name, box in own.items() if name in export.formats}
            platforms = self._parts.platforms.of(user.name)
            chosen = [platforms.format(name) for name in export.formats]
            found = self._parts.advisor.suggest_crops(image, chosen, focus, export.same, own_crops)
            return _InspectedImage(source, image.width, image.height, tuple(found))

    def _check_faces(
        self, look: _InspectedImage, own: Mapping[str, Box], formats: Mapping[str, Format], where: str
    ) -> None:
        """Refuse to choose between people."""
        to_extend = [
            each for each in look.crops if each.faces > 1 and each.faces_whole < each.faces and each.format not in own
        ]
        if not to_extend:
            return
        titles = {each.id: each.title for each in self._parts.platforms.platforms()}
        names = [
            f"{titles.get(formats[each.format].platform, '')} {formats[each.format].name}" for each in to_extend[:3]
        ]
        more = f" and {len(to_extend) - 3} more" if len(to_extend) > 3 else ""
        raise InvalidRequest(
            f"Not all {to_extend[0].faces} faces{where} fit into {', '.join(names)}{more}.",
            hint=(
                "Drag those crops or keep them as they are, mark who matters, or choose a border below “If no crop"
                " fits”."
            ),
        )

    def _prepend_upscale(self, request: GenerationRequest, upscaler: str, scale: float) -> GenerationRequest:
        """The request with `upscaler` before it, as far as the format that needs most."""
        export = request.social
        if request.batch and export is not None and export.crops:
            raise InvalidRequest(
                "Your crops cannot be combined with upscaling several images.",
                hint="Export the images one by one, or choose resizing.",
            )
        model = self._studio.engine.model(upscaler, Task.UPSCALE)
        larger = Upscale(scale=min(MAX_SCALE, round(scale + 0.005, 2)))
        first = GenerationRequest(task=Task.UPSCALE, model=model.id, upscale=larger)
        then = (request.replace(source=None, batch=()),)
        return first.replace(source=request.source, batch=request.batch, then=then)

    def _build_outpaint_request(
        self, look: _InspectedImage, export: SocialExport, ratios: list[float]
    ) -> GenerationRequest:
        """The canvas grows until every format that loses something can show the whole image; crops then keep it in
        sight."""
        width = max(look.width, *(round(look.height * ratio) for ratio in ratios))
        height = max(look.height, *(round(look.width / ratio) for ratio in ratios))
        left, top = (width - look.width) // 2, (height - look.height) // 2
        whole = Box(
            left=left / width, top=top / height, right=(left + look.width) / width, bottom=(top + look.height) / height
        )
        crops = tuple(dataclasses.replace(crop, box=_map_box(crop.box, whole)) for crop in export.crops)
        focus = _map_box(export.focus, whole) if export.focus else whole
        last = dataclasses.replace(export, extend=ExtendMode.CROP, focus=focus, crops=crops)
        grows = Outpaint(left=left, top=top, right=width - look.width - left, bottom=height - look.height - top)
        return GenerationRequest(
            task=Task.OUTPAINT,
            source=look.source,
            outpaint=grows,
            then=(GenerationRequest(task=Task.SOCIAL, model="social", social=last),),
        )


def _set_sources(sources: tuple[str, ...], request: GenerationRequest) -> GenerationRequest:
    return request.replace(source=sources[0]) if len(sources) == 1 else request.replace(batch=sources)


def _compute_scale(look: _InspectedImage, formats: Mapping[str, Format]) -> float:
    """How many times the image is enlarged for the format that needs most."""
    return max(
        formats[each.format].width / max(1.0, (each.box.right - each.box.left) * look.width) for each in look.crops
    )


def _build_crops(own: Mapping[str, Box], export: SocialExport, image: str = "") -> tuple[FormatCrop, ...]:
    return tuple(FormatCrop(format=name, box=own[name], image=image) for name in export.formats if name in own)


def _build_marked_crops(look: _InspectedImage, crops: list[FormatCrop], export: SocialExport) -> list[FormatCrop]:
    """The crops around what is marked on one of several images, but for those that are to be extended."""
    own = {crop.format for crop in crops if crop.image == look.source}
    extended = export.extend is not ExtendMode.CROP
    return [
        FormatCrop(format=each.format, box=each.box, image=look.source)
        for each in look.crops
        if each.format not in own and not (extended and each.verdict is Verdict.EXTEND)
    ]


def _map_box(box: Box, whole: Box) -> Box:
    """`box` of the image as a box of the canvas where the image lies in `whole`."""
    wide, high = whole.right - whole.left, whole.bottom - whole.top
    return Box(
        left=whole.left + box.left * wide,
        top=whole.top + box.top * high,
        right=whole.left + box.right * wide,
        bottom=whole.top + box.bottom * high,
    )
