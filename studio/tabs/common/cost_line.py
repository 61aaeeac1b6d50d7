"""What a request will cost, told before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import gradio as gr

from studio.core.errors import StudioError
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL, User
from studio.engine.models.model_choice import AUTO
from studio.engine.studio import Studio
from studio.tabs.common import model_selection
from studio.tabs.common.current_user import user_of
from studio.tabs.common.events import AT_ONCE
from studio.tabs.common.form_values import AUTOMATIC, LORA_SLOTS, NONE, RANDOM_SEED, Values
from studio.tabs.common.tab import Shell
from studio.tabs.common.tab_view import Desk

# what the cost hangs on; the form's other fields are read with them, but do not ask again
_WATCHED = (
    "model", "mode", "operation", "source", "batch", "own_size", "width", "height", "count", "steps", "hires_on", "hires_scale",
    "lora_0", "axis_x_values", "axis_y_values", "axis_z_values",
)  # fmt: skip

# what somebody filled in, by the feature that takes it; of a model without it the field is hidden, and keeps its value
_FILLED: Mapping[Feature, Callable[[Values], object]] = {
    Feature.SEED: lambda values: values.get("seed") not in (None, RANDOM_SEED),
    Feature.NEGATIVE_PROMPT: lambda values: str(values.get("negative_prompt") or "").strip(),
    Feature.LORA: lambda values: any(values.get(f"lora_{slot}") not in (None, "", NONE) for slot in range(LORA_SLOTS)),
    Feature.HIRES: lambda values: values.get("hires_on"),
    Feature.VARIATION: lambda values: values.get("variation_strength"),
    Feature.VAE: lambda values: values.get("vae") not in (None, "", AUTOMATIC),
    Feature.CLIP_SKIP: lambda values: values.get("clip_skip") not in (None, 1),
}


def cost_line(shell: Shell, studio: Studio, desk: Desk, read: Callable[[Mapping[str, Any]], GenerationRequest]) -> None:
    """A line, here, that tells what the form costs, and follows it. `read` makes the request of the form's values."""
    form, line = desk.form, gr.HTML("", elem_classes="cost")

    def tell(packet: Any, request: gr.Request) -> str:
        values = form.values(packet)
        try:
            model = model_selection.named(studio, str(values["model"] or ""))
            line = said(studio, read(values), user_of(request)) if not model.problem else ""
            return line + _note(passed_over(model, values))
        except StudioError:  # what the form lacks is told when it is sent
            return ""

    watched: Any = [form[name].change for name in _WATCHED if name in form.fields]  # pyright: ignore[reportAttributeAccessIssue]
    events = [*watched, desk.note.change, shell.blocks.load]  # the note changes when a model is unlocked
    form.on(events, tell, line, trigger_mode="always_last", **AT_ONCE)


def said(studio: Studio, request: GenerationRequest, user: User = LOCAL) -> str:
    """The line for `request`, as HTML; nothing is sent for it. Raises what the engine refuses it with."""
    found = studio.engine.resolved(request, user)
    pictures = max(1, len(request.batch)) * request.count
    for axis in request.axes:
        pictures *= len(axis.values)
    line = told(studio.engine.estimate(found), pictures, studio.engine.expected_seconds(found))
    taken = f" Drawn with {studio.engine.model(found.model).title}." if request.model.startswith(AUTO) else ""
    return _note(line + taken)


def passed_over(model: Model, values: Values) -> str:
    """What is filled in and `model` does not take, as a sentence; "" when it takes it all."""
    lost = [f"no {feature}" for feature, filled in _FILLED.items() if feature not in model.features and filled(values)]
    if not lost:
        return ""
    words = lost[0] if len(lost) == 1 else f"{', '.join(lost[:-1])} and {lost[-1]}"
    return f"{model.title} takes {words}: yours {'is' if len(lost) == 1 else 'are'} left out."


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""


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
