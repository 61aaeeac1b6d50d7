"""What a request will cost, told before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import gradio as gr

from studio.core.errors import StudioError
from studio.core.request import GenerationRequest
from studio.engine.choice import AUTO
from studio.engine.studio import Studio
from studio.tabs._events import QUIET
from studio.tabs._fields import Form
from studio.tabs._tab import Shell

# what the cost hangs on; the form's other fields are read with them, but do not ask again
_WATCHED = (
    "model", "mode", "operation", "source", "batch", "own_size", "width", "height", "count", "steps", "hires_on", "hires_scale",
    "axis_x_values", "axis_y_values", "axis_z_values",
)  # fmt: skip


def cost_line(shell: Shell, studio: Studio, form: Form, read: Callable[[Mapping[str, Any]], GenerationRequest]) -> None:
    """A line, here, that tells what the form costs, and follows it. `read` makes the request of the form's values."""
    line = gr.HTML("", elem_classes="cost")

    def tell(data: dict[Any, Any]) -> str:
        try:
            return said(studio, read(form.values(data)))
        except StudioError:  # what the form lacks is told when it is sent
            return ""

    watched: Any = [form[name].change for name in _WATCHED if name in form.fields]  # pyright: ignore[reportAttributeAccessIssue]
    events = [*watched, shell.blocks.load]
    gr.on(events, tell, form.inputs(), line, trigger_mode="always_last", **QUIET)


def said(studio: Studio, request: GenerationRequest) -> str:
    """The line for `request`, as HTML; nothing is sent for it. Raises what the engine refuses it with."""
    pictures = max(1, len(request.batch)) * request.count
    for axis in request.axes:
        pictures *= len(axis.values)
    amount = studio.engine.estimate(request)
    return f'<p class="note">{escape(told(amount, pictures, _seconds(studio, request)))}</p>'


def _seconds(studio: Studio, request: GenerationRequest) -> float | None:
    return None if request.model.startswith(AUTO) else studio.engine.expected_seconds(request)


def told(amount: float | None, pictures: int, seconds: float | None) -> str:
    """`amount` US dollars (None: unknown) for all `pictures`, and the seconds that one took before, as a sentence."""
    if amount is None:
        price = "Nobody can tell the price beforehand"
    elif amount == 0:
        price = "Free"
    else:
        price = f"About {money(amount)} for {pictures} {'picture' if pictures == 1 else 'pictures'}"
    pace = f", about {seconds:.1f} s a picture" if seconds is not None and seconds < 10 else ""
    pace = f", about {seconds:.0f} s a picture" if seconds is not None and seconds >= 10 else pace
    return f"{price}{pace}."


def money(amount: float) -> str:
    """US dollars: to the cent, and finer below ten cents."""
    if amount >= 0.1:
        return f"${amount:.2f}"
    return f"${amount:.3f}".removesuffix("0") if amount >= 0.001 else "less than $0.001"
