"""Gradio's widgets in the look that all forms share: a label, an element id, a range or choices, a value, a help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

MIN_WIDTH = 120  # px; two widgets of a row stand beside each other on a phone
Range = tuple[float, float, float]  # minimum, maximum, step
Choices = Sequence[str] | Sequence[tuple[str, str]]


def build_slider(
    label: str, elem_id: str, limits: Range, value: float, info: str = "", *, min_width: int = MIN_WIDTH
) -> gr.Slider:
    """A slider over `limits`: minimum, maximum and step."""
    low, high, step = limits
    return gr.Slider(
        low, high, value=value, step=step, label=label, elem_id=elem_id, min_width=min_width, info=info or None
    )


def build_number(label: str, elem_id: str, value: float | None, info: str = "", **options: Any) -> gr.Number:
    """A field for a number, a whole one unless `precision` is given; `options` as gr.Number takes them."""
    widths = {"min_width": MIN_WIDTH, "precision": 0}
    return gr.Number(value, label=label, elem_id=elem_id, info=info or None, **widths | options)


def build_dropdown(
    label: str, elem_id: str, choices: Choices, value: Any, info: str = "", **options: Any
) -> gr.Dropdown:
    """A list to choose from, `value` first. It passes on what is not in the list: lists change while a page is open,
    and what is chosen is checked when it is read. `options` as gr.Dropdown takes them."""
    defaults = {"min_width": MIN_WIDTH, "allow_custom_value": True}
    return gr.Dropdown(
        list(choices), value=value, label=label, elem_id=elem_id, info=info or None, **defaults | options
    )


def build_fixed_dropdown(label: str, elem_id: str, choices: Choices, value: Any, info: str = "") -> gr.Dropdown:
    """A list that never changes: nothing else can be typed into it."""
    return build_dropdown(label, elem_id, choices, value, info, allow_custom_value=False)


def build_checkbox(label: str, elem_id: str, value: bool, info: str = "", *, min_width: int = MIN_WIDTH) -> gr.Checkbox:
    """A box to tick."""
    return gr.Checkbox(value, label=label, elem_id=elem_id, min_width=min_width, info=info or None)


def build_colour_picker(label: str, elem_id: str, value: str, info: str = "", *, min_width: int = 90) -> gr.ColorPicker:
    """A colour, "#rrggbb"."""
    return gr.ColorPicker(
        value, label=label, elem_id=elem_id, elem_classes="swatch", min_width=min_width, info=info or None
    )


def build_textbox(label: str, elem_id: str, info: str = "", *, max_length: int = 20_000, **options: Any) -> gr.Textbox:
    """A field for text of up to `max_length` characters; `options` as gr.Textbox takes them."""
    return gr.Textbox(label=label, elem_id=elem_id, max_length=max_length, info=info or None, **options)
