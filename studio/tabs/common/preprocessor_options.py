"""The figures of a preprocessor as sliders. What the form keeps and the request is read from is one line of text,
"low=100, high=200"; the sliders show it and write it, in the browser alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.annotate import OptionSpec
from studio.core.model import Model
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors

SLIDERS = 2  # as many as any preprocessor has figures
_WRITE_SCRIPT = (
    "(preprocessor, ...values) =>"
    " [(({names})[preprocessor] || []).map((name, at) => `${{name}}=${{values[at]}}`).join(', ')]"
)

Specs = Mapping[str, tuple[OptionSpec, ...]]


@dataclass(frozen=True, kw_only=True)
class OptionFields:
    """The sliders, and the line that is the field."""

    sliders: tuple[gr.Slider, ...]
    line: gr.Textbox


def build_option_fields(prefix: str) -> OptionFields:
    """The sliders, hidden until a preprocessor that has figures is chosen."""
    with gr.Row(elem_classes="pair"):
        sliders = tuple(
            gr.Slider(0, 1, value=0, visible=False, elem_id=f"{prefix}option-{at}", min_width=120)
            for at in range(SLIDERS)
        )
    line = gr.Textbox(label="Preprocessor options", elem_id=f"{prefix}options", visible="hidden", max_lines=1)
    return OptionFields(sliders=sliders, line=line)


def collect_specs(preprocessors: Sequence[Model]) -> Specs:
    """The figures of each, by what it is called in a unit."""
    return {model.id.removeprefix(PREPROCESSOR_PREFIX): model.options for model in preprocessors if model.options}


def wire_options(options: OptionFields, preprocessor: gr.Dropdown, specs: Specs) -> None:
    """Show the figures of the chosen preprocessor, and let sliders and line follow each other."""
    sliders, line = [*options.sliders], options.line

    @show_errors
    def update_sliders(chosen: Any, text: Any, *values: Any) -> Updates:
        option_specs = specs.get(str(chosen), ())
        wanted = parse_options(option_specs, str(text or ""))
        updates: Updates = {} if text in ("", format_options(wanted)) else {line: format_options(wanted)}
        shown = tuple(wanted.values())
        if text and shown and shown == values[: len(shown)]:  # the sliders wrote the line themselves
            return updates
        for slider, spec in zip(sliders, [*option_specs, *[None] * SLIDERS], strict=False):
            updates[slider] = _configure_slider(spec, wanted) if spec else gr.update(visible=False)
        return updates

    names = json.dumps({name: [spec.name for spec in option_specs] for name, option_specs in specs.items()})
    for event in (preprocessor.change, line.change):
        event(update_sliders, [preprocessor, line, *sliders], [line, *sliders], trigger_mode="always_last", **UNQUEUED)
    for slider in sliders:
        slider.input(
            fn=None, inputs=[preprocessor, *sliders], outputs=[line], js=_WRITE_SCRIPT.format(names=names), **HIDDEN
        )


def parse_options(option_specs: Sequence[OptionSpec], line: str) -> dict[str, float]:
    """A value for every figure: what `line` says where that is in range, else the default."""
    given: dict[str, float] = {}
    for pair in line.split(","):
        name, _, value = pair.partition("=")
        try:
            given[name.strip()] = float(value)
        except ValueError:
            continue
    return {
        one.name: value if one.low <= (value := given.get(one.name, one.default)) <= one.high else one.default
        for one in option_specs
    }


def format_options(values: Mapping[str, float]) -> str:
    """The line that says `values`; the inverse of `parse_options`."""
    return ", ".join(f"{name}={value:.10g}" for name, value in values.items())


def _configure_slider(spec: OptionSpec, values: Mapping[str, float]) -> dict[str, Any]:
    return gr.update(
        visible=True,
        label=spec.label,
        info=spec.help,
        minimum=spec.low,
        maximum=spec.high,
        step=spec.step,
        value=values[spec.name],
    )
