"""Cloud services on Configurations: their keys, a check that costs nothing, and what was spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from studio.core.rights import Right
from studio.engine.audit import AuditEvent
from studio.engine.money.cloud_accounts import CloudAccounts, CloudState
from studio.engine.money.ledger import LedgerRow
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user, requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors
from studio.tabs.common.tab import PageContext
from studio.tabs.common.tables import render_table

SPENDING_DAYS = 31
_KEY_SOURCES = {"environment": "set in the environment", "keyring": "set in the system's keyring", "file": "set here"}


def build_clouds_panel(studio: Studio, page_context: PageContext) -> tuple[gr.HTML, gr.Dropdown, gr.HTML]:
    """The table of services, the choice of one, and what was spent; filled by `filled`. A key changes the lists of
    models on all tabs."""
    table = gr.HTML(elem_id="clouds")
    with gr.Row(elem_classes="pair"):
        chosen = gr.Dropdown(
            [], label="Provider", elem_id="cloud", info="The buttons apply to this entry.", min_width=160
        )
        key = gr.Textbox(
            label="API key",
            type="password",
            elem_id="cloud-key",
            min_width=200,
            max_length=4096,
            info="Kept in the system's keyring, or in a file that only this account can read; never shown again.",
        )
    with gr.Row(elem_classes="button-row"):
        keep, check, remove = (
            gr.Button("Save key", elem_id="save-key", min_width=90),
            gr.Button("Test", elem_id="test-key", min_width=70),
            gr.Button("Remove key", elem_id="remove-key", min_width=90),
        )
    answer = gr.HTML(elem_id="cloud-answer")
    spent = gr.HTML(elem_id="spent")
    shown: list[Any] = [table, chosen, spent, answer, key]

    def make_handler(action: str, work: Callable[[CloudAccounts, str, str], str]) -> Callable[..., Updates]:
        @show_errors
        @requires(Right.SETTINGS)
        def handler(service: Any, value: Any, request: gr.Request) -> Updates:
            assert studio.clouds is not None
            said = work(studio.clouds, str(service or ""), str(value or ""))
            studio.engine.audit.record(
                AuditEvent.KEY_CHANGED, get_user(request).name, service=str(service or ""), action=action
            )
            return fill_clouds_panel(studio, table, chosen, spent) | {
                answer: f'<p class="note">{escape(said)}</p>',
                key: "",
            }

        return handler

    for name, button, work in (
        ("keep_key", keep, _save_key),
        ("test_key", check, _check_key),
        ("remove_key", remove, _remove_key),
    ):
        done = button.click(
            make_handler(name, work), [chosen, key], shown, api_name=name, **HIDDEN | {"show_progress": "minimal"}
        )
        page_context.refresh_lists_after(done)
    return table, chosen, spent


def _save_key(clouds: CloudAccounts, service: str, value: str) -> str:
    state = clouds.set_key(service, value)
    return state.locked or f"Key for {state.title} saved. Its models are now available."


def _remove_key(clouds: CloudAccounts, service: str, _: str) -> str:
    state = clouds.remove_key(service)
    if state.locked:
        return f"Key for {state.title} removed."
    return f"The key for {state.title} is set in the environment and stays active."


def _check_key(clouds: CloudAccounts, service: str, _: str) -> str:
    return clouds.check(service)


def fill_clouds_panel(studio: Studio, table: gr.HTML, chosen: gr.Dropdown, spent: gr.HTML) -> Updates:
    """The updates of the panel."""
    states = studio.clouds.all() if studio.clouds is not None else []
    choices = [(state.title, state.id) for state in states]
    return {
        table: _render_services_table(states),
        chosen: gr.update(choices=choices, value=None) if not choices else gr.update(choices=choices),
        spent: render_spending(studio.engine.ledger.lines(None, SPENDING_DAYS)),
    }


def _render_services_table(states: Sequence[CloudState]) -> str:
    rows = [
        (escape(state.title), _describe_key(state), str(len(state.models)), _render_state(state)) for state in states
    ]
    return render_table(("Provider", "Key", "Models", "State"), rows)


def _render_state(state: CloudState) -> str:
    if not state.locked:
        return '<b class="yes">Ready</b>'
    return f'<b class="no">Locked:</b> <span>{escape(state.locked)}</span>'


def _describe_key(state: CloudState) -> str:
    if state.key is None:
        return "none needed"
    if not state.key.where:
        return "not set"
    ends = f", ends in …{state.key.ends}" if state.key.ends else ""
    return escape(f"{_KEY_SOURCES[state.key.where]}{ends}")


def render_spending(lines: Sequence[LedgerRow]) -> str:
    """The spending by day and provider, with a bar for each."""
    if not lines:
        return '<p class="note">No spending in the last month.</p>'
    most = max(line.billed for line in lines) or 1.0
    rows = [
        (
            *map(escape, (line.day, line.provider, line.user)),
            str(line.images),
            f"${line.billed:.3f}",
            _render_bar(line.billed / most),
        )
        for line in lines
    ]
    table = render_table(("Day", "Provider", "User", "Images", "Spent", ""), rows, "spent")
    total = (
        f'<p class="note">${sum(line.billed for line in lines):.2f} in the last {SPENDING_DAYS} days, as billed, else'
        " as estimated.</p>"
    )
    return table + total


def _render_bar(share: float) -> str:
    percent = f"{100 * share:.0f}"
    label = f"{percent} percent of the largest"
    return f"<span class='bar' style='inline-size:{percent}%' role='img' aria-label='{label}'></span>"
