"""The post-processing field: a chain that was saved in Extras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import NotFound
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.saved_chains import append_steps, extract_steps
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import UNQUEUED, Updates, show_errors, show_info
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import NONE
from studio.tabs.common.tab import PageContext


def build_chain_fields(prefix: str = "") -> dict[str, Component]:
    """The choice among the user's chains."""
    chain = gr.Dropdown(
        [NONE],
        value=NONE,
        label="Chain",
        elem_id=f"{prefix}afterwards",
        allow_custom_value=True,
        info="Runs a chain saved in Extras on every image.",
    )
    return {"afterwards": chain}


def wire_chain_choice(studio: Studio, page_context: PageContext, form: Form) -> None:
    """Let the choice hold the user's chains, also those that were saved since the page was opened."""

    @show_errors
    def list_chains(request: gr.Request) -> Any:
        return gr.update(choices=[NONE, *studio.engine.chains.names(get_user(request).name)])

    for event in (page_context.blocks.load, form["afterwards"].focus):  # pyright: ignore[reportAttributeAccessIssue]
        event(list_chains, None, form["afterwards"], **UNQUEUED)


def append_chosen_chain(
    studio: Studio, wanted: GenerationRequest, values: Mapping[str, Any], user: User
) -> GenerationRequest:
    """`wanted`, and after it the chosen chain.

    Raises:
        NotFound: there is no such chain any more. InvalidRequest: it cannot follow.
    """
    name = values["afterwards"]
    if name in (None, "", NONE):
        return wanted
    return append_steps(wanted, studio.engine.chains.steps(user.name, str(name)))


def restore_chain_choice(studio: Studio, form: Form, asset: Asset, user: User) -> Updates:
    """The update that chooses the chain which `asset` went through; where no saved one is like it, a notice says so."""
    if "afterwards" not in form.fields:
        return {}
    try:
        wanted = studio.engine.job(asset.job_id, user).request  # of several files the asset's own names one alone
    except NotFound:
        wanted = asset.request
    steps = extract_steps(wanted)
    made_for = bool(steps) and steps[-1].task is Task.SOCIAL  # an accordion of its own asked for that, after the chain
    tried = [steps[:end] for end in range(len(steps) - 1, 0, -1)] if made_for else [steps]
    name = next((found for one in tried if (found := studio.engine.chains.find_name(user.name, one))), None)
    if steps and name is None and not made_for:
        show_info(
            "The steps that followed are no saved chain; nothing is chosen under Post-processing.",
            title="Post-processing",
        )
    return {form["afterwards"]: gr.update(value=name or NONE)}
