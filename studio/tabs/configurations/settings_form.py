"""The settings as a form, made from the fields of Settings: help, range and choices come from there."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.rights import Right
from studio.core.settings import Settings
from studio.engine.audit import AuditEvent
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user, requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors, show_info
from studio.tabs.common.form import Form

RESTART_NOTE = " Takes effect after a restart."


def build_settings_form(studio: Studio) -> Form:
    """Every setting by name, empty until `values` fills it for an administrator, and the button that saves."""
    fields = _list_fields()
    groups = list(dict.fromkeys(field.metadata["group"] for field in fields))
    made: dict[str, Component] = {}
    for group in groups:
        with gr.Accordion(group, open=group == groups[0]), gr.Row(elem_classes="settings-grid"):
            made |= {field.name: _build_component(field) for field in fields if field.metadata["group"] == group}
    save = gr.Button("Save settings", variant="primary", elem_id="save-settings")
    form = Form(made)

    @show_errors
    @requires(Right.SETTINGS)
    def save_settings(packet: Any, request: gr.Request) -> None:
        fixed = studio.settings.get_overrides()
        given = form.values(packet)
        before = studio.settings.current
        settings = studio.settings.change({name: value for name, value in given.items() if name not in fixed})
        changed = {name: getattr(settings, name) for name in given if getattr(settings, name) != getattr(before, name)}
        studio.engine.audit.record(AuditEvent.SETTINGS_CHANGED, get_user(request).name, changed=changed)
        studio.engine.logs.set_level(settings.log_level)
        show_info("Settings saved. Queued jobs keep their old settings.")

    form.on(save.click, save_settings, None, **HIDDEN)
    return form


def fill_settings_form(studio: Studio, form: Form) -> Updates:
    """The settings in force, those that a flag or the environment fixes greyed out and named."""
    settings, fixed = studio.settings.current, studio.settings.get_overrides()
    updates: Updates = {}
    for field in _list_fields():
        value = getattr(settings, field.name)
        shown = str(value) if isinstance(value, Path) else "" if value is None else value
        origin = fixed.get(field.name)
        info = _format_info(field) + (f" Fixed by {origin}." if origin else "")
        updates[form[field.name]] = gr.update(value=shown, interactive=origin is None, info=info)
    return updates


def _list_fields() -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(Settings) if field.metadata["on_page"]]


def _format_info(field: dataclasses.Field[Any]) -> str:
    return field.metadata["help"] + (RESTART_NOTE if field.metadata["restart"] else "")


def _build_component(field: dataclasses.Field[Any]) -> Component:
    meta = field.metadata
    same: dict[str, Any] = {
        "label": field.name.replace("_", " ").capitalize(),
        "info": _format_info(field),
        "elem_id": f"set-{field.name}",
        "min_width": 240,
    }
    kind = typing.get_type_hints(Settings)[field.name]
    if meta["choices"]:
        return gr.Dropdown(list(meta["choices"]), **same)
    if kind is bool:
        return gr.Checkbox(**same)
    if kind in (int, float):
        return gr.Number(precision=0 if kind is int else None, minimum=meta["low"], maximum=meta["high"], **same)
    return gr.Textbox(max_lines=1, **same)
