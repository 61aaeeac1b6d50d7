"""The one request: everything that affects an image, frozen, and its way to JSON and back.

The page builds it, the HTTP dialects build it, the journal stores it, the image carries it. `None` always means "what
the model prefers". A new plain field is one line here and one entry in a table of studio.core.field_tables; it travels
everywhere by itself.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, Self

from studio.core.block_weights import parse_blocks
from studio.core.codec import decode_json, encode_json
from studio.core.detailer import MAX_DETAILERS, Detailer
from studio.core.errors import InvalidRequest
from studio.core.field_spec import check_fields
from studio.core.fields import MAX_SEED as MAX_SEED
from studio.core.fields import REQUEST_FIELDS
from studio.core.finish import FaceRestoration, Finish, OutputOptions, Upscale
from studio.core.image_fields import image_field
from studio.core.range_checks import MAX_LORA_WEIGHT, MAX_SIDE, check_range
from studio.core.region_area import MAX_AREAS, RegionArea
from studio.core.request_choices import NoiseSource, PromptOrder, RegionMode, RegionSplit, Resize, Saving
from studio.core.request_parts import Axis, ComposedSource, ControlUnit, Hires, Inpaint, LoraUse, Outpaint, Reference
from studio.core.social import SocialExport
from studio.core.task import Task
from studio.core.text_checks import check_depth, clean_texts

MAX_CONTROL_UNITS = 8
MIN_TILE = 64
"""The smallest tile of tiled diffusion, in px."""
MAX_CHAIN_STEPS = 12


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Everything that affects an image. Lengths in px, `seed` 0 to 2**64-1, `guidance` the CFG scale, `clip_skip`
    counted as A1111 does (1 = last layer).

    `enlarge` sends the finished image through the network that the model brings for it, 4 times as wide and high, or to
    `enlarged_size` ("1024x768", in px).
    With `compose` a prompt of several things that such a model knows one at a time ("a cat and two red apples") becomes
    an image that is composed of them; with `scenery` in the place that it names, each thing as large as its kind is.
    From an image that is composed so, each of its things is redrawn by itself, in its place; `composed` says what they
    are, and is filled in from the source's own recipe.

    `count` is the number of images; `batch_size` how many of them go through the model together, which changes speed
    and memory but not the images: image k is drawn from seed + k. With `variation_strength` above 0 all images
    start from `seed` and lean towards `variation_seed` + k by that fraction. With ComfyUI's noise source all images
    have `seed` and are those at `batch_index` + k of its batch. `noise_seed_delta` is added to the seed for noise after
    the first one; `seed_resize` ("512x768", in px) is the size that the seed's first noise is drawn at. `axes` turns
    the request into a grid job: one image per combination.

    Images are named by content hash. Work on an image takes `source`; `batch` names several instead, and each of them
    gets its `count` images. In a mask white is what changes. `strength` is the denoising strength, 0 to 1 (for sketch
    and structure: how closely the source is followed). `loops` feeds each image back as the source that many times.
    Tasks with a mask and searches give an image of the source's size, `width` and `height` being the size that is drawn
    at. With `regions` each part of the image has its own part of the prompt, or each of `areas` a prompt of its own
    (see studio.core.regions). From the fraction `refiner_switch` of the noise schedule on, the checkpoint `refiner`
    goes on with the drawing; with a hires pass, of that pass alone. `detailers` work on each finished image, one after
    the other.

    Prompts may be dynamic (studio.prompting.dynamic). `template` and `negative_template` are then what `prompt` and
    `negative_prompt` are drawn from, and `drawn` holds the texts of each image (see studio.core.prompt_texts), drawn
    when the request is submitted: what it draws from may change later.

    `then` are requests that follow, each working on what came before; they name no source of their own. `file` says how
    the result is written where that is not to be as the settings say. `fallbacks` are models to try in this order when
    the chosen one cannot be reached, is busy or is broken.
    """

    FIELDS = REQUEST_FIELDS

    task: Task = Task.TXT2IMG
    model: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    template: str = ""
    negative_template: str = ""
    prompt_order: PromptOrder = PromptOrder.RANDOM
    drawn: tuple[tuple[str, ...], ...] = ()
    prompt_weight: float = 1.0
    negative_weight: float = 1.0
    width: int | None = None
    height: int | None = None
    aspect: str | None = None
    enlarge: bool = False
    enlarged_size: str = ""
    compose: bool = False
    scenery: bool = False
    count: int = 1
    batch_size: int = 1
    seed: int | None = None
    variation_seed: int | None = None
    variation_strength: float = 0.0
    noise_source: NoiseSource = NoiseSource.CPU
    batch_index: int = 0
    noise_seed_delta: int = 0
    seed_resize: str = ""
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    clip_skip: int | None = None
    vae: str | None = None
    regions: RegionSplit | None = None
    region_ratios: str = "1,1"
    region_base: float = 0.0
    region_common: bool = False
    region_mode: RegionMode = RegionMode.LATENT
    areas: tuple[RegionArea, ...] = ()
    tiling: bool = False
    guidance_rescale: float = 0.0
    pag_scale: float = 0.0
    freeu: str = ""
    token_merging_ratio: float = 0.0
    sag_scale: float = 0.0
    sag_blur: float = 2.0
    mimic_scale: float = 0.0
    threshold_percentile: float = 100.0
    tile_size: int = 0
    tile_overlap: float = 0.5
    tile_batch: int = 1
    skip_layers: str = ""
    skip_layer_scale: float = 2.8
    skip_layers_until: float = 0.2
    refiner: str | None = None
    refiner_switch: float = 0.8
    loras: tuple[LoraUse, ...] = ()
    hires: Hires | None = None
    detailers: tuple[Detailer, ...] = ()
    saving: Saving | None = None
    axes: tuple[Axis, ...] = ()
    source: str | None = image_field()
    batch: tuple[str, ...] = image_field(())
    mask: str | None = image_field()
    composed: ComposedSource | None = None
    background: str | None = image_field()
    lighting: str | None = image_field()
    strength: float | None = None
    resize: Resize = Resize.CROP
    loops: int = 1
    inpaint: Inpaint = Inpaint()
    outpaint: Outpaint | None = None
    search: str = ""
    control: tuple[ControlUnit, ...] = ()
    references: tuple[Reference, ...] = ()
    upscale: Upscale | None = None
    faces: FaceRestoration | None = None
    finish: Finish | None = None
    social: SocialExport | None = None
    file: OutputOptions | None = None
    then: tuple[GenerationRequest, ...] = ()
    fallbacks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no model could do.

        Raises:
            InvalidRequest: a field outside its range, named in the message.
        """
        check_fields(self)
        for lora in self.loras:
            for weight in (lora.weight, lora.encoder_weight):
                check_range(f"weight of the LoRA {lora.name}", weight, -MAX_LORA_WEIGHT, MAX_LORA_WEIGHT)
            for weight in parse_blocks(lora.blocks).values():
                check_range(f"block weight of the LoRA {lora.name}", weight, -MAX_LORA_WEIGHT, MAX_LORA_WEIGHT)
        if self.aspect is not None:
            parse_aspect(self.aspect)
        texts = (
            (self.seed_resize, parse_size),
            (self.enlarged_size, parse_size),
            (self.freeu, parse_freeu),
            (self.skip_layers, parse_layers),
        )
        for text, parse in texts:
            if text:
                parse(text)
        if self.tile_size:
            check_range("tile_size", self.tile_size, MIN_TILE, MAX_SIDE, label="Tile size")
        if self.hires is not None:
            _check_hires(self.hires)
        counts = (
            ("control units", len(self.control), MAX_CONTROL_UNITS),
            ("detailers", len(self.detailers), MAX_DETAILERS),
            ("areas", len(self.areas), MAX_AREAS),
        )
        for name, count, most in counts:
            if count > most:
                raise InvalidRequest(f"Too many {name}; the limit is {most}.", hint="Remove some of them.")
        if len(self.axes) > 3:
            raise InvalidRequest("A grid has at most three axes.", hint="Remove one of them.")
        _check_chain(self)

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked again; the original is untouched."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict without the fields that equal their default."""
        return encode_json(self)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of `to_json`; missing fields take their default.

        Raises:
            InvalidRequest: an unknown field, a wrong type or a value out of range, each named.
        """
        return decode_json(cls, data, "request")

    @classmethod
    def from_stored_json(cls, data: Any) -> Self:
        """As `from_json`, for what an earlier version wrote: the characters that are refused today are left out."""
        check_depth(data, "request")
        return cls.from_json(clean_texts(data))


def count_outputs(request: GenerationRequest) -> int:
    """How many files each drawn image ends as: the derivatives or formats of the last step, else one."""
    last = request.then[-1] if request.then else request
    if last.task is Task.SOCIAL and last.social is not None:
        return last.social.outputs
    if last.task is Task.FINISH and last.finish is not None:
        return max(1, len(last.finish.derivatives))
    return 1


def _check_chain(request: GenerationRequest) -> None:
    if len(request.then) > MAX_CHAIN_STEPS:
        raise InvalidRequest(f"Too many chain steps; the limit is {MAX_CHAIN_STEPS}.", hint="Remove some of them.")
    for number, step in enumerate(request.then, 1):
        if step.then or step.axes or step.source or step.batch or step.count != 1 or step.task is Task.TXT2IMG:
            raise InvalidRequest(
                f"Step {number} of the chain has a source, a count, a grid or a chain of its own, or draws from text"
                " alone.",
                hint="Each step must work on the result of the previous step.",
            )
        if number < len(request.then) and count_outputs(step) > 1:
            raise InvalidRequest(
                f"Step {number} of the chain makes several files but is not the last step.", hint="Put it last."
            )
    if request.then and count_outputs(request.replace(then=())) > 1:
        raise InvalidRequest(
            "A step before the chain makes several files.", hint="Move the step that makes several files to the end."
        )


def parse_aspect(text: str) -> float:
    """Width over height of "16:9" (or "16/9", "1.91:1").

    Raises:
        InvalidRequest: not two positive numbers, or steeper than 20 to 1.
    """
    try:
        width, height = (float(part) for part in text.replace("/", ":").split(":"))
        ratio = width / height
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidRequest(
            f"“{text}” is not an aspect ratio.", hint="Write it as width:height, for example 16:9."
        ) from error
    if not (math.isfinite(ratio) and 1 / 20 <= ratio <= 20):
        raise InvalidRequest(
            f"The aspect ratio {text} is too extreme (limit 20:1).", hint="Stay between 1:20 and 20:1."
        )
    return ratio


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) in px of "512x768".

    Raises:
        InvalidRequest: not two sides of 8 to MAX_SIDE px.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", text)
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(8 <= side <= MAX_SIDE for side in sides):
        raise InvalidRequest(f"“{text}” is not a size.", hint="Write it as width x height in px, for example 512x768.")
    return sides


def parse_freeu(text: str) -> tuple[float, float, float, float]:
    """The factors b1, b2, s1 and s2 of FreeU in "1.3, 1.4, 0.9, 0.2".

    Raises:
        InvalidRequest: not four numbers from 0 to 10.
    """
    try:
        b1, b2, s1, s2 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidRequest(
            f"“{text}” are no factors of FreeU.", hint="Write b1, b2, s1, s2, for example 1.3, 1.4, 0.9, 0.2."
        ) from error
    for name, value in (("b1", b1), ("b2", b2), ("s1", s1), ("s2", s2)):
        check_range(f"FreeU {name}", value, 0, 10)
    return b1, b2, s1, s2


def parse_layers(text: str) -> list[int]:
    """The layers in "7, 8, 9".

    Raises:
        InvalidRequest: not whole numbers from 0 on.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,3}", part) for part in parts):
        raise InvalidRequest(
            f"“{text}” are no layers.",
            hint="Write their numbers, for example 7, 8, 9.",
            details={"field": "skip_layers"},
        )
    return [int(part) for part in parts]


def _check_hires(hires: Hires) -> None:
    check_fields(hires, "hires")
    if (hires.width is None) != (hires.height is None):
        raise InvalidRequest(
            "The hires pass has a width or a height, but not both.", hint="Give both, or only a scale."
        )
