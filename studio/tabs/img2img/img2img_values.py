"""From the values of Img2Img to a request and back; no widgets, no engine. Whatever does not fit is refused with
InvalidRequest."""

from __future__ import annotations

from collections.abc import Callable

from studio.core.errors import InvalidRequest
from studio.core.field_spec import Group, get_field, select_fields
from studio.core.fields import INPAINT_FIELDS, OUTPAINT_FIELDS, REQUEST_FIELDS
from studio.core.model import Model
from studio.core.operations import Operation, Part, find_operation, find_selection, get_visible_parts
from studio.core.request import GenerationRequest
from studio.core.request_parts import Outpaint
from studio.core.task import Task
from studio.tabs.common import control_values, form_values
from studio.tabs.common.form_values import Values, read_fields, write_values
from studio.tabs.common.image_fields import read_image_names, read_single_image

BY_SIDES, BY_ASPECT, BY_SIZE = "Sides", "Aspect", "Size"
GROW_MODES = {BY_SIDES: "sides", BY_ASPECT: "aspect", BY_SIZE: "size"}  # as the page's script calls them
SIDES = ("left", "top", "right", "bottom")
_GROWTHS = {BY_SIDES: SIDES, BY_ASPECT: ("aspect",), BY_SIZE: ("width", "height")}


def read_img2img(values: Values, model: Model) -> GenerationRequest:
    """The request that the form asks `model` for; parts that the operation does not use or the model lacks are left
    out.

    Raises:
        InvalidRequest: a value of the wrong kind or out of range, or no image.
    """
    operation = find_operation(values["mode"], values["operation"])
    parts = get_visible_parts(operation, model)
    if operation.task is Task.DETAIL:
        values = {**values, form_values.DETAILER_SWITCH: True}
    data = form_values.read_common_fields(values, model) if operation.task.is_generative else {"model": model.id}
    data |= {"task": operation.task, **_read_images(values, parts)}
    if Part.PROMPT not in parts:
        data |= {"prompt": "", "negative_prompt": ""}
    if Part.DETAILER not in parts:
        data.pop("detailers", None)
    for part, reader in _READERS.items():
        data |= reader(values) if part in parts else {}
    if Part.MASK in parts:
        data |= _read_mask(values, needed=operation.task.needs_mask)
    return form_values.parse_request(data)


def _read_images(values: Values, parts: frozenset[Part]) -> dict[str, object]:
    batch = read_image_names(values["batch"]) if Part.BATCH in parts else ()
    source = read_single_image(values["source"])
    if batch:
        return {"batch": list(batch)}
    if source is None:
        raise InvalidRequest("No image selected.", hint="Drop one on the form, paste it, or choose a file.")
    return {"source": source}


def _read_mask(values: Values, *, needed: bool) -> dict[str, object]:
    mask = read_single_image(values["mask"])
    if mask is None and needed:
        raise InvalidRequest("The mask is empty.", hint="Paint over the area to change.")
    return {"mask": mask}


def _read_group(*groups: Group) -> Callable[[Values], dict[str, object]]:
    return lambda values: read_fields(select_fields(REQUEST_FIELDS, *groups), values)


def _read_inpaint(values: Values) -> dict[str, object]:
    return {"inpaint": read_fields(INPAINT_FIELDS, values)}


def _read_outpaint(values: Values) -> dict[str, object]:
    names = _GROWTHS.get(str(values["grow"]), SIDES)
    growth = read_fields([get_field(OUTPAINT_FIELDS, name) for name in names], values)
    if not growth:
        raise InvalidRequest(
            "Outpainting adds no pixels.", hint="Set at least one side above 0 px, or an aspect ratio."
        )
    return {"outpaint": growth}


def _read_size(values: Values) -> dict[str, object]:
    if values["own_size"] is not True:
        return {}
    return _read_group(Group.SIZE, Group.RESIZE)(values)


def _read_special(name: str) -> Callable[[Values], dict[str, object]]:
    """Reads a field that is special to some models, which a grid of models leaves out."""
    fields = (get_field(REQUEST_FIELDS, name),)
    return lambda values: {} if form_values.names_other_models(values) else read_fields(fields, values)


def _read_style(values: Values) -> dict[str, object]:
    style = read_single_image(values["style"])
    if style is None:
        raise InvalidRequest("No style image selected.", hint="Choose a style image.")
    return {"references": [{"image": style, "style_only": True}]}


def _read_reference(values: Values) -> dict[str, object]:
    image = read_single_image(values["reference"])
    if image is None:
        return {}
    style = values["reference_style"] is True
    return {"references": [{"image": image, "weight": values["reference_weight"], "style_only": style}]}


_READERS = {
    Part.STRENGTH: _read_group(Group.STRENGTH),
    Part.LOOPS: _read_group(Group.LOOPS),
    Part.SEARCH: lambda values: {"search": values["search"] or ""},
    Part.BACKGROUND: lambda values: {key: read_single_image(values[key]) for key in ("background", "lighting")},
    Part.INPAINT: _read_inpaint,
    Part.GROW: _read_outpaint,
    Part.SIZE: _read_size,
    Part.ENLARGE: _read_special("enlarge"),
    Part.COMPOSE: _read_special("compose"),
    Part.STYLE: _read_style,
    Part.REFERENCE: _read_reference,
    Part.CONTROL: lambda values: {"control": control_values.read_units(values)},
}


def write_img2img(request: GenerationRequest) -> dict[str, object]:
    """The form values that ask for `request`: the inverse of `read`, but for paint, which lies in the source by
    then."""
    values = {key: value for key, value in form_values.write_form(request).items() if not key.startswith("hires_")}
    chosen = find_selection(request.task)
    if chosen is None:
        return values
    reference = request.references[0] if request.references else None
    return values | {
        "mode": chosen[0],
        "operation": chosen[1],
        "source": request.source or "",
        "mask": request.mask or "",
        "paint": "",
        "batch": " ".join(request.batch),
        "background": request.background or "",
        "lighting": request.lighting or "",
        "style": reference.image if reference and Part.STYLE in find_operation(*chosen).parts else "",
        "reference": reference.image if reference and Part.REFERENCE in find_operation(*chosen).parts else "",
        "reference_weight": reference.weight if reference else 0.6,
        "reference_style": bool(reference and reference.style_only),
        "search": request.search,
        "own_size": request.width is not None,
        **form_values.write_fields(request.inpaint),
        **(_write_outpaint(request.outpaint) if request.outpaint else {}),
        **control_values.write_units(request),
    }


def _write_outpaint(outpaint: Outpaint) -> dict[str, object]:
    how = BY_ASPECT if outpaint.aspect else BY_SIZE if outpaint.width and outpaint.height else BY_SIDES
    return {"grow": how, **write_values([get_field(OUTPAINT_FIELDS, name) for name in _GROWTHS[how]], outpaint)}


def read_paint_layer(values: Values, operation: Operation) -> str | None:
    """The layer of paint that is to be put onto the source, None where there is none to put."""
    return read_single_image(values["paint"]) if Part.PAINT in operation.parts else None
