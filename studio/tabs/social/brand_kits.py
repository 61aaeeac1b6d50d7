"""Brand kits: colours, font, logo and margins under a name, kept by the user's own browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_name
from studio.tabs.common import browser_memory
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors, show_info
from studio.tabs.common.form import Form
from studio.tabs.common.tab import PageContext
from studio.tabs.social.social_fields import KIT_FIELDS, PREFIX

MAX_KITS = 50


class BrandKitRow:
    """The row that saves, takes and deletes kits."""

    def __init__(self, page_context: PageContext, made: Mapping[str, Component]) -> None:
        """Builds the row; `made` holds the fields that a kit is made of."""
        self._form = Form({name: made[name] for name in KIT_FIELDS})
        self._kept = browser_memory.make_browser_state(page_context, "social-kits", {})
        with gr.Row(elem_classes="pair"):
            self._name = gr.Dropdown(
                [],
                value="",
                label="Brand kit",
                elem_id=f"{PREFIX}kit",
                allow_custom_value=True,
                min_width=140,
                info="Stores logo, colours, font, position and margins. Enter a new name to save one.",
            )
            self._loaded = gr.Textbox("", visible=False)  # the kit that is on the form
        with gr.Row():
            self._save = gr.Button("Save kit", size="sm", elem_id=f"{PREFIX}kit-save", min_width=80)
            self._drop = gr.Button("Delete kit", size="sm", elem_id=f"{PREFIX}kit-delete", min_width=80)

    @property
    def _named_form(self) -> Form:
        """The kit's fields with its name, and the kits that there are."""
        return Form({**self._form.fields, "name": self._name, "kits": self._kept})

    def wire(self, page_context: PageContext) -> None:
        name, kept, form = self._name, self._kept, self._form
        page_context.blocks.load(
            show_errors(lambda kits: gr.update(choices=sorted(filter_known_kits(kits, form)))), kept, name, **UNQUEUED
        )
        loaded = self._loaded
        name.input(self._load_kit, [name, kept, loaded], {*form.components(), loaded}, **UNQUEUED)
        self._named_form.on(self._save.click, self._save_kit, [name, kept, loaded], **HIDDEN)
        self._drop.click(self._delete_kit, [name, kept], [name, kept, loaded], **HIDDEN)

    @show_errors
    def _load_kit(self, name: Any, kits: Any, loaded: Any) -> Updates:
        """The kit of that name on the form; a new name changes nothing, nor does the one that is there already."""
        if name == loaded:
            return {}
        values = filter_known_kits(kits, self._form).get(str(name), {})
        return {**self._form.make_all_updates(values), self._loaded: str(name or "")}

    @show_errors
    def _save_kit(self, packet: Any) -> tuple[Any, dict[str, Any], str]:
        values = self._named_form.values(packet)
        title = " ".join(str(values["name"] or "").split())
        if not 1 <= len(title) <= 60:
            raise InvalidRequest(
                "The brand kit needs a name.", hint="Enter a name of up to 60 characters in “Brand kit”."
            )
        check_name(title, "The name of the kit")
        kits = filter_known_kits(values["kits"], self._form) | {title: self._form.values(packet)}
        if len(kits) > MAX_KITS:
            raise InvalidRequest(f"The limit of {MAX_KITS} brand kits is reached.", hint="Delete one first.")
        show_info(f"“{title}” was saved in this browser.", title="Brand kit")
        return gr.update(choices=sorted(kits), value=title), kits, title

    @show_errors
    def _delete_kit(self, name: Any, kits: Any) -> tuple[Any, dict[str, Any], str]:
        left = {title: values for title, values in filter_known_kits(kits, self._form).items() if title != name}
        return gr.update(choices=sorted(left), value=""), left, ""


def filter_known_kits(kits: Any, form: Form) -> dict[str, dict[str, Any]]:
    """The kits that the browser kept, so far as they still fit the form."""
    if not isinstance(kits, Mapping):
        return {}
    return {str(title): browser_memory.filter_saved_values(values, form) for title, values in kits.items()}
