"""The parts of a request that steer how an image is drawn: LoRAs, hires pass, grid axes, inpainting, control.

Images are named by their content hash (see studio.core.image_fields); a field that holds one is made with
`image_field()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.core.errors import InvalidRequest
from studio.core.field_spec import check_fields
from studio.core.fields import HIRES_FIELDS, INPAINT_FIELDS, OUTPAINT_FIELDS
from studio.core.image_fields import image_field
from studio.core.range_checks import check_range
from studio.core.request_choices import MaskedContent, Resize


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """A LoRA by its catalog name; `weight` scales its effect, usually 0 to 1, and may be negative. `encoder_weight` is
    the weight in the text encoders where it is another one. `blocks` are weights of single blocks, as entries or as a
    list, which the others are multiplied with."""

    name: str
    weight: float = 1.0
    encoder_weight: float | None = None
    blocks: str = ""


@dataclass(frozen=True, kw_only=True)
class Hires:
    """A second pass: enlarge the first image and denoise it again.

    `upscaler` names a latent mode or an image upscaler. `width` and `height`, both in px, win over `scale`. Every other
    field that is None is taken from the first pass. `strength` is the denoising strength, 0 to 1.
    """

    FIELDS = HIRES_FIELDS

    upscaler: str = "Latent"
    scale: float = 2.0
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    strength: float = 0.7
    guidance: float | None = None
    token_merging_ratio: float | None = None
    prompt: str = ""
    negative_prompt: str = ""
    sampler: str | None = None
    schedule: str | None = None
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class ComposedSource:
    """What the source of image to image is composed of: `prompt` names its things; with `scenery` they stand in the
    place that it names, as painted by `seed`."""

    prompt: str
    scenery: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a grid: the parameter's name in studio.core.grid and its values as the user typed them."""

    parameter: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inpaint:
    """How a mask is used. Lengths in px of the source. `only_masked` draws the masked area and `padding` around it at
    the full working size; `soft` lets the change fade with a grey mask instead of ending at its edge; `invert` redraws
    what is not masked. White is what changes."""

    FIELDS = INPAINT_FIELDS

    mask_blur: int = 4
    fill: MaskedContent = MaskedContent.ORIGINAL
    only_masked: bool = False
    padding: int = 32
    soft: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Outpaint:
    """How the canvas grows: px on each side, or to an aspect, or to `width` × `height`, the source staying in the
    middle."""

    FIELDS = OUTPAINT_FIELDS

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    aspect: str | None = None
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "outpaint")


class ControlMode(StrEnum):
    """Whether prompt or control image has more weight."""

    BALANCED = "balanced"
    PROMPT = "prompt"
    CONTROL = "control"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One figure for a preprocessor, by the name that its spec gives."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class ControlUnit:
    """One ControlNet (or T2I-Adapter) and the image that steers. `image` None means the source; `preprocessor` "none"
    takes the image as the finished map. `start` and `end` are fractions of the steps. `kind` names the control type for
    a union ControlNet, "" takes the preprocessor's. `resolution` in px of the map's short side; with `pixel_perfect`
    the drawing's own."""

    model: str = ""
    preprocessor: str = "none"
    image: str | None = image_field(old_name="picture")
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: ControlMode = ControlMode.BALANCED
    resize: Resize = Resize.CROP
    pixel_perfect: bool = True
    resolution: int = 512
    kind: str = ""
    options: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        check_range("control weight", self.weight, 0, 2)
        check_range("control start", self.start, 0, 1)
        check_range("control end", self.end, 0, 1)
        check_range("resolution", self.resolution, 64, 4096)
        if self.start >= self.end:
            raise InvalidRequest(
                f"A control unit starts at {self.start} and ends at {self.end}.", hint="Set the end after the start."
            )


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image to take after: its content and style (IP-Adapter), or with `style_only` its style alone. `model` names
    the adapter, "" the one that fits."""

    image: str = image_field("", old_name="picture")
    weight: float = 0.6
    style_only: bool = False
    model: str = ""

    def __post_init__(self) -> None:
        check_range("reference weight", self.weight, 0, 2)
