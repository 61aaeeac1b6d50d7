"""From the form's values to a request and back; no widgets, no engine.

The values come straight from a browser: any JSON. Whatever does not fit is refused with InvalidRequest, by name.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.model import Feature, Model
from studio.core.request import Axis, GenerationRequest, Hires, Saving

AUTOMATIC = "Automatic"  # stands in lists for "what the model prefers"
SAME_AS_FIRST = "As in the first pass"
NONE = "None"
LORA_SLOTS = 4
AXES = ("x", "y", "z")
SAVINGS = {"Balanced": None, "Save memory": Saving.MEMORY, "Save time": Saving.TIME}
RANDOM_SEED = -1

Values = Mapping[str, Any]


def read_form(values: Values, model: Model) -> GenerationRequest:
    """The request that the form asks `model` for. What the model lacks, and what is folded away unused, is left out.

    Raises:
        InvalidRequest: a value of the wrong kind or out of range.
    """
    hires = Feature.HIRES in model.features and values["hires_on"]
    data = read_common_fields(values, model) | {"width": values["width"], "height": values["height"]}
    return parse_request(data | _include_if(hires, {"hires": _read_hires(values)}))


def parse_request(data: Mapping[str, Any]) -> GenerationRequest:
    """The request with the fields of `data` that are not None; raises as `read`."""
    return GenerationRequest.from_json({name: value for name, value in data.items() if value is not None})


def read_common_fields(values: Values, model: Model) -> dict[str, Any]:
    """The fields of a request, as JSON, that every form with prompt, sampling, seed, LoRAs, details and grid asks for;
    raises as `read`."""
    has = model.features.__contains__
    data: dict[str, Any] = {
        "model": model.id,
        "prompt": values["prompt"],
        "negative_prompt": values["negative_prompt"] if has(Feature.NEGATIVE_PROMPT) else "",
        "count": values["count"],
        "batch_size": values["batch_size"],
        "saving": SAVINGS.get(_require_text(values["saving"])),
    }
    data |= _include_if(
        has(Feature.PROMPT_SYNTAX), {name: values[name] for name in ("prompt_weight", "negative_weight")}
    )
    data |= _include_if(has(Feature.STEPS), {"steps": values["steps"]})
    data |= _include_if(has(Feature.GUIDANCE), {"guidance": values["guidance"]})
    data |= _include_if(has(Feature.SAMPLER), {"sampler": values["sampler"], "schedule": values["schedule"]})
    data |= _include_if(has(Feature.SEED), {"seed": _read_seed(values["seed"])})
    data |= _include_if(has(Feature.VARIATION) and values["variation_strength"], _read_variation(values))
    data |= _include_if(has(Feature.CLIP_SKIP) and values["clip_skip"] != 1, {"clip_skip": values["clip_skip"]})
    data |= _include_if(has(Feature.VAE), {"vae": _read_choice(values["vae"])})
    data |= _include_if(has(Feature.LORA), {"loras": _read_loras(values)})
    data |= _include_if(values["fallbacks"], {"fallbacks": values["fallbacks"]})
    if axes := _read_axes(values):
        data |= {"axes": axes, "count": 1}
    return data


def write_form(request: GenerationRequest) -> dict[str, Any]:
    """The form values that ask for `request`: the inverse of `read`. Fields that the request leaves to the model are
    left out."""
    hires = request.hires or Hires()
    values: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "styles": [],
        "fallbacks": list(request.fallbacks),
        "prompt_weight": request.prompt_weight,
        "negative_weight": request.negative_weight,
        "width": request.width,
        "height": request.height,
        "count": request.count,
        "batch_size": request.batch_size,
        "seed": RANDOM_SEED if request.seed is None else request.seed,
        "variation_seed": RANDOM_SEED if request.variation_seed is None else request.variation_seed,
        "variation_strength": request.variation_strength,
        "steps": request.steps,
        "guidance": request.guidance,
        "sampler": request.sampler,
        "schedule": request.schedule,
        "clip_skip": request.clip_skip or 1,
        "vae": request.vae or AUTOMATIC,
        "saving": next(name for name, saving in SAVINGS.items() if saving == request.saving),
        "hires_on": request.hires is not None,
        "hires_upscaler": hires.upscaler,
        "hires_scale": hires.scale,
        "hires_width": hires.width or 0,
        "hires_height": hires.height or 0,
        "hires_steps": hires.steps or 0,
        "hires_strength": hires.strength,
        "hires_guidance": hires.guidance or 0,
        "hires_prompt": hires.prompt,
        "hires_negative_prompt": hires.negative_prompt,
        "hires_sampler": hires.sampler or SAME_AS_FIRST,
        "hires_schedule": hires.schedule or SAME_AS_FIRST,
        "hires_model": hires.model or SAME_AS_FIRST,
    }
    values |= {"model": request.model} if request.model else {}
    for slot in range(LORA_SLOTS):
        lora = request.loras[slot] if slot < len(request.loras) else None
        values |= {f"lora_{slot}": lora.name if lora else NONE, f"lora_weight_{slot}": lora.weight if lora else 1.0}
    for index, letter in enumerate(AXES):
        axis = request.axes[index] if index < len(request.axes) else None
        values |= {f"axis_{letter}": axis.parameter if axis else NONE}
        values |= {f"axis_{letter}_values": join_values(axis.values) if axis else ""}
    return {name: value for name, value in values.items() if value is not None}


def split_values(text: str) -> tuple[str, ...]:
    """The values of a grid axis as typed: separated by commas, a value with a comma in it in double quotes."""
    rows = csv.reader([" ".join(text.splitlines())], skipinitialspace=True)
    return tuple(value.strip() for row in rows for value in row if value.strip())


def join_values(values: tuple[str, ...]) -> str:
    """The inverse of `split_values`."""
    quoted = ('"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value for value in values)
    return ", ".join(quoted)


def _include_if(wanted: object, part: dict[str, Any]) -> dict[str, Any]:
    return part if wanted else {}


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"A field holds {str(value)[:40]!r} where text belongs.", hint="Reload the page.")
    return value


def _read_choice(value: Any) -> str | None:
    """A choice from a list, None for the entries that mean "leave it"."""
    name = _require_text(value) if value is not None else NONE
    return None if name in (AUTOMATIC, SAME_AS_FIRST, NONE, "") else name


def _read_seed(value: Any) -> int | None:
    """-1 and an empty field mean: draw one."""
    return None if value in (None, RANDOM_SEED) else value


def _read_number(value: Any) -> Any:
    """0 and an empty field mean: as in the first pass."""
    return value or None


def _read_variation(values: Values) -> dict[str, Any]:
    return {"variation_seed": _read_seed(values["variation_seed"]), "variation_strength": values["variation_strength"]}


def _read_loras(values: Values) -> list[dict[str, Any]]:
    slots = ((_read_choice(values[f"lora_{slot}"]), values[f"lora_weight_{slot}"]) for slot in range(LORA_SLOTS))
    return [{"name": name, "weight": weight} for name, weight in slots if name]


def _read_hires(values: Values) -> dict[str, Any]:
    data = {
        "upscaler": values["hires_upscaler"],
        "scale": values["hires_scale"],
        "width": _read_number(values["hires_width"]),
        "height": _read_number(values["hires_height"]),
        "steps": _read_number(values["hires_steps"]),
        "strength": values["hires_strength"],
        "guidance": _read_number(values["hires_guidance"]),
        "prompt": values["hires_prompt"],
        "negative_prompt": values["hires_negative_prompt"],
        "sampler": _read_choice(values["hires_sampler"]),
        "schedule": _read_choice(values["hires_schedule"]),
        "model": _read_choice(values["hires_model"]),
    }
    return {name: value for name, value in data.items() if value is not None}


def _read_axes(values: Values) -> list[dict[str, Any]]:
    axes = [
        Axis(parameter=parameter, values=split_values(_require_text(values[f"axis_{letter}_values"])))
        for letter in AXES
        if (parameter := _read_choice(values[f"axis_{letter}"]))
    ]
    for axis in axes:
        if not axis.values:
            raise InvalidRequest(
                f"The grid's axis “{axis.parameter}” has no values.", hint="Type some, or set it to None."
            )
    return [{"parameter": axis.parameter, "values": list(axis.values)} for axis in axes]
