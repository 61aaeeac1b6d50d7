"""From the values of Img2Img to a request and back; no widgets, no engine. Whatever does not fit is refused with InvalidRequest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.request_parts import Fill, Outpaint, Resize
from studio.tabs.common import control_values, form_values
from studio.tabs.common.form_values import Values
from studio.tabs.common.image_fields import names, one
from studio.tabs.img2img.edit_operations import Operation, Part, chooser_of, operation_of, shown

RESIZES = {"Crop": Resize.CROP, "Stretch": Resize.STRETCH, "Fill": Resize.FILL, "Latent": Resize.LATENT}
FILLS = {"The picture": Fill.ORIGINAL, "Colours around": Fill.FILL, "Noise": Fill.NOISE, "Nothing": Fill.NOTHING}
AREAS = {"Whole picture": False, "Only masked": True}
GROWS = {"Sides": "sides", "Aspect": "aspect", "Size": "size"}
SIDES = ("left", "top", "right", "bottom")


def read(values: Values, model: Model) -> GenerationRequest:
    """The request that the form asks `model` for; parts that the operation does not use or the model lacks are left out.

    Raises:
        InvalidRequest: a value of the wrong kind or out of range, or no picture.
    """
    operation = operation_of(values["mode"], values["operation"])
    parts = shown(operation, model)
    data = form_values.common(values, model) if operation.task.draws else {"model": model.id}
    data |= {"task": operation.task, **_pictures(values, parts)}
    if Part.PROMPT not in parts:
        data |= {"prompt": "", "negative_prompt": ""}
    for part, reader in _READERS.items():
        data |= reader(values) if part in parts else {}
    if Part.MASK in parts:
        data |= _mask(values, needed=operation.task.masked)
    return form_values.request_of(data)


def _pictures(values: Values, parts: frozenset[Part]) -> dict[str, Any]:
    batch = names(values["batch"]) if Part.BATCH in parts else ()
    source = one(values["source"])
    if batch:
        return {"batch": list(batch)}
    if source is None:
        raise InvalidRequest("There is no picture yet.", hint="Drop one on the form, paste it, or choose a file.")
    return {"source": source}


def _mask(values: Values, *, needed: bool) -> dict[str, Any]:
    mask = one(values["mask"])
    if mask is None and needed:
        raise InvalidRequest("The mask is empty: nothing would change.", hint="Paint over what is to change.")
    return {"mask": mask}


def _inpaint(values: Values) -> dict[str, Any]:
    return {
        "inpaint": {
            "mask_blur": values["mask_blur"],
            "fill": FILLS.get(str(values["fill"]), Fill.ORIGINAL),
            "only_masked": AREAS.get(str(values["area"]), False),
            "padding": values["padding"],
            "soft": values["soft"] is True,
            "invert": values["invert"] is True,
        }
    }


def _grow(values: Values) -> dict[str, Any]:
    how = GROWS.get(str(values["grow"]), "sides")
    if how == "aspect":
        return {"outpaint": {"aspect": values["canvas_aspect"]}}
    if how == "size":
        return {"outpaint": {"width": values["canvas_width"], "height": values["canvas_height"]}}
    sides = {side: values[side] or 0 for side in SIDES}
    if not any(sides.values()):
        raise InvalidRequest("The canvas does not grow.", hint="Give at least one side some px.")
    return {"outpaint": sides}


def _size(values: Values) -> dict[str, Any]:
    if values["own_size"] is not True:
        return {}
    resize = RESIZES.get(str(values["resize"]), Resize.CROP)
    return {"width": values["width"], "height": values["height"], "resize": resize}


def _style(values: Values) -> dict[str, Any]:
    style = one(values["style"])
    if style is None:
        raise InvalidRequest("There is no picture to take the style from.", hint="Choose a style picture.")
    return {"references": [{"picture": style, "style_only": True}]}


def _reference(values: Values) -> dict[str, Any]:
    picture = one(values["reference"])
    if picture is None:
        return {}
    style = values["reference_style"] is True
    return {"references": [{"picture": picture, "weight": values["reference_weight"], "style_only": style}]}


_READERS = {
    Part.STRENGTH: lambda values: {"strength": values["strength"]},
    Part.LOOPS: lambda values: {"loops": values["loops"]},
    Part.SEARCH: lambda values: {"search": values["search"] or ""},
    Part.BACKGROUND: lambda values: {key: one(values[key]) for key in ("background", "lighting")},
    Part.INPAINT: _inpaint,
    Part.GROW: _grow,
    Part.SIZE: _size,
    Part.STYLE: _style,
    Part.REFERENCE: _reference,
    Part.CONTROL: lambda values: {"control": control_values.read_units(values)},
}


def write(request: GenerationRequest) -> dict[str, Any]:
    """The form values that ask for `request`: the inverse of `read`, but for paint, which lies in the source by then."""
    values = {key: value for key, value in form_values.write(request).items() if not key.startswith("hires_")}
    chosen = chooser_of(request.task)
    if chosen is None:
        return values
    inpaint, reference = request.inpaint, request.references[0] if request.references else None
    return values | {
        "mode": chosen[0],
        "operation": chosen[1],
        "source": request.source or "",
        "mask": request.mask or "",
        "paint": "",
        "batch": " ".join(request.batch),
        "background": request.background or "",
        "lighting": request.lighting or "",
        "style": reference.picture if reference and Part.STYLE in operation_of(*chosen).parts else "",
        "reference": reference.picture if reference and Part.REFERENCE in operation_of(*chosen).parts else "",
        "reference_weight": reference.weight if reference else 0.6,
        "reference_style": bool(reference and reference.style_only),
        "search": request.search,
        "loops": request.loops,
        "resize": _key(RESIZES, request.resize),
        "own_size": request.width is not None,
        "area": _key(AREAS, inpaint.only_masked),
        "fill": _key(FILLS, inpaint.fill),
        "mask_blur": inpaint.mask_blur,
        "padding": inpaint.padding,
        "soft": inpaint.soft,
        "invert": inpaint.invert,
        **({"strength": request.strength} if request.strength is not None else {}),
        **(_grown(request.outpaint) if request.outpaint else {}),
        **control_values.write_units(request),
    }


def _grown(outpaint: Outpaint) -> dict[str, Any]:
    if outpaint.aspect:
        return {"grow": "Aspect", "canvas_aspect": outpaint.aspect}
    if outpaint.width and outpaint.height:
        return {"grow": "Size", "canvas_width": outpaint.width, "canvas_height": outpaint.height}
    return {"grow": "Sides", **{side: getattr(outpaint, side) for side in SIDES}}


def _key(names: Mapping[str, Any], value: Any) -> str:
    return next(name for name, held in names.items() if held == value)


def uses_paint(values: Values, operation: Operation) -> str | None:
    """The layer of paint that is to be put onto the source, None where there is none to put."""
    return one(values["paint"]) if Part.PAINT in operation.parts else None
