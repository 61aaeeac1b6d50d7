"""A tab's fields by name, and how events come by their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component


@dataclass(frozen=True)
class Form:
    """The fields by name. Handlers wired by `on` are given one packet, which `values` opens."""

    fields: dict[str, Component]

    def __getitem__(self, name: str) -> Component:
        return self.fields[name]

    def components(self) -> set[Any]:
        """All fields, as an event's outputs."""
        return set(self.fields.values())

    def on(
        self,
        triggers: Any,
        handler: Callable[..., Any],
        outputs: Any,
        extra: Sequence[Component] = (),
        **event_options: Any,
    ) -> Any:
        """Let `handler(packet, *extra, ...)` run at each of `triggers`; `outputs` and `event_options` as in Gradio.

        The browser gathers the fields into one hidden component, and only that is the handler's input: Gradio's page
        looks up every input that any event ever had at each step of every event, which for forms of a hundred fields
        slows typing down.
        """
        gathered, packet = self.gather(triggers)
        return gathered.then(handler, [packet, *extra], outputs, **event_options)

    def gather(self, triggers: Any) -> tuple[Any, gr.JSON]:
        """Let the browser gather the fields at each of `triggers`: the event, and the component that has them."""
        packet = gr.JSON(visible=False)
        names = json.dumps(list(self.fields))
        script = f"async (...values) => [await window.easel.packForm({names}, values)]"
        gathered = gr.on(
            triggers, fn=None, inputs=list(self.fields.values()), outputs=[packet], js=script, api_visibility="private"
        )
        return gathered, packet

    def values(self, packet: Any) -> dict[str, Any]:
        """The value of every field; one that `packet` lacks, when it comes from another program, has the value that it
        began with."""
        given: Mapping[str, Any] = packet if isinstance(packet, Mapping) else {}
        return {name: given.get(name, getattr(field, "value", None)) for name, field in self.fields.items()}

    def make_all_updates(self, values: Mapping[str, Any]) -> dict[Component, Any]:
        """`updates` for an event whose outputs are all fields: never empty, which Gradio would take for a value."""
        return {field: gr.update() for field in self.fields.values()} | self.make_updates(values)

    def make_updates(self, values: Mapping[str, Any]) -> dict[Component, Any]:
        """`values` as what an event hands back; names that the form lacks are passed over."""
        return {self.fields[name]: gr.update(value=value) for name, value in values.items() if name in self.fields}
