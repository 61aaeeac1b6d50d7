"""From the form's values to a request and back; no widgets, no engine.

The values come straight from a browser: any JSON. Whatever does not fit is refused with InvalidRequest, by name.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.core.codec import decode_json
from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest
from studio.core.field_spec import (
    AUTOMATIC,
    NONE,
    SAME_AS_FIRST,
    FieldSpec,
    Group,
    HasFields,
    Widget,
    select_fields,
)
from studio.core.lora_tags import append_tags
from studio.core.model import Feature, Model
from studio.core.region_infotext import append_general_tags
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse
from studio.core.request_choices import RegionSplit
from studio.prompting.dynamic_tree import escape_text
from studio.tabs.common.region_values import read_areas, write_areas

LORA_SLOTS = 4
MAX_SLOT_WEIGHT = 2.0
AXES = ("x", "y", "z")
DETAILERS = 2
DETAILER_SWITCH = "detailer_on"
MODEL_AXIS = "Model"
_RGB_FUNCTION = re.compile(r"rgba?\(([^)]*)\)")
_DECIMAL = re.compile(r"\d{1,6}(\.\d*)?")
_COMMON = (Group.PROMPT, Group.SAMPLING, Group.SEED, Group.DETAILS, Group.REGIONS)

Values = Mapping[str, object]


def read_form(values: Values, model: Model, kind: type[GenerationRequest] = GenerationRequest) -> GenerationRequest:
    """The request, of `kind`, that the form asks `model` for. What the model lacks, and what is folded away unused, is
    left out.

    Raises:
        InvalidRequest: a value of the wrong kind or out of range.
    """
    data = read_common_fields(values, model, kind) | read_fields(select_fields(kind.FIELDS, Group.SIZE), values)
    if not names_other_models(values):
        data |= read_fields(select_fields(kind.FIELDS, Group.ENLARGE), values, model)
    if Feature.HIRES in model.features and values["hires_on"]:
        data["hires"] = read_fields(Hires.FIELDS, values)
    return parse_request(data, kind)


def names_other_models(values: Values) -> bool:
    """Whether the form asks for a grid of models, of which some may not know what is special to one."""
    return any(values[f"axis_{name}"] == MODEL_AXIS for name in AXES)


def parse_request(data: Mapping[str, object], kind: type[GenerationRequest] = GenerationRequest) -> GenerationRequest:
    """The request with the fields of `data` that are not None; raises as `read_form`."""
    return kind.from_json({name: value for name, value in data.items() if value is not None})


def read_common_fields(
    values: Values, model: Model, kind: type[GenerationRequest] = GenerationRequest
) -> dict[str, object]:
    """The fields of a request, as JSON, that every form with prompt, sampling, seed, LoRAs, details and grid asks for;
    raises as `read_form`."""
    data: dict[str, object] = {"model": model.id} | read_fields(select_fields(kind.FIELDS, *_COMMON), values, model)
    if Feature.LORA in model.features:
        data["loras"] = _read_loras(values)
    if Feature.DETAILER in model.features and (detailers := _read_detailers(values)):
        data["detailers"] = detailers
    if data.get("regions") is RegionSplit.AREAS:
        data["areas"] = read_areas(values)
    if values["fallbacks"]:
        data["fallbacks"] = values["fallbacks"]
    if axes := _read_axes(values):
        data |= {"axes": axes, "count": 1}
    return data


def read_fields(fields: Iterable[FieldSpec], values: Values, model: Model | None = None) -> dict[str, object]:
    """The values of `fields`, by their names in the request; those that `model` lacks are left out.

    Raises:
        InvalidRequest: something else than text where a choice belongs, or than a whole number where one does.
    """
    data: dict[str, object] = {}
    for spec in fields:
        lacks = model is not None and spec.feature is not None and spec.feature not in model.features
        if spec.widget is None or lacks or (spec.depends_on and not values[spec.depends_on]):
            continue
        value = read_value(spec, values[spec.form_name])
        if value is not None:
            data[spec.name] = value
    return data


def read_value(spec: FieldSpec, value: object) -> object:
    """`value`, of a form, as the request has it, None for what is not set; raises as `read_fields`."""
    if value is None:
        return None
    if spec.widget is Widget.LARGE_NUMBER:
        value = _read_large_number(spec, value)
    if spec.widget is Widget.COLOUR:
        value = parse_colour(value, str(spec.unset))
    if spec.options:
        label = _require_text(value)
        value = spec.options.get(spec.old_labels.get(label, label), spec.unset)
    if spec.kind is bool:
        return value is True
    if spec.source is not None and value == NONE:
        return None
    if spec.form_scale != 1.0 and value not in (spec.empty, ""):
        value = spec.from_form(_read_finite(spec, value))
    return value if spec.is_set(value) else None


def parse_colour(value: object, default: str) -> str:
    """A colour field's value as "#rrggbb": the field gives that, or rgb(…) or rgba(…); `default` for nothing."""
    text = _require_text(value or default).strip()
    if (found := _RGB_FUNCTION.fullmatch(text)) is not None:
        parts = found[1].split(",")[:3]
        if len(parts) < 3 or not all(_DECIMAL.fullmatch(part.strip()) for part in parts):
            return default
        return "#" + "".join(f"{min(255, round(float(part))):02x}" for part in parts)
    return text[:7] if len(text) == 9 else text


def _read_finite(spec: FieldSpec, value: object) -> float:
    number = decode_json(float, value, spec.label)
    if not math.isfinite(number):
        raise InvalidRequest(f"{spec.label} is not a number.", hint="Type one.")
    return number


def _read_large_number(spec: FieldSpec, value: object) -> object:
    """The whole number that a text field holds, None for an empty one."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text and not re.fullmatch(r"[+-]?\d{1,40}", text):
        raise InvalidRequest(
            f"{spec.label} is “{text[:40]}”, which is no whole number.", hint="Enter a whole number, or -1."
        )
    return int(text) if text else None


def write_form(request: GenerationRequest) -> dict[str, Any]:
    """The form values that ask for `request`: the inverse of `read_form`. Fields that the request leaves to the model
    are left out."""
    chosen = [use for use in request.loras if _fits_slot(use)][:LORA_SLOTS]
    request = _write_tags(request, [use for use in request.loras if use not in chosen])
    values = write_fields(request) | write_fields(request.hires or Hires()) | _write_prompts(request)
    values |= {"styles": [], "fallbacks": list(request.fallbacks), "hires_on": request.hires is not None}
    for slot in range(LORA_SLOTS):
        lora = chosen[slot] if slot < len(chosen) else None
        values |= {f"lora_{slot}": lora.name if lora else NONE, f"lora_weight_{slot}": lora.weight if lora else 1.0}
    values |= _write_detailers(request) | write_areas(request)
    for index, axis_name in enumerate(AXES):
        axis = request.axes[index] if index < len(request.axes) else None
        values |= {f"axis_{axis_name}": axis.parameter if axis else NONE}
        values |= {f"axis_{axis_name}_values": join_values(axis.values) if axis else ""}
    return values


def _fits_slot(use: LoraUse) -> bool:
    """Whether a LoRA field of the form can hold all of `use`."""
    return not use.blocks and use.encoder_weight is None and abs(use.weight) <= MAX_SLOT_WEIGHT


def _write_tags(request: GenerationRequest, uses: Sequence[LoraUse]) -> GenerationRequest:
    """`request` with `uses`, which no field holds, as tags of its prompts."""
    if not uses:
        return request
    template = append_tags(request.template, uses) if request.template else ""
    return request.replace(prompt=append_general_tags(request, uses), template=template)


def _write_prompts(request: GenerationRequest) -> dict[str, Any]:
    """The prompts as typed text: of a grid what they are drawn from, of an image what was drawn, braces escaped."""
    pairs = {
        "prompt": (request.template, request.prompt),
        "negative_prompt": (request.negative_template, request.negative_prompt),
    }
    return {
        name: template if template and request.axes else escape_text(text) for name, (template, text) in pairs.items()
    }


def write_fields(part: HasFields) -> dict[str, Any]:
    """The form values of the plain fields of `part`, without those that are left to the model."""
    return write_values(part.FIELDS, part)


def write_values(fields: Iterable[FieldSpec], part: object) -> dict[str, Any]:
    """As `write_fields`, for a form that shows them as `fields` say."""
    found = {spec.form_name: _write_value(spec, getattr(part, spec.name)) for spec in fields if spec.widget is not None}
    return {name: value for name, value in found.items() if value is not None}


def _write_value(spec: FieldSpec, value: object) -> object:
    if spec.options:
        return next(label for label, held in spec.options.items() if held == value)
    if spec.widget is Widget.LARGE_NUMBER:
        return str(spec.blank if value is None else value)
    if spec.source is not None and value == "":
        return spec.empty
    return spec.blank if value is None else spec.to_form(value)


def split_values(text: str) -> tuple[str, ...]:
    """The values of a grid axis as typed: separated by commas, a value with a comma in it in double quotes."""
    rows = csv.reader([" ".join(text.splitlines())], skipinitialspace=True)
    return tuple(value.strip() for row in rows for value in row if value.strip())


def join_values(values: tuple[str, ...]) -> str:
    """The inverse of `split_values`."""
    quoted = ('"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value for value in values)
    return ", ".join(quoted)


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"A field holds {str(value)[:40]!r} where text belongs.", hint="Reload the page.")
    return value


def _read_choice(value: object) -> str | None:
    """A choice from a list, None for the entries that mean "leave it"."""
    name = _require_text(value) if value is not None else NONE
    return None if name in (AUTOMATIC, SAME_AS_FIRST, NONE, "") else name


def _read_loras(values: Values) -> list[dict[str, object]]:
    slots = ((_read_choice(values[f"lora_{slot}"]), values[f"lora_weight_{slot}"]) for slot in range(LORA_SLOTS))
    return [{"name": name, "weight": weight} for name, weight in slots if name]


def name_detailer_field(name: str, index: int) -> str:
    """The name in a form of the field `name` of detailer `index`, counted from 0."""
    return f"{name}_{index + 1}" if index else name


def _read_detailers(values: Values) -> list[dict[str, object]]:
    on = [index for index in range(DETAILERS) if values.get(name_detailer_field(DETAILER_SWITCH, index)) is True]
    names = [spec.form_name for spec in Detailer.FIELDS]
    return [
        read_fields(Detailer.FIELDS, {name: values[name_detailer_field(name, index)] for name in names}) for index in on
    ]


def _write_detailers(request: GenerationRequest) -> dict[str, Any]:
    """The fields of the detailers; of those that are off, as a fresh form has them."""
    values: dict[str, Any] = {}
    for index in range(DETAILERS):
        is_on = index < len(request.detailers)
        own = write_fields(request.detailers[index] if is_on else Detailer())
        values |= {name_detailer_field(name, index): value for name, value in own.items()}
        values[name_detailer_field(DETAILER_SWITCH, index)] = is_on
    return values


def _read_axes(values: Values) -> list[dict[str, object]]:
    axes = [
        Axis(parameter=parameter, values=split_values(_require_text(values[f"axis_{axis_name}_values"])))
        for axis_name in AXES
        if (parameter := _read_choice(values[f"axis_{axis_name}"]))
    ]
    for axis in axes:
        if not axis.values:
            raise InvalidRequest(
                f"The grid's axis “{axis.parameter}” has no values.", hint="Type some, or set it to None."
            )
    return [{"parameter": axis.parameter, "values": list(axis.values)} for axis in axes]
