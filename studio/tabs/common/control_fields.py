"""The control units of a form: a ControlNet or adapter each, its image, and how strongly it steers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest, StudioError
from studio.core.model import Model
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.task import Task
from studio.engine.studio import Studio
from studio.tabs.common import image_fields
from studio.tabs.common.control_values import (
    CONTROL_MODES,
    CONTROL_RESIZES,
    FINISHED_MAP,
    UNITS,
    make_field_name,
    read_unit,
)
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, Updates, make_toast, show_errors
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import NONE
from studio.tabs.common.map_previews import make_map
from studio.tabs.common.preprocessor_options import build_option_fields, collect_specs, wire_options
from studio.tabs.common.result_panel import IMAGE_URL
from studio.tabs.common.widgets import build_checkbox, build_dropdown, build_fixed_dropdown, build_slider

PREPROCESSOR_FAMILY = "preprocessor"  # of the models that make control maps


@dataclass(frozen=True, kw_only=True)
class ControlUnitFields:
    """One unit's fields, and what shows its map."""

    index: int
    fields: dict[str, Component]
    preview: gr.Button
    map: gr.HTML
    use: gr.Button


def build_control_units(preprocessors: Sequence[Model], prefix: str, *, own: bool) -> list[ControlUnitFields]:
    """UNITS accordions. With `own` every unit needs an image of its own, else an empty one means the source."""
    made: list[ControlUnitFields] = []
    for index in range(UNITS):
        with gr.Accordion(f"Control unit {index + 1}", open=False, elem_id=f"{prefix}unit-{index}"):
            fields = _build_unit_fields(index, preprocessors, f"{prefix}unit-{index}-", own)
            with gr.Row(elem_classes="actions"):
                preview = gr.Button(
                    "Preview map",
                    size="sm",
                    min_width=110,
                    elem_id=f"{prefix}unit-{index}-preview",
                    elem_classes="waits",
                )
                use = gr.Button(
                    "Use as control image",
                    size="sm",
                    min_width=150,
                    visible=False,
                    elem_id=f"{prefix}unit-{index}-use",
                )
            shown = gr.HTML("", elem_id=f"{prefix}unit-{index}-map")
        made.append(ControlUnitFields(index=index, fields=fields, preview=preview, map=shown, use=use))
    return made


def collect_unit_fields(units: Sequence[ControlUnitFields]) -> dict[str, Component]:
    """The fields of all units by name."""
    return {key: field for unit in units for key, field in unit.fields.items()}


def _build_unit_fields(index: int, preprocessors: Sequence[Model], prefix: str, own: bool) -> dict[str, Component]:
    on = build_checkbox("Enable unit", f"{prefix}on", False, "Use another image to guide the result.")
    with gr.Row(elem_classes="pair"):
        model = build_dropdown(
            "Control model",
            f"{prefix}model",
            [NONE],
            NONE,
            "A ControlNet or T2I-Adapter of the checkpoint's family.",
        )
        preprocessor = build_dropdown(
            "Preprocessor",
            f"{prefix}preprocessor",
            list_preprocessor_choices(preprocessors),
            FINISHED_MAP,
            "Turns the image into a control map.",
        )
    hint = "Drop, paste or choose a file" if own else "Empty: use the source image"
    image = image_fields.build_image_pad("Control image", name=f"{prefix}image", hint=hint)
    with gr.Row(elem_classes="pair"):
        weight = build_slider("Control weight", f"{prefix}weight", (0, 2, 0.05), 1, "1 is full effect, 0 none.")
        start = build_slider("Start", f"{prefix}start", (0, 1, 0.01), 0, "Fraction of the steps.", min_width=90)
        end = build_slider("End", f"{prefix}end", (0, 1, 0.01), 1, "Fraction of the steps.", min_width=90)
    with gr.Row(elem_classes="pair"):
        modes, resizes = list(CONTROL_MODES), list(CONTROL_RESIZES)
        mode = build_fixed_dropdown(
            "Control mode", f"{prefix}mode", modes, modes[0], "Whether prompt or control counts more."
        )
        resize = build_fixed_dropdown(
            "Resize mode", f"{prefix}resize", resizes, resizes[0], "Applies when the shapes differ."
        )
    with gr.Row(elem_classes="pair"):
        perfect = build_checkbox("Pixel perfect", f"{prefix}perfect", True, "Make the map as large as the image.")
        resolution = build_slider(
            "Resolution", f"{prefix}resolution", (64, 2048, 8), 512, "Short side of the map in px."
        )
    options = build_option_fields(prefix)
    wire_options(options, preprocessor, collect_specs(preprocessors))
    made = {
        "on": on,
        "model": model,
        "preprocessor": preprocessor,
        "image": image,
        "weight": weight,
        "start": start,
        "end": end,
        "mode": mode,
        "resize": resize,
        "perfect": perfect,
        "resolution": resolution,
        "options": options.line,
    }
    return {make_field_name(index, key): field for key, field in made.items()}


def list_preprocessor_choices(preprocessors: Sequence[Model]) -> list[tuple[str, str]]:
    """Title and name of each that draws maps; the first takes the image as the finished map."""
    named = [
        (one.title, one.id.removeprefix(PREPROCESSOR_PREFIX))
        for one in preprocessors
        if one.family == PREPROCESSOR_FAMILY and not one.problem
    ]
    return [("None (the image is a control map)", FINISHED_MAP), *named]


def wire_previews(studio: Studio, form: Form, units: Sequence[ControlUnitFields]) -> None:
    """Let every unit's “Preview map” draw the map that its preprocessor makes, and “Use” take it as the control
    image."""
    for unit in units:
        _wire_preview(studio, form, unit)


def _wire_preview(studio: Studio, form: Form, unit: ControlUnitFields) -> None:
    latest = gr.State("")  # the id of the map that is shown

    @show_errors
    def preview_map(packet: Any, request: gr.Request) -> Iterator[Updates]:
        yield {unit.map: '<p class="note" role="status">Making the map…</p>', unit.use: gr.update(visible=False)}
        try:
            asset = make_map(studio, _build_map_request(form.values(packet), unit.index), get_user(request))
        except StudioError as error:
            yield {unit.map: ""}
            raise make_toast(error) from error
        yield {unit.map: _render_map(asset), latest: asset.id, unit.use: gr.update(visible=True)}

    @show_errors
    def use_map(asset_id: Any, request: gr.Request) -> Updates:
        kept = studio.engine.keep_asset(str(asset_id), get_user(request))
        fields = unit.fields
        return {
            fields[make_field_name(unit.index, "image")]: kept.hash,
            fields[make_field_name(unit.index, "preprocessor")]: FINISHED_MAP,
        }

    form.on(unit.preview.click, preview_map, [unit.map, latest, unit.use], **HIDDEN)
    fields = [unit.fields[make_field_name(unit.index, key)] for key in ("image", "preprocessor")]
    unit.use.click(use_map, latest, fields, **HIDDEN)


def _build_map_request(values: Mapping[str, Any], index: int) -> GenerationRequest:
    unit = read_unit(values, index) | {"model": ""}
    if unit["preprocessor"] == FINISHED_MAP:
        raise InvalidRequest("This unit has no preprocessor.", hint="Choose one to see its map.")
    source = unit.pop("image") or image_fields.read_single_image(values.get("source"))
    if source is None:
        raise InvalidRequest("No control image.", hint="Choose a control image first.")
    return GenerationRequest.from_json(
        {
            "task": Task.PREPROCESS,
            "model": PREPROCESSOR_PREFIX + unit["preprocessor"],
            "source": source,
            "control": [unit],
        }
    )


def _render_map(asset: Asset) -> str:
    address = escape(IMAGE_URL.format(id=asset.id), quote=True)
    return (
        f'<figure class="map"><img src="{address}" alt="Control map"><figcaption>{asset.width} ×'
        f' {asset.height} px <a class="mini" href="{address}"'
        f' download="{escape(asset.path.name, quote=True)}">Download</a></figcaption></figure>'
    )
