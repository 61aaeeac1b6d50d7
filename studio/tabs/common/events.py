"""Manners that all event handlers share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from studio.core.errors import StudioError

P = ParamSpec("P")
T = TypeVar("T")
Updates = dict[Any, Any]  # component -> its new value, or a gr.update; what handlers hand back

# for events of the page itself: not in the API, beside each other, without Gradio's own progress veil
HIDDEN: dict[str, Any] = {
    "api_visibility": "private",
    "concurrency_limit": None,
    "show_progress": "hidden",
    "preprocess": False,
}
# for what follows the form by itself and tells nothing in a corner: answered at once, not by the queue. Gradio closes
# the queue's
# stream when its last event ends, and the answer to one that was asked in that moment is lost.
UNQUEUED = HIDDEN | {"queue": False}


def make_toast(error: StudioError) -> gr.Error:
    """`error` as what Gradio shows in a corner: what happened, and what to do next."""
    text = " ".join(part for part in (error.message, error.hint) if part)
    return gr.Error(text, title="That did not work", duration=12, print_exception=False)


def show_errors(handler: Callable[P, T]) -> Callable[P, T]:
    """`handler`, with its StudioErrors shown to the user."""

    @functools.wraps(handler)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return handler(*args, **kwargs)
        except StudioError as error:
            raise make_toast(error) from error

    return wrapper
