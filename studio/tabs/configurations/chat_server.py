"""The chat server on Configurations: its address, model and key, and a test that costs nothing."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from studio.core.rights import Right
from studio.engine.audit import AuditEvent
from studio.engine.chat_account import ChatAccount, ChatState
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user, requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors

ChatPanel = tuple[gr.HTML, gr.Textbox, gr.Textbox, gr.Textbox]
_KEY_SOURCES = {"environment": "set in the environment", "keyring": "set in the system's keyring", "file": "set here"}


def build_chat_panel(studio: Studio) -> ChatPanel:
    """The state, the address, the model and the key, which never comes back; `fill_chat_panel` fills them."""
    state = gr.HTML(elem_id="chat-state")
    with gr.Row(elem_classes="pair"):
        url = gr.Textbox(
            label="Address",
            elem_id="chat-url",
            placeholder="http://127.0.0.1:11434/v1",
            info="A server that speaks OpenAI's dialect, including /v1. Empty: none.",
            min_width=240,
            max_length=500,
        )
        model = gr.Textbox(
            label="Model", elem_id="chat-model", info="Empty: the server chooses.", min_width=160, max_length=200
        )
    key = gr.Textbox(
        label="API key",
        type="password",
        elem_id="chat-key",
        info="Only if the server wants one. Kept in the system's keyring, or in a private file; never shown again.",
        max_length=4096,
    )
    with gr.Row(elem_classes="button-row"):
        save, check, remove = (
            gr.Button("Save", elem_id="chat-save", min_width=70),
            gr.Button("Test", elem_id="chat-test", min_width=70),
            gr.Button("Remove key", elem_id="chat-remove", min_width=90),
        )
    answer = gr.HTML(elem_id="chat-answer")
    panel = (state, url, model, key)
    shown = HIDDEN | {"show_progress": "minimal"}

    @show_errors
    @requires(Right.SETTINGS)
    def save_server(address: Any, name: Any, value: Any, request: gr.Request) -> Updates:
        _save(studio, str(address or ""), str(name or ""), str(value or ""))
        _note_change(studio, request, "save")
        return fill_chat_panel(studio, *panel) | {answer: _render_note("Saved. It is used from the next prompt on.")}

    @show_errors
    @requires(Right.SETTINGS)
    def test_server(address: Any, name: Any, value: Any, request: gr.Request) -> Updates:
        _save(studio, str(address or ""), str(name or ""), str(value or ""))
        _note_change(studio, request, "save")
        return fill_chat_panel(studio, *panel) | {answer: _render_note(_require_account(studio).check())}

    @show_errors
    @requires(Right.SETTINGS)
    def remove_key(request: gr.Request) -> Updates:
        left = _require_account(studio).remove_key().key.where
        _note_change(studio, request, "remove_key")
        said = "The key is set in the environment and stays active." if left else "Key removed."
        return fill_chat_panel(studio, *panel) | {answer: _render_note(said)}

    given = [url, model, key]
    save.click(save_server, given, [*panel, answer], api_name="save_chat", **shown)
    check.click(test_server, given, [*panel, answer], api_name="test_chat", **shown)
    remove.click(remove_key, None, [*panel, answer], api_name="remove_chat_key", **shown)
    return panel


def fill_chat_panel(studio: Studio, state: gr.HTML, url: gr.Textbox, model: gr.Textbox, key: gr.Textbox) -> Updates:
    """The updates of the panel; what a flag or the environment fixes is greyed out and named."""
    fixed = studio.settings.get_overrides()
    current = studio.settings.current

    def show(name: str, value: str) -> Any:
        origin = fixed.get(name)
        return gr.update(value=value, interactive=origin is None, **({"info": f"Fixed by {origin}."} if origin else {}))

    return {
        state: _render_state(studio.chat.get_state()) if studio.chat is not None else "",
        url: show("chat_url", current.chat_url),
        model: show("chat_model", current.chat_model),
        key: "",
    }


def _save(studio: Studio, address: str, model: str, key: str) -> None:
    """Keep what was entered; an empty key leaves the one that is set."""
    fixed = studio.settings.get_overrides()
    given = {"chat_url": address.strip(), "chat_model": model.strip()}
    studio.settings.change({name: value for name, value in given.items() if name not in fixed})
    if key:
        _require_account(studio).set_key(key)


def _note_change(studio: Studio, request: gr.Request, action: str) -> None:
    user = get_user(request).name
    studio.engine.audit.record(AuditEvent.KEY_CHANGED, user, service="chat server", action=action)


def _require_account(studio: Studio) -> ChatAccount:
    assert studio.chat is not None
    return studio.chat


def _render_state(state: ChatState) -> str:
    if not state.model:
        return _render_note("No chat server: prompts are written by rules.")
    parts = [
        f"Prompts are written by {state.model}.",
        "Calls may cost money and stand in the ledger."
        if state.paid
        else "On this machine or network: calls are free.",
        _describe_key(state),
    ]
    return _render_note(" ".join(parts))


def _describe_key(state: ChatState) -> str:
    if not state.key.where:
        return "No key is set."
    ends = f", ends in …{state.key.ends}" if state.key.ends else ""
    return f"The key is {_KEY_SOURCES[state.key.where]}{ends}."


def _render_note(text: str) -> str:
    return f'<p class="note" role="status">{escape(text)}</p>'
