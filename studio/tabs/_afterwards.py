"""What happens to every picture once it is drawn: a chain that was saved in Extras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.chains import followed
from studio.engine.studio import Studio
from studio.tabs._events import QUIET
from studio.tabs._fields import Form
from studio.tabs._read import NONE
from studio.tabs._tab import Shell
from studio.tabs._user import user_of


def after_fields(prefix: str = "") -> dict[str, Component]:
    """The choice among the user's chains."""
    chain = gr.Dropdown(
        [NONE], value=NONE, label="Afterwards", elem_id=f"{prefix}afterwards", allow_custom_value=True,
        info="A chain saved in Extras is carried out on every picture: upscale, finish, other sizes.",
    )  # fmt: skip
    return {"afterwards": chain}


def wire_afterwards(studio: Studio, shell: Shell, form: Form) -> None:
    """Let the choice hold the user's chains, also those that were saved since the page was opened."""

    def listed(request: gr.Request) -> Any:
        return gr.update(choices=[NONE, *studio.engine.chains.names(user_of(request).name)])

    for event in (shell.blocks.load, form["afterwards"].focus):  # pyright: ignore[reportAttributeAccessIssue]
        event(listed, None, form["afterwards"], **QUIET)


def with_chain(studio: Studio, wanted: GenerationRequest, values: Mapping[str, Any], user: User) -> GenerationRequest:
    """`wanted`, and after it the chosen chain.

    Raises:
        NotFound: there is no such chain any more. InvalidRequest: it cannot follow.
    """
    name = values["afterwards"]
    if name in (None, "", NONE):
        return wanted
    return followed(wanted, studio.engine.chains.steps(user.name, str(name)))
