"""From the values of Extras to a chain of requests and back; no widgets, no engine. Whatever does not fit is refused
with InvalidRequest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from studio.core.codec import decode_json
from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest
from studio.core.field_spec import get_field
from studio.core.field_tables.detailer import DETAILER_FIELDS
from studio.core.field_tables.finish import FACE_FIELDS, UPSCALE_FIELDS
from studio.core.finish import FaceRestoration, Upscale
from studio.core.model import Model, Quality
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.upscale_modes import (
    LANCZOS,
    UpscaleMode,
    build_upscale_request,
    choose_upscale_model,
    find_candidates,
)
from studio.tabs.common.form_values import (
    AUTOMATIC,
    NONE,
    Values,
    parse_request,
    read_fields,
    write_fields,
    write_values,
)
from studio.tabs.common.image_fields import read_image_names
from studio.tabs.extras import finish_values as finish_read


class Step(StrEnum):
    """The steps of the form, in the order in which they run."""

    UPSCALE = "Upscale"
    FACES = "Restore faces"
    DETAIL = "Detail"
    BACKGROUND = "Remove background"
    FINISH = "Finish"


TASKS = {
    Step.UPSCALE: Task.UPSCALE,
    Step.FACES: Task.RESTORE_FACES,
    Step.DETAIL: Task.DETAIL,
    Step.BACKGROUND: Task.REMOVE_BACKGROUND,
    Step.FINISH: Task.FINISH,
}
DETAIL_FIELDS = tuple(spec for spec in DETAILER_FIELDS if spec.name not in ("model", "sampler", "schedule"))
"""Of a detailer; the step has a model of its own, and draws with what that prefers."""
OWN_SETTINGS = "Own settings"
UPSCALE_MODES: Mapping[str, UpscaleMode | None] = {
    "Fast 4×": UpscaleMode.FAST,
    "Conservative 4K": UpscaleMode.CONSERVATIVE,
    "Creative 4K": UpscaleMode.CREATIVE,
    OWN_SETTINGS: None,
}
QUALITIES = {quality.value.capitalize(): quality for quality in Quality}
BY_FACTOR, BY_LONG_SIDE, BY_SIZE = "Factor", "Long side", "Width and height"
_TARGET_SIZES = {BY_FACTOR: ("scale",), BY_LONG_SIDE: ("long_side",), BY_SIZE: ("width", "height")}
_TILE_FIELDS = [get_field(UPSCALE_FIELDS, name) for name in ("tile", "overlap")]
NO_IMAGE = "No image selected."
MISSING_MODEL_HINTS = {
    UpscaleMode.FAST: "Put an upscaler into models/upscalers.",
    UpscaleMode.CONSERVATIVE: "Put an upscaler into models/upscalers.",
    UpscaleMode.CREATIVE: "Put a checkpoint into models/checkpoints, or set a provider's key in Configurations.",
}


def read_extras(values: Values, models: Sequence[Model]) -> GenerationRequest:
    """The ticked steps as one chain on the form's images; `models` are all there are.

    Raises:
        InvalidRequest: no image, no step, or a value of the wrong kind or out of range.
    """
    images = read_image_names(values["images"])
    if not images:
        raise InvalidRequest(NO_IMAGE, hint="Drop or paste an image, or choose a file or folder.")
    first, *rest = read_ticked_steps(values, models)
    written = next((step.file for step in (first, *rest) if step.file is not None), None)
    where: dict[str, Any] = {"source": images[0]} if len(images) == 1 else {"batch": images}
    return first.replace(**where, file=written, then=tuple(step.replace(file=None) for step in rest))


def read_ticked_steps(values: Values, models: Sequence[Model]) -> list[GenerationRequest]:
    """The ticked steps, without an image; raises as `read`."""
    wanted = values["steps"] if isinstance(values["steps"], list) else []
    ticked = [step for step in Step if step in wanted]
    if not ticked:
        raise InvalidRequest("No step selected.", hint="Select at least one of: " + ", ".join(Step) + ".")
    return [_read_upscale(values, models) if step is Step.UPSCALE else _READERS[step](values) for step in ticked]


def find_upscaler(values: Values, models: Sequence[Model]) -> Model | None:
    """The model that would enlarge, None when there is none."""
    mode = UPSCALE_MODES.get(str(values["mode"]))
    if mode is None:
        return next((model for model in models if model.id == values["upscaler"]), None)
    named = next((model for model in list_choosable_models(mode, models) if model.id == values["with"]), None)
    return named or choose_upscale_model(mode, _read_quality(values), models)


def list_choosable_models(mode: UpscaleMode, models: Sequence[Model]) -> list[Model]:
    """The models for `mode`, beside the automatic choice: those that redraw, and cloud services."""
    local = find_candidates(mode, models) if mode is UpscaleMode.CREATIVE else ()
    return [*local, *find_candidates(mode, models, cloud=True)]


def can_redraw(model: Model | None) -> bool:
    """Whether the model takes a prompt and a creativity."""
    return model is not None and not model.id.startswith(UPSCALER_PREFIX) and not model.paid


def _read_quality(values: Values) -> Quality:
    return QUALITIES.get(str(values["quality"]), Quality.STANDARD)


def _read_upscale(values: Values, models: Sequence[Model]) -> GenerationRequest:
    mode, model = UPSCALE_MODES.get(str(values["mode"])), find_upscaler(values, models)
    if mode is None:
        return _read_own_upscale(values, model)
    if model is None:
        raise InvalidRequest(f"No installed model supports “{mode}”.", hint=MISSING_MODEL_HINTS[mode])
    creativity = decode_json(float, values["creativity"], "creativity")
    wanted = build_upscale_request(mode, _read_quality(values), model, models, creativity=creativity)
    return (
        wanted.replace(prompt=decode_json(str, values["prompt"] or "", "prompt"))
        if mode is UpscaleMode.CREATIVE
        else wanted
    )


def _read_own_upscale(values: Values, model: Model | None) -> GenerationRequest:
    name = decode_json(str, values["upscaler"] or "", "upscaler")
    upscale: dict[str, Any] = _read_target_size(values)
    upscale |= read_fields(_TILE_FIELDS, values)
    if can_redraw(model) or (model is not None and model.paid):
        upscale |= {"creativity": values["creativity"]} | ({} if model and model.paid else {"base": values["base"]})
        return parse_request(
            {"task": Task.UPSCALE, "model": name, "prompt": values["prompt"] or "", "upscale": upscale}
        )
    if values["second"] not in (None, "", NONE) and values["second_weight"]:
        upscale |= {"second": values["second"], "second_weight": values["second_weight"]}
    return parse_request({"task": Task.UPSCALE, "model": name, "upscale": upscale})


def _read_target_size(values: Values) -> dict[str, Any]:
    names = _TARGET_SIZES.get(str(values["size_by"]), _TARGET_SIZES[BY_FACTOR])
    return read_fields([get_field(UPSCALE_FIELDS, name) for name in names], values)


def _read_faces(values: Values) -> GenerationRequest:
    faces = read_fields(FACE_FIELDS, values)
    return parse_request({"task": Task.RESTORE_FACES, "model": _read_model(values["restorer"]), "faces": faces})


def _read_detail(values: Values) -> GenerationRequest:
    detailer = read_fields(DETAIL_FIELDS, values)
    return parse_request({"task": Task.DETAIL, "model": _read_model(values["detail_model"]), "detailers": [detailer]})


def _read_background(values: Values) -> GenerationRequest:
    return parse_request({"task": Task.REMOVE_BACKGROUND, "model": _read_model(values["background"])})


def _read_model(value: Any) -> str:
    return "" if value in (None, AUTOMATIC) else decode_json(str, value, "model")


_READERS = {
    Step.FACES: _read_faces,
    Step.DETAIL: _read_detail,
    Step.BACKGROUND: _read_background,
    Step.FINISH: finish_read.read_finish_step,
}


def extract_chain(request: GenerationRequest) -> tuple[GenerationRequest, ...]:
    """The steps of a chain that was carried out, as `write` takes them: without images and seeds, its file with its
    last step."""
    steps = [
        step.replace(source=None, batch=(), seed=None, count=1, then=(), file=None) for step in (request, *request.then)
    ]
    if request.file is not None:
        if steps[-1].task is not Task.FINISH:
            steps.append(GenerationRequest(task=Task.FINISH))
        steps[-1] = steps[-1].replace(file=request.file)
    return tuple(steps)


def write_extras(steps: Sequence[GenerationRequest]) -> dict[str, Any]:
    """The form values that ask for `steps`; fields that they say nothing of are left out.

    Raises:
        InvalidRequest: no steps, another order than the form's, or work that it has no step for.
    """
    tasks = [step.task for step in steps]
    order = [task for task in TASKS.values() if task in tasks]
    if not steps or tasks != order:
        said = ", ".join(task.value.replace("_", " ") for task in tasks) or "nothing"
        raise InvalidRequest(
            f"Extras cannot do these steps: {said}.",
            hint="Each step is available once, in this order: " + ", ".join(Step) + ".",
        )
    values: dict[str, Any] = {"steps": [step.value for step, task in TASKS.items() if task in tasks]}
    for step in steps:
        values |= _WRITERS[step.task](step)
    return values


def _write_upscale(step: GenerationRequest) -> dict[str, Any]:
    upscale = step.upscale or Upscale()
    values: dict[str, Any] = {"mode": OWN_SETTINGS, "upscaler": step.model, "prompt": step.prompt}
    if upscale.width is not None:
        values["size_by"] = BY_SIZE
    elif upscale.long_side is not None:
        values["size_by"] = BY_LONG_SIDE
    else:
        values |= {"size_by": BY_FACTOR, "scale": 4}
    return values | write_fields(upscale) | {"second": upscale.second or NONE, "base": upscale.base or LANCZOS}


def _write_faces(step: GenerationRequest) -> dict[str, Any]:
    faces = step.faces or FaceRestoration()
    return {"restorer": step.model or AUTOMATIC, **write_fields(faces)}


def _write_detail(step: GenerationRequest) -> dict[str, Any]:
    detailer = step.detailers[0] if step.detailers else Detailer()
    return {"detail_model": step.model or AUTOMATIC, **write_values(DETAIL_FIELDS, detailer)}


def _write_background(step: GenerationRequest) -> dict[str, Any]:
    return {"background": step.model or AUTOMATIC}


_WRITERS = {
    Task.UPSCALE: _write_upscale,
    Task.RESTORE_FACES: _write_faces,
    Task.DETAIL: _write_detail,
    Task.REMOVE_BACKGROUND: _write_background,
    Task.FINISH: finish_read.write_finish_step,
}
