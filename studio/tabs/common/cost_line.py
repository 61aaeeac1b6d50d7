"""The expected cost of a request, shown before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, cast

import gradio as gr

from studio.core.errors import StudioError
from studio.core.field_spec import FieldSpec
from studio.core.fields import REQUEST_FIELDS
from studio.core.model import Feature, Model
from studio.core.model_ids import AUTO_PREFIX
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER, User
from studio.engine.studio import Studio
from studio.tabs.common import model_selection
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import UNQUEUED, show_errors
from studio.tabs.common.form_values import DETAILER_SWITCH, LORA_SLOTS, NONE, Values
from studio.tabs.common.tab import PageContext
from studio.tabs.common.tab_view import TabView

# what the cost hangs on; the form's other fields are read with them, but do not ask again
_COST_FIELDS = (
    "model",
    "mode",
    "operation",
    "source",
    "batch",
    "own_size",
    "width",
    "height",
    "count",
    "steps",
    "enlarge",
    "compose",
    "hires_on",
    "hires_scale",
    "detailer_on",
    "lora_0",
    "axis_x_values",
    "axis_y_values",
    "axis_z_values",
)

_STRUCTURED_CHECKS: Mapping[Feature, Callable[[Values], object]] = {
    Feature.LORA: lambda values: any(values.get(f"lora_{slot}") not in (None, "", NONE) for slot in range(LORA_SLOTS)),
    Feature.HIRES: lambda values: values.get("hires_on"),
    Feature.DETAILER: lambda values: values.get(DETAILER_SWITCH),
}


def add_cost_line(
    page_context: PageContext, studio: Studio, view: TabView, read: Callable[[Mapping[str, Any]], GenerationRequest]
) -> None:
    """Build a line that shows the cost of the form, and follows it. `read` makes the request of the form's values."""
    form, line = view.form, gr.HTML("", elem_classes="cost")

    @show_errors
    def update_cost(packet: Any, request: gr.Request) -> str:
        values = form.values(packet)
        try:
            model = model_selection.get_selectable_model(studio, str(values["model"] or ""))
            line = render_estimate(studio, read(values), get_user(request)) if not model.problem else ""
            return line + _render_note(describe_ignored_fields(model, values))
        except StudioError:  # what the form lacks is reported when it is sent
            return ""

    watched: Any = [form[name].change for name in _COST_FIELDS if name in form.fields]
    if "compose" in form.fields:  # how long an image takes hangs on how many things it is composed of
        watched.append(cast("gr.Textbox", form["prompt"]).blur)
    events = [*watched, view.note.change, page_context.blocks.load]  # the note changes when a model is unlocked
    form.on(events, update_cost, line, trigger_mode="always_last", **UNQUEUED)


def render_estimate(studio: Studio, request: GenerationRequest, user: User = LOCAL_USER) -> str:
    """The line for `request`, as HTML; nothing is sent for it. Raises what the engine refuses it with."""
    found = studio.engine.resolve_request(request, user)
    images = max(1, len(request.batch)) * request.count
    for axis in request.axes:
        images *= len(axis.values)
    amount = studio.engine.estimate(found, user)
    line = format_estimate(amount, images, studio.engine.estimate_seconds(found))
    taken = f" Drawn with {studio.engine.model(found.model).title}." if request.model.startswith(AUTO_PREFIX) else ""
    return _render_note(line + taken, "" if amount == 0 else " data-costs")


def describe_ignored_fields(model: Model, values: Values, fields: Sequence[FieldSpec] = REQUEST_FIELDS) -> str:
    """A sentence about filled fields that `model` does not support; "" when it supports all. A field that the model
    lacks is hidden, and keeps its value."""
    lost = [
        spec.label.lower() if spec.label[1:].islower() else spec.label
        for spec in fields
        if spec.feature is not None
        and spec.feature not in model.features
        and not spec.from_model  # always filled: with what the model before it prefers
        and spec.initial is None
        and not (spec.depends_on and not values.get(spec.depends_on))
        and _is_filled(spec, values.get(spec.form_name))
    ]
    lost += [
        feature
        for feature, is_filled in _STRUCTURED_CHECKS.items()
        if feature not in model.features and is_filled(values)
    ]
    if not lost:
        return ""
    named = [name if name.endswith("s") else f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in lost]
    words = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} or {named[-1]}"
    return f"{model.title} does not support {words}; yours will be ignored."


def _is_filled(spec: FieldSpec, value: object) -> bool:
    return spec.is_set(spec.options.get(str(value), spec.unset) if spec.options else value)


def _render_note(text: str, attributes: str = "") -> str:
    return f'<p class="note"{attributes}>{escape(text)}</p>' if text else ""


def format_estimate(amount: float | None, images: int, seconds: float | None) -> str:
    """`amount` US dollars (None: unknown) for all `images`, and the seconds that one took before, as a sentence."""
    if amount is None:
        price = "Price unknown until billed"
    elif amount == 0:
        price = "Free"
    else:
        price = f"About {format_dollars(amount)} for {images} {'image' if images == 1 else 'images'}"
    pace = f", about {seconds:.1f} s an image" if seconds is not None and seconds < 10 else ""
    pace = f", about {seconds:.0f} s an image" if seconds is not None and seconds >= 10 else pace
    return f"{price}{pace}."


def format_dollars(amount: float) -> str:
    """US dollars: to the cent, and finer below ten cents."""
    if amount >= 0.1:
        return f"${amount:.2f}"
    return f"${amount:.3f}".removesuffix("0") if amount >= 0.001 else "less than $0.001"
