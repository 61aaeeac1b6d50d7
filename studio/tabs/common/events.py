"""Options and error handling that all event handlers share."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar, cast

import gradio as gr

from studio.core.errors import StudioError
from studio.core.rights import Right
from studio.tabs.common.current_user import declare_right, find_right
from studio.tabs.common.languages import translate_message

P = ParamSpec("P")
T = TypeVar("T")
Updates = dict[Any, Any]  # component -> its new value or a gr.update; what handlers return

# options of the page's own events: not in the API, run in parallel, without Gradio's progress overlay
HIDDEN: dict[str, Any] = {
    "api_visibility": "private",
    "concurrency_limit": None,
    "show_progress": "hidden",
    "preprocess": False,
}
# options of events that follow form changes and show no toast: answered directly, not by the queue. Gradio closes the
# queue's stream when its last event ends, and the answer to an event sent at that moment is lost.
UNQUEUED = HIDDEN | {"queue": False}


def make_toast(error: StudioError) -> gr.Error:
    """Return `error` as a Gradio toast in the visitor's language: its title, what happened, and what to do next."""
    text = " ".join(translate_message(part) for part in (error.message, error.hint) if part)
    return gr.Error(text, title=translate_message(error.title), duration=12, print_exception=False)


def show_info(text: str, title: str = "Info") -> None:
    """Show `text` in a toast, in the visitor's language."""
    gr.Info(translate_message(text), title=translate_message(title))


def show_warning(text: str, title: str) -> None:
    """As `show_info`, for what the visitor should look at."""
    gr.Warning(translate_message(text), title=translate_message(title))


def show_errors(handler: Callable[P, T]) -> Callable[P, T]:
    """Wrap `handler`, a function or a generator, so that its StudioErrors are shown to the user as toasts.
    Whoever is logged in may call it, unless `requires` says otherwise.

    An empty dict changes nothing; Gradio itself would take it for the value of the first component.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                with contextlib.closing(cast("Generator[Any]", handler(*args, **kwargs))) as running:
                    for updates in running:
                        yield skip_if_empty(updates)
            except StudioError as error:
                raise make_toast(error) from error

        declare_right(stream, find_right(handler) or Right.USE)
        return cast("Callable[P, T]", stream)

    @functools.wraps(handler)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return skip_if_empty(handler(*args, **kwargs))
        except StudioError as error:
            raise make_toast(error) from error

    declare_right(wrapper, find_right(handler) or Right.USE)
    return wrapper


def skip_if_empty(updates: Any) -> Any:
    """`updates` as Gradio takes them: an empty dict becomes what changes no component."""
    return gr.skip() if isinstance(updates, dict) and not updates else updates
