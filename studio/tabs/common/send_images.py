"""Send a result to another form. A tab says where images may go (`add_target`) and where the buttons stand (`place`).

An image travels in two steps, since the tab that it goes to may not have been opened yet: its name is put into the
target's inbox, which the page always has, and the tab opened; there the form takes it out, at once or when it is
restored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.engine import Engine
from studio.engine.storage.inputs import KeptImage
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors
from studio.tabs.common.restore_settings import find_drawing_request

# A change of the inbox is what a form takes it for; what came before the form was there changes once more.
_RECEIVE_AGAIN_SCRIPT = "(packet) => (packet ? [{...packet, again: true}] : [])"


@dataclass(frozen=True, kw_only=True)
class SentImage:
    """An image on its way: kept, so that requests may name `image.hash`, and the `request` that drew it, None when that
    is not known or the user wants the image alone."""

    image: KeptImage
    request: GenerationRequest | None


@dataclass(frozen=True, kw_only=True)
class _SendTarget:
    name: str
    title: str
    tab: str
    outputs: Collection[Any]
    apply: Callable[[SentImage], Updates]
    restored: Any
    inbox: gr.JSON


@dataclass(frozen=True, kw_only=True)
class _SendButton:
    button: gr.Button
    name: str
    inputs: Any
    make_sent_image: Callable[..., SentImage]
    script: str | None


@dataclass(frozen=True, kw_only=True)
class _SendButtonRow:
    view: str
    row: gr.Row
    settings: gr.Checkbox


class SendRegistry:
    """All targets and all places with buttons; `wire` connects them once every tab is built."""

    def __init__(self, engine: Engine, store: gr.Column) -> None:
        self._engine = engine
        self._store = store
        self._targets: list[_SendTarget] = []
        self._rows: list[_SendButtonRow] = []
        self._buttons: list[_SendButton] = []

    def add_target(
        self,
        name: str,
        title: str,
        *,
        tab: str,
        outputs: Collection[Any],
        apply: Callable[[SentImage], Updates],
        restored: Any,
    ) -> None:
        """Images may be sent to `title`, a form on the tab `tab`, from the event `restored` on. `apply` gives the
        updates, of `outputs` alone, that put the image there; a StudioError from it is shown to the user. `name` is
        unique and ends up in element ids. One without a title is not offered beside results, and reached by
        `register_button` alone."""
        with self._store:
            inbox = gr.JSON(visible=False)
        self._targets.append(
            _SendTarget(
                name=name,
                title=title,
                tab=tab.lower(),
                outputs=outputs,
                apply=apply,
                restored=restored,
                inbox=inbox,
            )
        )

    def register_button(
        self,
        button: gr.Button,
        name: str,
        *,
        inputs: Any,
        make_sent_image: Callable[..., SentImage],
        script: str | None = None,
    ) -> None:
        """A press of `button` sends an image to the target `name`: the result of `make_sent_image`, called with the
        preprocessed `inputs` and the gr.Request. `script` may give the inputs other values in the browser."""
        self._buttons.append(
            _SendButton(button=button, name=name, inputs=inputs, make_sent_image=make_sent_image, script=script)
        )

    def wire_settings_button(self, button: gr.Button) -> None:
        """A press of `button` puts the settings of the image that the page shows onto the Txt2Img form."""
        shown = gr.Textbox(visible=False)
        script = "async () => [await window.easel.getShownImage()]"
        self.register_button(button, "txt2img", inputs=shown, make_sent_image=self._take_settings, script=script)

    def _take_settings(self, asset_id: Any, request: gr.Request) -> SentImage:
        user = get_user(request)
        asset = self._engine.asset(str(asset_id), user)
        drew = find_drawing_request((*asset.history, asset.request), asset.infotext)
        if drew is None:
            raise InvalidRequest("This image has no settings.", hint="Send the image alone instead.")
        return SentImage(image=self._engine.keep_asset(asset.id, user), request=drew)

    def add_send_buttons(self, view: str) -> None:
        """Add the buttons of the tab `view`; they send the image that its result panel shows."""
        with gr.Row(elem_classes="send") as row:
            settings = gr.Checkbox(
                True, label="with prompt and settings", elem_id=f"{view}-send-settings", min_width=150, container=False
            )
        self._rows.append(_SendButtonRow(view=view, row=row, settings=settings))

    def wire(self, tabs: gr.Tabs) -> None:
        """Make every button; a press puts the image into the target's inbox and opens its tab."""
        for target in self._targets:
            self._wire_inbox(target)
        for own in self._buttons:
            self._wire_button(own, next(target for target in self._targets if target.name == own.name), tabs)
        selected = gr.Textbox(visible=False)
        for place in self._rows:
            with place.row:
                for target in (target for target in self._targets if target.title):
                    button = gr.Button(
                        f"→ {target.title}", size="sm", min_width=80, elem_id=f"{place.view}-send-{target.name}"
                    )
                    self._wire_result_button(button, (selected, place.settings), target, tabs)

    def _wire_inbox(self, target: _SendTarget) -> None:
        @show_errors
        def receive(packet: Any, request: gr.Request) -> Updates:
            sent_image = self._unpack(packet, get_user(request))
            untouched = {next(iter(target.outputs)): gr.update()}  # of no updates at all Gradio would make a value
            return (target.apply(sent_image) if sent_image is not None else {}) or untouched

        target.inbox.change(receive, target.inbox, {*target.outputs}, **UNQUEUED)
        target.restored.then(
            fn=None, inputs=[target.inbox], outputs=[target.inbox], js=_RECEIVE_AGAIN_SCRIPT, api_visibility="private"
        )

    def _unpack(self, packet: Any, user: User) -> SentImage | None:
        """The image that lies in an inbox, None for none; raises what the engine says of one that is not the user's."""
        if not isinstance(packet, dict) or not packet.get("image"):
            return None
        drew = packet.get("request")
        return SentImage(
            image=self._engine.get_input(str(packet["image"]), user),
            request=GenerationRequest.from_json(drew) if drew is not None else None,
        )

    def _wire_result_button(
        self, button: gr.Button, inputs: tuple[gr.Textbox, gr.Checkbox], target: _SendTarget, tabs: gr.Tabs
    ) -> None:
        @show_errors
        def send(asset_id: Any, settings: Any, request: gr.Request) -> Updates:
            user = get_user(request)
            asset = self._engine.asset(str(asset_id), user)
            image = self._engine.keep_asset(asset.id, user)
            drew = find_drawing_request((*asset.history, asset.request), asset.infotext) if settings is True else None
            sent_image = SentImage(image=image, request=drew)
            return {target.inbox: _pack(sent_image), tabs: gr.update(selected=target.tab)}

        script = "async (_, settings) => [await window.easel.getShownImage(), settings]"
        button.click(send, [*inputs], {target.inbox, tabs}, js=script, **HIDDEN)

    @staticmethod
    def _wire_button(own: _SendButton, target: _SendTarget, tabs: gr.Tabs) -> None:
        @show_errors
        def send(value: Any, request: gr.Request) -> Updates:
            return {target.inbox: _pack(own.make_sent_image(value, request)), tabs: gr.update(selected=target.tab)}

        own.button.click(send, own.inputs, {target.inbox, tabs}, js=own.script, **HIDDEN | {"preprocess": True})


def _pack(sent_image: SentImage) -> dict[str, Any]:
    """The value of an inbox; no two are equal, so that the same image may be sent again."""
    drew = sent_image.request.to_json() if sent_image.request is not None else None
    return {"image": sent_image.image.hash, "request": drew, "sent": time.time()}
