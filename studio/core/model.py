"""Models and their abilities as data: the page hides fields by it, the engine refuses requests by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from studio.core.annotate import OptionSpec
from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.feature import Feature
from studio.core.range_checks import MAX_SIDE
from studio.core.request import GenerationRequest, Task, parse_aspect, parse_size

GPU_LANE = "gpu"
TOOLS_LANE = "tools"  # Pillow, OpenCV, ONNX
CLUSTER_LANE = "cluster"  # local models of other machines
ENLARGEMENT = 4  # times, of the networks that models bring for it
_NOT_ENLARGED = (Task.EDIT, Task.DETAIL)  # by instruction, or in areas whose size is their own
_MOST_AREA = 1.3  # times the area that a model was trained at: from 1.5 times on images show things twice or stretched
_LEAST_AREA = 0.5  # times the same
_LARGEST_UNASKED = 2048  # px of the longer side of an enlarged image that nobody named a size for
_SHAPE_TOLERANCE = 0.1  # by which the shape of an enlarged image may differ from that of what is drawn


class Quality(StrEnum):
    """How good a model's images are, roughly, for choosing one automatically."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"
    BEST = "best"


class Look(StrEnum):
    """What a model was made to draw, as far as it can be known."""

    ANY = "any"
    PHOTO = "photo"
    ANIME = "anime"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A model's defaults, and the samplers and schedules that it may be given; `combinations` maps sampler to
    schedules. With `enlarge` a form asks for its network for enlarging unless that is switched off, with `compose` for
    several things to be composed, with `scenery` in a place."""

    steps: int = 20
    guidance: float = 7.0
    sampler: str = "Euler"
    schedule: str = "Automatic"
    enlarge: bool = False
    compose: bool = False
    scenery: bool = False
    combinations: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sides in px. `liked` are (width, height) pairs that the model was trained near; the first is the default.
    `max_ratio` is how many times as long as the short side the long one may be, 0 for any."""

    liked: tuple[tuple[int, int], ...] = ((512, 512),)
    multiple: int = 8
    smallest: int = 64
    largest: int = 2048
    max_pixels: int = 2048 * 2048
    min_pixels: int = 0
    max_ratio: float = 0.0

    def allows(self, width: int, height: int) -> bool:
        """Whether an image of that size is within all limits but the multiple."""
        return (
            self.smallest <= min(width, height)
            and max(width, height) <= self.largest
            and self.min_pixels <= width * height <= self.max_pixels
            and (not self.max_ratio or max(width, height) <= self.max_ratio * min(width, height))
        )

    def fit_size(self, width: int | None, height: int | None, aspect: str | None) -> tuple[int, int]:
        """The (width, height) to use: given sides as they are, an aspect at the area of the default size, else the
        default."""
        default_width, default_height = self.liked[0]
        if width is not None or height is not None or aspect is None:
            return width or default_width, height or default_height
        ratio = parse_aspect(aspect)
        area = default_width * default_height
        return self._round_side(math.sqrt(area * ratio)), self._round_side(math.sqrt(area / ratio))

    def find_nearest_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) for an image of that size: as it is where the model can, else smaller or larger in its
        shape, or in the nearest shape that the model draws."""
        scale = min(1.0, self.largest / max(width, height), math.sqrt(self.max_pixels / (width * height)))
        scale *= max(1.0, self.smallest / (min(width, height) * scale))
        step = self.multiple
        fitted = (max(self.smallest, math.floor(side * scale / step) * step) for side in (width, height))
        wide, high = (min(side, self.largest // step * step) for side in fitted)
        return (wide, high) if self.allows(wide, high) else self._find_allowed_size(width * scale, height * scale)

    def _find_allowed_size(self, width: float, height: float) -> tuple[int, int]:
        """The allowed size nearest to one that is too small or too long."""
        ratio = width / height
        if self.max_ratio:
            ratio = min(max(ratio, 1 / self.max_ratio), self.max_ratio)
        area = min(max(width * height, self.min_pixels, self.smallest**2 * max(ratio, 1 / ratio)), self.max_pixels)
        step = self.multiple
        sides = (math.sqrt(area * ratio), math.sqrt(area / ratio))
        wides, highs = ([(math.floor(side / step) + k) * step for k in (-1, 0, 1, 2)] for side in sides)
        allowed = [(wide, high) for wide in wides for high in highs if self.allows(wide, high)]
        return min(
            allowed or self.liked,
            key=lambda size: abs(math.log(size[0] / size[1] / ratio)) + abs(math.log(size[0] * size[1] / area)),
        )

    def round_down(self, side: int) -> int:
        """The largest allowed multiple that `side` px reaches, at least one."""
        return side // self.multiple * self.multiple or self.multiple

    def _round_side(self, side: float) -> int:
        rounded = round(side / self.multiple) * self.multiple
        return max(self.smallest, min(self.largest, rounded))


@dataclass(frozen=True, kw_only=True)
class Model:
    """One entry of the model list, local or cloud.

    `id` is stable and what requests name; `lane` is where its jobs run: "gpu" for local pipelines, "cluster" for those
    of other machines, else the provider's id. `paid` means that its images cost money. `problem` is set when the model
    shows up but cannot be used, and says why and what to do. `ignores` says in one sentence what of a request this
    model passes over silently (A1111 prompt syntax, for example). `options` are the figures that a preprocessor can be
    given. Without `has_vae` each request has to name a VAE.
    """

    id: str
    title: str
    family: str
    lane: str = GPU_LANE
    tasks: frozenset[Task] = frozenset({Task.TXT2IMG})
    features: frozenset[Feature] = frozenset(Feature)
    sampling: Sampling = field(default_factory=Sampling)
    sizes: Sizes = field(default_factory=Sizes)
    max_count: int = 100
    max_batch: int = 16
    paid: bool = False
    quality: Quality = Quality.STANDARD
    ignores: str = ""
    problem: str = ""
    note: str = ""
    options: tuple[OptionSpec, ...] = ()
    has_vae: bool = True
    look: Look = Look.ANY

    @property
    def is_own(self) -> bool:
        """Whether our own pipelines run it, here or on a machine of the cluster, and no service."""
        return self.lane in (GPU_LANE, CLUSTER_LANE)

    @property
    def can_refine(self) -> bool:
        """Whether it can go on with what another model of its family began: one made for that, or any that could be
        refined itself."""
        return (
            self.is_own
            and Task.IMG2IMG in self.tasks
            and (Feature.REFINER in self.features or Task.TXT2IMG not in self.tasks)
        )

    @property
    def locked(self) -> bool:
        """Whether it waits for the key or the address of its service; `problem` says how to give it."""
        return bool(self.problem) and not self.is_own and self.lane != TOOLS_LANE

    def check(self, request: GenerationRequest) -> None:
        """Refuse what this model cannot do, before any wait and any cost.

        Raises:
            ModelBroken: the model's own `problem`.
            InvalidRequest: a task, feature, size, count or sampler that it lacks; the message says what it has instead.
        """
        if self.locked:
            raise ModelBroken(f"{self.title} is locked: {self.problem}", hint="Unlock it, or pick another model.")
        if self.problem:
            raise ModelBroken(f"{self.title} cannot be used: {self.problem}", hint="Pick another model.")
        if request.task not in self.tasks:
            raise InvalidRequest(
                f"{self.title} does not support {request.task}.",
                hint="Supported: " + ", ".join(sorted(self.tasks)) + ".",
            )
        if not self.has_vae and not request.vae:
            raise InvalidRequest(f"{self.title} holds no VAE of its own.", hint="Choose a VAE for it.")
        for feature in sorted(find_used_features(request) - self.features):
            raise InvalidRequest(
                f"{self.title} does not support {feature.label}.", hint="Clear that field, or choose another model."
            )
        if request.task.is_generative:
            self.check_size(*self.get_size(request), what="size")
        if request.hires is not None:
            if request.task is not Task.TXT2IMG:
                raise InvalidRequest(
                    "Hires fix is only available for txt2img.", hint="Upscale the result in a separate step."
                )
            self.check_size(*self.get_hires_size(request), what="hires size")
        self._check_enlarged(request)
        _check_composed(request)
        if request.count > self.max_count or request.batch_size > self.max_batch:
            raise InvalidRequest(
                f"{self.title} makes at most {self.max_count} images per job and {self.max_batch} per batch.",
                hint="Request fewer images.",
            )
        self._check_sampler(request.sampler, request.schedule)
        if request.hires is not None:
            self._check_sampler(request.hires.sampler, request.hires.schedule)
        for detailer in request.detailers:
            self._check_detailer(detailer)

    def get_size(self, request: GenerationRequest) -> tuple[int, int]:
        """The (width, height) in px of the first pass."""
        return self.sizes.fit_size(request.width, request.height, request.aspect)

    def get_source_size(self, request: GenerationRequest, width: int, height: int) -> tuple[int, int]:
        """The (width, height) in px of a pass over a source of that size in px: its own, as near as the model can. With
        `enlarge` a quarter of that, so that the result is as large as the source, where that is near what the model was
        trained at; else what it was trained at, in the source's shape."""
        if not request.enlarge:
            return self.sizes.find_nearest_size(width, height)
        times = math.prod(self.sizes.liked[0]) / (width * height)  # as large as the source
        share = 1 / ENLARGEMENT
        if not 1 / _MOST_AREA <= times / share**2 <= 1 / _LEAST_AREA:
            share = min(1.0, math.sqrt(times))
        return self.sizes.find_nearest_size(max(1, round(width * share)), max(1, round(height * share)))

    def fit_to_source(self, request: GenerationRequest, width: int, height: int) -> GenerationRequest:
        """`request`, which names no size, at that of its source in px. With `enlarge` the result is at least four times
        what is drawn, and as large as its source up to 2,048 px a side."""
        drawn = self.get_source_size(request, width, height)
        request = request.replace(width=drawn[0], height=drawn[1])
        if not request.enlarge or request.enlarged_size or _keeps_source_size(request):
            return request
        share = min(1.0, _LARGEST_UNASKED / max(width, height))
        wanted = round(width * share), round(height * share)
        if min(wanted[0] / drawn[0], wanted[1] / drawn[1]) < ENLARGEMENT or not is_alike(wanted, drawn):
            return request
        return request.replace(enlarged_size=_write_enlarged_size(wanted, drawn))

    def may_enlarge(self, request: GenerationRequest) -> bool:
        """Whether the model's own network may enlarge what is drawn for `request`, on whose size nothing else hangs."""
        others = (request.hires, request.axes, request.detailers, request.regions)
        return self.sampling.enlarge and can_be_enlarged(request.task) and not any(others)

    def plan_enlarging(self, request: GenerationRequest, width: int, height: int) -> GenerationRequest | None:
        """`request` for an image of that size in px that is drawn near what the model was trained at and enlarged; None
        where its network may not do that, or where it draws the size itself as well, or no shape near it."""
        if not self.may_enlarge(request) or width * height <= _MOST_AREA * math.prod(self.sizes.liked[0]):
            return None
        enlarged = request.replace(enlarge=True, aspect=None)
        drawn = self.get_source_size(enlarged, width, height)
        liked = self.sizes.liked[0]
        if request.task is Task.TXT2IMG and not request.control and liked[0] == liked[1]:
            drawn = liked  # in other shapes it shows one thing twice: a square is set on its ground
        elif drawn[0] >= width or not is_alike((width, height), drawn):
            return None
        if max(width, height) > MAX_SIDE:
            return None
        wanted = "" if _keeps_source_size(request) else _write_enlarged_size((width, height), drawn)
        return enlarged.replace(width=drawn[0], height=drawn[1], enlarged_size=wanted)

    def get_hires_size(self, request: GenerationRequest) -> tuple[int, int]:
        """The (width, height) in px after the hires pass, rounded to the model's multiple."""
        if request.hires is None:
            return self.get_size(request)
        if request.hires.width is not None and request.hires.height is not None:
            return request.hires.width, request.hires.height
        step = self.sizes.multiple
        width, height = (round(side * request.hires.scale / step) * step for side in self.get_size(request))
        return width, height

    def _check_detailer(self, detailer: Detailer) -> None:
        if detailer.model is not None:  # its backend checks against that one
            return
        if detailer.width is not None and detailer.height is not None:
            self.check_size(detailer.width, detailer.height, what="detailer size")
        self._check_sampler(detailer.sampler, detailer.schedule if detailer.sampler else None)

    def get_result_size(self, request: GenerationRequest) -> tuple[int, int]:
        """The (width, height) in px of the images: after the hires pass, and after enlarging."""
        return get_enlarged_size(request, self.get_hires_size(request))

    def _check_enlarged(self, request: GenerationRequest) -> None:
        if not request.enlarge:
            return
        if not can_be_enlarged(request.task):
            raise InvalidRequest(
                f"{self.title} does not support enlarging in {request.task}.",
                hint="Upscale the result in a separate step.",
            )
        width, height = self.get_result_size(request)
        drawn = self.get_hires_size(request)
        is_set_on_ground = request.task is Task.TXT2IMG and drawn[0] == drawn[1]
        if request.enlarged_size and not is_set_on_ground and not is_alike((width, height), drawn):
            raise InvalidRequest(
                f"The enlarged size {width}×{height} has another shape than the {drawn[0]}×{drawn[1]} px that are "
                "drawn.",
                hint="Give both the same shape, or leave the enlarged size empty.",
            )
        if max(width, height) > MAX_SIDE:
            raise InvalidRequest(
                f"The enlarged image would be {width}×{height}; the limit is {MAX_SIDE} px per side.",
                hint="Choose a smaller size, or switch enlarging off.",
            )

    def check_size(self, width: int, height: int, *, what: str = "size") -> None:
        """Raise InvalidRequest, which calls the size `what`, unless it can draw an image of `width` × `height` px."""
        sizes = self.sizes
        if not sizes.allows(width, height):
            raise InvalidRequest(
                f"The {what} {width}×{height} is outside what {self.title} can draw.", hint=_describe_limits(sizes)
            )
        if width % sizes.multiple or height % sizes.multiple:
            raise InvalidRequest(
                f"The {what} {width}×{height} is not a multiple of {sizes.multiple} px.",
                hint=f"{sizes.round_down(width)}×{sizes.round_down(height)} is valid.",
            )

    def _check_sampler(self, sampler: str | None, schedule: str | None) -> None:
        table = self.sampling.combinations
        if not table:
            return
        name = sampler or self.sampling.sampler
        if name not in table:
            raise InvalidRequest(f"{self.title} has no sampler {name!r}.", hint="It has: " + ", ".join(table) + ".")
        if schedule is not None and schedule not in table[name]:
            raise InvalidRequest(
                f"The sampler {name} has no schedule {schedule!r}.", hint="It has: " + ", ".join(table[name]) + "."
            )


def can_be_enlarged(task: Task) -> bool:
    """Whether what is drawn for `task` may go through the network that a model brings for its own images."""
    return task.is_generative and task not in _NOT_ENLARGED


def get_enlarged_size(request: GenerationRequest, drawn: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) in px that an image of `request`, drawn at that many, has after enlarging."""
    if not request.enlarge:
        return drawn
    return (
        parse_size(request.enlarged_size) if request.enlarged_size else (drawn[0] * ENLARGEMENT, drawn[1] * ENLARGEMENT)
    )


def _keeps_source_size(request: GenerationRequest) -> bool:
    """Whether what is drawn is put back into the source, at its size."""
    return bool(request.mask) or request.task.needs_mask


def _write_enlarged_size(size: tuple[int, int], drawn: tuple[int, int]) -> str:
    """`size` as a request has it, "" for what is drawn enlarged as usual."""
    return "" if size == (drawn[0] * ENLARGEMENT, drawn[1] * ENLARGEMENT) else f"{size[0]}x{size[1]}"


def is_alike(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the shapes of two sizes are so near that stretching one to the other is not seen."""
    return abs(math.log(size[0] / size[1] * other[1] / other[0])) <= _SHAPE_TOLERANCE


def _check_composed(request: GenerationRequest) -> None:
    if request.compose and request.task not in (Task.TXT2IMG, Task.IMG2IMG):
        raise InvalidRequest("Composing is only available for txt2img and img2img.", hint="Switch composing off.")


def _describe_limits(sizes: Sizes) -> str:
    least, most = sizes.min_pixels / 1e6, sizes.max_pixels / 1e6
    return (
        f"Sides from {sizes.smallest} to {sizes.largest} px, "
        + (f"{least:.2f} to {most:.1f} megapixels" if least else f"at most {most:.1f} megapixels")
        + (f", at most {sizes.max_ratio:g}:1." if sizes.max_ratio else ".")
    )


def find_used_features(request: GenerationRequest) -> frozenset[Feature]:
    """The features that `request` cannot do without. Prompt syntax is none of them: a model that lacks it takes the
    words as they are."""
    structured = {
        Feature.LORA: bool(request.loras),
        Feature.HIRES: request.hires is not None,
        Feature.DETAILER: bool(request.detailers),
        Feature.CONTROL: request.task is not Task.PREPROCESS and bool(request.control),
        Feature.REFERENCE: request.task is not Task.STYLE_TRANSFER and bool(request.references),
    }
    plain = {
        spec.feature
        for spec in request.FIELDS
        if spec.feature is not None and not spec.depends_on and spec.is_set(getattr(request, spec.name))
    }
    return frozenset({feature for feature, used in structured.items() if used} | plain - {Feature.PROMPT_SYNTAX})
