"""The parts of a request that work on a finished image: enlarge, restore faces, finish, write."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.field_spec import check_fields
from studio.core.field_tables.finish import (
    BOX_FIELDS,
    CONTRASTS,
    DERIVATIVE_FIELDS,
    FACE_FIELDS,
    FILE_FIELDS,
    FILE_FORMATS,
    FINISH_FIELDS,
    TEXT_FIELDS,
    UPSCALE_FIELDS,
    WATERMARK_FIELDS,
)
from studio.core.finish_choices import Anchor, MetadataPolicy
from studio.core.ground import WHITE, check_colour
from studio.core.image_fields import image_field


@dataclass(frozen=True, kw_only=True)
class Upscale:
    """How much larger: `scale` times, or to `long_side` px, or to `width` × `height` px (the last given wins in that
    order). `second` is another upscaler, blended in by `second_weight` (0 to 1). `tile` and `overlap` in px of the
    small image, None for what fits the memory. `creativity` (0 to 1) is how much a model that redraws may change;
    `base` names the upscaler that it starts from."""

    FIELDS = UPSCALE_FIELDS

    scale: float | None = None
    long_side: int | None = None
    width: int | None = None
    height: int | None = None
    second: str = ""
    second_weight: float = 0.0
    tile: int | None = None
    overlap: int | None = None
    creativity: float | None = None
    base: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.width is None) != (self.height is None):
            raise InvalidRequest("The upscale has a width or a height, but not both.", hint="Give both, or a scale.")


@dataclass(frozen=True, kw_only=True)
class FaceRestoration:
    """Face restoration. `visibility` 0 to 1 blends the restored face over the old one; `fidelity` 0 (best looking) to 1
    (closest to the source), for restorers that know it."""

    FIELDS = FACE_FIELDS

    visibility: float = 1.0
    fidelity: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How a file is written: `format` "png", "jpeg", "webp" or "avif", `quality` 1 to 100, at most `max_bytes`. None
    means what the settings say. `ground` ("#rrggbb") lies behind transparent parts in a JPEG. Colours are sRGB
    always."""

    FIELDS = FILE_FIELDS

    format: str | None = None
    quality: int | None = None
    max_bytes: int | None = None
    keep: MetadataPolicy = MetadataPolicy.ALL
    ground: str = WHITE

    def __post_init__(self) -> None:
        if self.format not in (None, *FILE_FORMATS.values()):
            raise InvalidRequest(f"Unknown file format {self.format!r}.", hint="Use png, jpeg, webp or avif.")
        check_fields(self)
        check_colour(self.ground)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of an image, as fractions of its width and height, 0 to 1."""

    FIELDS = BOX_FIELDS

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.left >= self.right or self.top >= self.bottom:
            raise InvalidRequest(
                "A box is empty.", hint="Right must be greater than left, and bottom greater than top."
            )


@dataclass(frozen=True, kw_only=True)
class TextOverlay:
    """Words over an image. `size` as a fraction of the image's height; `stroke` as a fraction of the font size;
    `margin` as a fraction of the shorter side; colours "#rrggbb"; `font` "" for the one that ships. `contrast` "check"
    reports text that is too hard to read, "fix" puts a shade beneath."""

    FIELDS = TEXT_FIELDS

    text: str = ""
    font: str = ""
    size: float = 0.08
    colour: str = "#ffffff"
    stroke: float = 0.06
    stroke_colour: str = "#000000"
    anchor: Anchor = Anchor.BOTTOM
    margin: float = 0.05
    contrast: str = "check"

    def __post_init__(self) -> None:
        check_fields(self, "text")
        if self.contrast not in CONTRASTS.values():
            raise InvalidRequest(f"Unknown contrast option {self.contrast!r}.", hint="Use check or fix.")


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """A mark over the image: an image or text, at a corner or `tiled`; `hidden` is invisible text that can be read
    back."""

    FIELDS = WATERMARK_FIELDS

    image: str | None = image_field(old_name="picture")
    text: str = ""
    opacity: float = 0.5
    size: float = 0.15
    anchor: Anchor = Anchor.BOTTOM_RIGHT
    margin: float = 0.03
    tiled: bool = False
    hidden: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "watermark")


@dataclass(frozen=True, kw_only=True)
class Derivative:
    """One more file of the image: within `width` × `height` px (None: free), or cropped to fill it with `crop`. It is
    never larger than the image unless `enlarge` says so."""

    FIELDS = DERIVATIVE_FIELDS

    width: int | None = None
    height: int | None = None
    crop: bool = False
    enlarge: bool = False
    file: OutputOptions = OutputOptions()

    def __post_init__(self) -> None:
        check_fields(self, "derivative")


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Steps on a finished image, in this order: crop, resize (`width`, `height` px; one alone keeps the shape),
    text, watermark; then the derivatives, when there are any, instead of the one file."""

    FIELDS = FINISH_FIELDS

    crop: Box | None = None
    width: int | None = None
    height: int | None = None
    text: tuple[TextOverlay, ...] = ()
    watermark: Watermark | None = None
    derivatives: tuple[Derivative, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
