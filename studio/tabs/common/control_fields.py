"""The control units of a form: a ControlNet or adapter each, its picture, and how strongly it steers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest, StudioError
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.weights import Kind, WeightFile
from studio.engine.studio import Studio
from studio.tabs.common import image_fields
from studio.tabs.common.choices import names_of
from studio.tabs.common.control_values import FINISHED_MAP, MODES, PREPROCESSOR, RESIZES, UNITS, name, read_unit
from studio.tabs.common.current_user import user_of
from studio.tabs.common.events import QUIET, Updates, toast, told
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import NONE
from studio.tabs.common.map_previews import made
from studio.tabs.common.preprocessor_options import option_fields, specs_of, wire_options
from studio.tabs.common.result_panel import PICTURE

FAMILY = "preprocessor"  # of the models that make control maps


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One unit's fields, and what shows its map."""

    index: int
    fields: dict[str, Component]
    preview: gr.Button
    map: gr.HTML
    use: gr.Button


def control_units(
    weights: Sequence[WeightFile], preprocessors: Sequence[Model], prefix: str, *, own: bool
) -> list[Unit]:
    """UNITS accordions. With `own` every unit needs a picture of its own, else an empty one means the source."""
    made: list[Unit] = []
    for index in range(UNITS):
        with gr.Accordion(f"Control unit {index + 1}", open=False, elem_id=f"{prefix}unit-{index}"):
            fields = _fields(index, weights, preprocessors, f"{prefix}unit-{index}-", own)
            with gr.Row(elem_classes="actions"):
                preview = gr.Button(
                    "Preview map",
                    size="sm",
                    min_width=110,
                    elem_id=f"{prefix}unit-{index}-preview",
                    elem_classes="waits",
                )
                use = gr.Button(
                    "Use as control picture",
                    size="sm",
                    min_width=150,
                    visible=False,
                    elem_id=f"{prefix}unit-{index}-use",
                )
            shown = gr.HTML("", elem_id=f"{prefix}unit-{index}-map")
        made.append(Unit(index=index, fields=fields, preview=preview, map=shown, use=use))
    return made


def fields_of(units: Sequence[Unit]) -> dict[str, Component]:
    """The fields of all units by name."""
    return {key: field for unit in units for key, field in unit.fields.items()}


def _fields(
    index: int, weights: Sequence[WeightFile], preprocessors: Sequence[Model], prefix: str, own: bool
) -> dict[str, Component]:
    nets = sorted({*names_of(weights, Kind.CONTROLNET), *names_of(weights, Kind.T2I_ADAPTER)})
    on = gr.Checkbox(False, label="Use this unit", elem_id=f"{prefix}on", info="Steers the picture by another one.")
    with gr.Row(elem_classes="pair"):
        model = gr.Dropdown(
            [NONE, *nets], value=NONE, label="Control model", elem_id=f"{prefix}model", min_width=120, allow_custom_value=True,
            info="A ControlNet or T2I-Adapter of the checkpoint's family.",
        )  # fmt: skip
        preprocessor = gr.Dropdown(
            preprocessor_choices(preprocessors), value=FINISHED_MAP, label="Preprocessor", elem_id=f"{prefix}preprocessor",
            min_width=120, allow_custom_value=True, info="Turns the picture into a map first.",
        )  # fmt: skip
    hint = "Drop, paste or choose a file" if own else "Empty: the source picture"
    picture = image_fields.pad("Control picture", name=f"{prefix}picture", hint=hint)
    with gr.Row(elem_classes="pair"):
        weight = gr.Slider(
            0, 2, value=1, step=0.05, label="Weight", elem_id=f"{prefix}weight", min_width=120, info="How strongly."
        )
        start = gr.Slider(
            0, 1, value=0, step=0.01, label="Start", elem_id=f"{prefix}start", min_width=90, info="Of the steps."
        )
        end = gr.Slider(
            0, 1, value=1, step=0.01, label="End", elem_id=f"{prefix}end", min_width=90, info="Of the steps."
        )
    with gr.Row(elem_classes="pair"):
        mode = gr.Dropdown(list(MODES), value=next(iter(MODES)), label="Who wins", elem_id=f"{prefix}mode", min_width=120, info="Prompt or control.")  # fmt: skip
        resize = gr.Dropdown(list(RESIZES), value=next(iter(RESIZES)), label="Resize", elem_id=f"{prefix}resize", min_width=120, info="Where shapes differ.")  # fmt: skip
    with gr.Row(elem_classes="pair"):
        perfect = gr.Checkbox(True, label="Pixel perfect", elem_id=f"{prefix}perfect", min_width=120, info="The map as large as the drawing.")  # fmt: skip
        resolution = gr.Slider(64, 2048, value=512, step=8, label="Resolution", elem_id=f"{prefix}resolution", min_width=120, info="Of the map's short side, if not.")  # fmt: skip
    options = option_fields(prefix)
    wire_options(options, preprocessor, specs_of(preprocessors))
    made = {
        "on": on, "model": model, "preprocessor": preprocessor, "picture": picture, "weight": weight, "start": start,
        "end": end, "mode": mode, "resize": resize, "perfect": perfect, "resolution": resolution, "options": options.line,
    }  # fmt: skip
    return {name(index, key): field for key, field in made.items()}


def preprocessor_choices(preprocessors: Sequence[Model]) -> list[tuple[str, str]]:
    """Title and name of each that draws maps; the first takes the picture as the finished map."""
    named = [
        (one.title, one.id.removeprefix(PREPROCESSOR))
        for one in preprocessors
        if one.family == FAMILY and not one.problem
    ]
    return [("None: the picture is the map", FINISHED_MAP), *named]


def wire_previews(studio: Studio, form: Form, units: Sequence[Unit]) -> None:
    """Let every unit's “Preview map” draw the map that its preprocessor makes, and “Use” take it as the control picture."""
    for unit in units:
        _wire_preview(studio, form, unit)


def _wire_preview(studio: Studio, form: Form, unit: Unit) -> None:
    latest = gr.State("")  # the id of the map that is shown

    def preview(packet: Any, request: gr.Request) -> Iterator[Updates]:
        yield {unit.map: '<p class="note" role="status">Making the map…</p>', unit.use: gr.update(visible=False)}
        try:
            asset = made(studio, _asked(form.values(packet), unit.index), user_of(request))
        except StudioError as error:
            yield {unit.map: ""}
            raise toast(error) from error
        yield {unit.map: _shown(asset), latest: asset.id, unit.use: gr.update(visible=True)}

    @told
    def use(asset_id: Any, request: gr.Request) -> Updates:
        kept = studio.engine.keep_asset(str(asset_id), user_of(request))
        fields = unit.fields
        return {fields[name(unit.index, "picture")]: kept.hash, fields[name(unit.index, "preprocessor")]: FINISHED_MAP}

    form.on(unit.preview.click, preview, [unit.map, latest, unit.use], **QUIET)
    fields = [unit.fields[name(unit.index, key)] for key in ("picture", "preprocessor")]
    unit.use.click(use, latest, fields, **QUIET)


def _asked(values: Mapping[str, Any], index: int) -> GenerationRequest:
    unit = read_unit(values, index) | {"model": ""}
    if unit["preprocessor"] == FINISHED_MAP:
        raise InvalidRequest("This unit has no preprocessor.", hint="Choose one to see its map.")
    source = unit.pop("picture") or image_fields.one(values.get("source"))
    if source is None:
        raise InvalidRequest("There is no picture to make a map of.", hint="Choose a control picture first.")
    return GenerationRequest.from_json(
        {"task": Task.PREPROCESS, "model": PREPROCESSOR + unit["preprocessor"], "source": source, "control": [unit]}
    )


def _shown(asset: Asset) -> str:
    address = escape(PICTURE.format(id=asset.id), quote=True)
    return (
        f'<figure class="map"><img src="{address}" alt="Map that the preprocessor made"><figcaption>{asset.width} × {asset.height} px'
        f' <a class="mini" href="{address}" download="{escape(asset.path.name, quote=True)}">Download</a></figcaption></figure>'
    )
