"""The caller's own API tokens on Configurations: made, listed without themselves, revoked. For every user, not for
administrators alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.rights import Right
from studio.engine.api_tokens import MAX_TOKEN_NAME_LENGTH, ApiToken, TokenScope
from studio.engine.audit import AuditEvent
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user, requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors
from studio.tabs.common.tables import render_table

_SCOPES = {
    "Read images and jobs": TokenScope.READ,
    "Generate with free models": TokenScope.GENERATE,
    "Generate and organise": TokenScope.ORGANIZE,
    "Generate and organise, paid models included": TokenScope.SPEND,
}
_SCOPE_LABELS = {scope: label for label, scope in _SCOPES.items()}
_NO_USERS_NOTE = "Without user accounts no token is needed: programs on this computer may call the APIs as they are."


def build_tokens_panel(studio: Studio) -> tuple[gr.HTML, gr.Dropdown]:
    """The table and the choice of one token, filled by `fill_tokens_panel`."""
    gr.Markdown("### API tokens")
    table = gr.HTML(elem_id="tokens")
    with gr.Row(elem_classes="pair"):
        name = gr.Textbox(
            label="Token name",
            elem_id="token-name",
            min_width=160,
            max_lines=1,
            max_length=MAX_TOKEN_NAME_LENGTH,
            info="The program that will use it.",
        )
        scope = gr.Dropdown(
            list(_SCOPES),
            value=_SCOPE_LABELS[TokenScope.GENERATE],
            label="Access",
            elem_id="token-scope",
            min_width=160,
        )
        create = gr.Button("Create token", elem_id="create-token", min_width=90)
    answer = gr.HTML(elem_id="token-answer")
    with gr.Row(elem_classes="pair"):
        chosen = gr.Dropdown([], value=None, label="Token", elem_id="token", min_width=160, allow_custom_value=True)
        revoke = gr.Button("Revoke token", elem_id="revoke-token", min_width=90)

    @show_errors
    @requires(Right.TOKENS)
    def create_token(token_name: Any, access: Any, request: gr.Request) -> Updates:
        user = get_user(request)
        secret = studio.engine.tokens.create(
            user.name, str(token_name or ""), _SCOPES.get(str(access), TokenScope.GENERATE)
        )
        studio.engine.audit.record(AuditEvent.TOKEN_CREATED, user.name, access=str(access))
        note = f"<p class='note'>Copy the token now, it is shown only once:</p><pre class='log'>{escape(secret)}</pre>"
        return fill_tokens_panel(studio, user.name, table, chosen) | {answer: note, name: ""}

    @show_errors
    def revoke_token(token_id: Any, request: gr.Request) -> Updates:
        user = get_user(request)
        if not token_id:
            raise InvalidRequest("No token selected.", hint="Select an entry in the list.")
        studio.engine.tokens.revoke(user.name, str(token_id))
        studio.engine.audit.record(AuditEvent.TOKEN_REVOKED, user.name, token=str(token_id))
        return fill_tokens_panel(studio, user.name, table, chosen) | {answer: "<p class='note'>Token revoked.</p>"}

    create.click(create_token, [name, scope], [table, chosen, answer, name], api_name="create_token", **HIDDEN)
    revoke.click(revoke_token, chosen, [table, chosen, answer], api_name="revoke_token", **HIDDEN)
    return table, chosen


def fill_tokens_panel(studio: Studio, user: str, table: gr.HTML, chosen: gr.Dropdown) -> Updates:
    """The user's tokens as they are now."""
    tokens = studio.engine.tokens.list_tokens(user)
    choices = [(f"{token.name} ({token.id})", token.id) for token in tokens]
    needed = studio.settings.current.auth_file is not None
    return {table: render_tokens(tokens, needed=needed), chosen: gr.update(choices=choices, value=None)}


def render_tokens(tokens: Sequence[ApiToken], *, needed: bool) -> str:
    """The tokens as a table in HTML; `needed` tells whether there are user accounts."""
    note = "" if needed else f'<p class="note">{_NO_USERS_NOTE}</p>'
    if not tokens:
        return note or '<p class="note">No tokens yet.</p>'
    rows = [
        (escape(token.name), escape(token.id), _SCOPE_LABELS[token.scope], _format_day(token.created))
        for token in tokens
    ]
    return note + render_table(("Name", "Id", "Access", "Created"), rows)


def _format_day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
