"""Brand kits: colours, font, logo and margins under a name, kept by the user's own browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest
from studio.tabs.common import browser_memory
from studio.tabs.common.events import AT_ONCE, QUIET, Updates, told
from studio.tabs.common.form import Form
from studio.tabs.common.tab import Shell
from studio.tabs.social.social_fields import KIT, PREFIX

MOST_KITS = 50


class Kits:
    """The row that saves, takes and deletes kits."""

    def __init__(self, shell: Shell, made: Mapping[str, Component]) -> None:
        """Builds the row; `made` holds the fields that a kit is made of."""
        self._form = Form({name: made[name] for name in KIT})
        self._kept = browser_memory.remembered(shell, "social-kits", {})
        with gr.Row(elem_classes="pair"):
            self._name = gr.Dropdown(
                [], value="", label="Brand kit", elem_id=f"{PREFIX}kit", allow_custom_value=True, min_width=140,
                info="Choose one, or write a new name and save. Holds logo, colours, font, place and margins.",
            )  # fmt: skip
        with gr.Row():
            self._save = gr.Button("Save kit", size="sm", elem_id=f"{PREFIX}kit-save", min_width=80)
            self._drop = gr.Button("Delete kit", size="sm", elem_id=f"{PREFIX}kit-delete", min_width=80)

    @property
    def _named(self) -> Form:
        """The kit's fields with its name, and the kits that there are."""
        return Form({**self._form.fields, "name": self._name, "kits": self._kept})

    def wire(self, shell: Shell) -> None:
        name, kept, form = self._name, self._kept, self._form
        shell.blocks.load(lambda kits: gr.update(choices=sorted(known(kits, form))), kept, name, **AT_ONCE)
        name.input(self._take, [name, kept], form.components(), **AT_ONCE)
        self._named.on(self._save.click, self._saved, [name, kept], **QUIET)
        self._drop.click(self._dropped, [name, kept], [name, kept], **QUIET)

    def _take(self, name: Any, kits: Any) -> Updates:
        """The kit of that name on the form; a new name changes nothing."""
        values = known(kits, self._form).get(str(name), {})
        return self._form.filled(values)

    @told
    def _saved(self, packet: Any) -> tuple[Any, dict[str, Any]]:
        values = self._named.values(packet)
        title = " ".join(str(values["name"] or "").split())
        if not 1 <= len(title) <= 60:
            raise InvalidRequest("The kit has no name.", hint="Write one of up to 60 letters into “Brand kit”.")
        kits = known(values["kits"], self._form) | {title: self._form.values(packet)}
        if len(kits) > MOST_KITS:
            raise InvalidRequest(f"There are {MOST_KITS} kits already.", hint="Delete one first.")
        gr.Info(f"“{title}” is saved in this browser.", title="Brand kit")
        return gr.update(choices=sorted(kits), value=title), kits

    @told
    def _dropped(self, name: Any, kits: Any) -> tuple[Any, dict[str, Any]]:
        left = {title: values for title, values in known(kits, self._form).items() if title != name}
        return gr.update(choices=sorted(left), value=""), left


def known(kits: Any, form: Form) -> dict[str, dict[str, Any]]:
    """The kits that the browser kept, so far as they still fit the form."""
    if not isinstance(kits, Mapping):
        return {}
    return {str(title): browser_memory.trusted(values, form) for title, values in kits.items()}
