"""Remember a form in the browser, so that a reload restores it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from studio.tabs.common.events import HIDDEN
from studio.tabs.common.form import Form
from studio.tabs.common.tab import PageContext

_KEY = "easel-local-only"  # Gradio wants one; what it hides lies in the user's own browser anyway


def make_browser_state(page_context: PageContext, name: str, default: Any) -> gr.BrowserState:
    """A value that the browser keeps under `name`, across restarts of the studio too. It lies outside the tabs: what
    lies on one is not read before the tab is first opened."""
    with page_context.store:
        return gr.BrowserState(default, storage_key=f"easel-{name}", secret=_KEY)


def remember_form(name: str, form: Form, store: gr.BrowserState) -> None:
    """Let the browser itself write the form called `name` into `store` at every change; the server is not asked.

    Nothing is written before the page has restored the form (window.easel.markRestored): defaults would replace it.
    """
    names = f"{json.dumps(name)}, {json.dumps(list(form.fields))}"
    script = f"async (...values) => [await window.easel.rememberForm({names}, values)]"
    changes: Sequence[Any] = [field.change for field in form.fields.values()]
    gr.on(changes, fn=None, inputs=[*form.fields.values(), store], outputs=[store], js=script, **HIDDEN)


def filter_saved_values(saved: Any, form: Form) -> dict[str, Any]:
    """What of `saved` still fits the form: known names, and values of the kind that the field began with. Whole numbers
    in text fields are seeds of version 0.1."""
    if not isinstance(saved, Mapping):
        return {}
    first = {name: getattr(field, "value", None) for name, field in form.fields.items()}
    known = {
        name: str(value) if type(value) is int and isinstance(first[name], str) else value
        for name, value in saved.items()
        if name in first
    }
    return {name: value for name, value in known.items() if _is_same_kind(value, first[name])}


def _is_same_kind(value: Any, first: Any) -> bool:
    numbers = (int, float)
    if isinstance(first, bool) or isinstance(value, bool):
        return isinstance(first, bool) and isinstance(value, bool)
    if isinstance(first, numbers):
        return isinstance(value, numbers)
    if isinstance(first, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)
