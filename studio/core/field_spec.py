"""How a plain field of a request is described: one entry that forms, infotext, grids, checks and APIs go by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from studio.core.errors import InvalidRequest
from studio.core.feature import Feature
from studio.core.range_checks import check_range

AUTOMATIC = "Automatic"  # stands in lists for "what the model prefers"
SAME_AS_FIRST = "As in the first pass"
NONE = "None"
RANDOM_SEED = -1  # in a form: draw one


class Widget(StrEnum):
    """The kind of widget that shows a field."""

    TEXT = "text"
    NUMBER = "number"
    LARGE_NUMBER = "large number"  # a whole one, as text: a browser's numbers are exact up to 2**53 only
    SLIDER = "slider"
    DROPDOWN = "dropdown"
    RADIO = "radio"
    CHECKBOX = "checkbox"
    COLOUR = "colour"  # "#rrggbb"


class Group(StrEnum):
    """The part of a form where a field stands."""

    PROMPT = "prompt"
    TEMPLATE = "template"
    MODEL = "model"
    SIZE = "size"
    ENLARGE = "enlarge"
    SAMPLING = "sampling"
    SEED = "seed"
    DETAILS = "details"
    REGIONS = "regions"
    STRENGTH = "strength"
    RESIZE = "resize"
    LOOPS = "loops"
    SEARCH = "search"
    HIRES = "hires"
    DETAILER = "detailer"
    INPAINT = "inpaint"
    OUTPAINT = "outpaint"
    UPSCALE = "upscale"
    FACES = "faces"
    CROP = "crop"
    FINISH = "finish"
    DERIVATIVES = "derivatives"
    FILE = "file"
    TEXT = "text"
    WATERMARK = "watermark"
    SOCIAL = "social"


class ChoiceSource(StrEnum):
    """The source of a list's choices: the chosen model, the models folder, the models themselves, the fonts,
    or what is common."""

    MODELS = "models"
    SAMPLERS = "samplers"
    SCHEDULES = "schedules"
    VAES = "VAEs"
    UPSCALERS = "upscalers"
    FONTS = "fonts"
    ASPECTS = "aspects"
    DETAIL_TARGETS = "detail targets"


@dataclass(frozen=True)
class Limits:
    """The smallest and the largest number of a field, both allowed, and the step of its widget."""

    low: float
    high: float
    step: float = 1


@dataclass(frozen=True)
class InfotextKey:
    """The key that AUTOMATIC1111 writes, other keys that are read as it, and the names that other programs have for
    it."""

    key: str
    aliases: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True)
class GridAxis:
    """A field as the axis of a grid: its name there, an example of typed values, and how costly a change is (of two
    axes, the one with the higher cost changes less often). Without `labelled` the bare value is its label."""

    name: str
    example: str
    cost: int = 0
    labelled: bool = True


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One plain field of a request or of one of its parts.

    `kind` is the type of its value and `unset` the value of the dataclass's default, which means "what the model
    prefers" or "no effect". `limits` are what is refused beyond, `max_length` the same for text, in characters;
    `slider` is the narrower range that the widget offers, `initial` what a fresh form shows, `empty` what stands in the
    widget for `unset`. A form shows a number times `form_scale` (fractions in per cent, bytes in kB), and these three
    are as it shows them. With `from_model` the model's own default of that name is shown and written. `options` are
    fixed choices by their labels, `old_labels` map the labels of earlier versions to these; `source` names a list that
    changes. The field matters only while `depends_on` is set, and setting it in a grid unsets `replaces`. `form`, `api`
    and `a1111` are its names there, where they differ; `api_help` says what `help` says where there is no form.
    """

    name: str
    kind: type[int] | type[float] | type[str]
    label: str
    help: str
    group: Group
    widget: Widget | None = None
    unset: object = None
    limits: Limits | None = None
    slider: Limits | None = None
    max_length: int | None = None
    initial: object = None
    empty: object = None
    from_model: bool = False
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    old_labels: Mapping[str, str] = field(default_factory=dict[str, str])
    source: ChoiceSource | None = None
    placeholder: str = ""
    lines: int = 1
    feature: Feature | None = None
    depends_on: str = ""
    replaces: tuple[str, ...] = ()
    infotext: InfotextKey | None = None
    grid: GridAxis | None = None
    form: str = ""
    form_scale: float = 1.0
    api: str = ""
    api_help: str = ""
    a1111: str = ""

    @property
    def form_name(self) -> str:
        """Its name among the values of a form."""
        return self.form or self.name

    @property
    def api_name(self) -> str:
        """Its name in the native API."""
        return self.api or self.name

    @property
    def blank(self) -> object:
        """The value that a form shows when the field is not set."""
        return self.to_form(self.unset) if self.empty is None else self.empty

    def to_form(self, value: Any) -> Any:
        """`value`, of a request, as a form shows it."""
        return value if self.form_scale == 1.0 or value is None else round(value * self.form_scale, 4)

    def from_form(self, value: float) -> float:
        """The inverse of `to_form`, a whole number where the field is one."""
        number = value / self.form_scale
        return round(number) if self.kind is int else round(number, 6)

    def is_set(self, value: object) -> bool:
        """Whether `value`, of a request or of a form, asks for anything but what happens without it."""
        if isinstance(value, str) and not isinstance(value, StrEnum):
            value = value.strip()
        if self.widget is Widget.LARGE_NUMBER and value == str(self.empty):
            return False
        return value not in (None, "", self.unset, self.empty)

    def check(self, value: Any, part: str = "") -> None:
        """Refuse a value that is outside the limits; `part` is the part of the request that the field belongs to.

        Raises:
            InvalidRequest: it is, the field named.
        """
        if self.limits is not None:
            low, high = self.limits.low, self.limits.high
            check_range(f"{part} {self.name}".strip(), value, low, high, label=self.label)
        if self.max_length is not None and len(value) > self.max_length:
            raise InvalidRequest(
                f"{self.label} is longer than {self.max_length} characters.",
                hint="Shorten it.",
                details={"field": self.name},
            )


class HasFields(Protocol):
    """A request, or a part of one, that the field table describes."""

    @property
    def FIELDS(self) -> tuple[FieldSpec, ...]: ...  # noqa: N802 - a constant of the class


def check_fields(part: HasFields, name: str = "") -> None:
    """Check every plain field of `part`, which the messages call `name`.

    Raises:
        InvalidRequest: a value is out of range.
    """
    for spec in part.FIELDS:
        spec.check(getattr(part, spec.name), name)


def select_fields(fields: Iterable[FieldSpec], *groups: Group) -> tuple[FieldSpec, ...]:
    """The fields of `groups`, in their order in the table."""
    return tuple(spec for spec in fields if spec.group in groups)


def get_field(fields: Iterable[FieldSpec], name: str) -> FieldSpec:
    """The field called `name`; raises KeyError where there is none."""
    for spec in fields:
        if spec.name == name:
            return spec
    raise KeyError(name)


def adapt_fields(fields: Iterable[FieldSpec], **changes: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
    """`fields` as one form has them: `changes` to each by its name, in their order; fields without any are left out."""
    known = tuple(fields)
    return tuple(replace(get_field(known, name), **changed) for name, changed in changes.items())
