"""Many prompts at once: a list with one a line, each a job with the other settings of the form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.errors import StudioError
from studio.core.events import Status
from studio.core.fields import MAX_SEED
from studio.core.prompt_lines import MAX_TEXT_CHARS, apply_prompt_line, read_prompt_lines
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, Updates, make_toast, show_errors
from studio.tabs.common.run_job import follow_job, submit_all
from studio.tabs.common.tab_view import TabView
from studio.tabs.common.widgets import build_checkbox, build_textbox

_LINE_HELP = 'One a line, before the prompt of the form; or fields, such as --prompt "a red apple" --steps 20 --seed 7.'


@dataclass(frozen=True)
class PromptListFields:
    """The list, whether seeds go on from line to line, and the buttons."""

    lines: gr.Textbox
    spread: gr.Checkbox
    load: gr.Button
    generate: gr.Button


def build_prompt_list_accordion() -> PromptListFields:
    """A closed accordion with the fields."""
    with gr.Accordion("Prompts from a file", open=False, elem_id="prompt-list"):
        lines = build_textbox(
            "List of prompts", "prompt-list-lines", _LINE_HELP, max_length=MAX_TEXT_CHARS, lines=4, max_lines=12
        )
        spread = build_checkbox("Next seed for each line", "prompt-list-spread", False, "Otherwise the form's.")
        with gr.Row(elem_classes="button-row"):
            load = gr.Button("Open file", size="sm", elem_id="prompt-list-load", min_width=90)
            generate = gr.Button("Generate all lines", size="sm", elem_id="prompt-list-generate", min_width=120)
    return PromptListFields(lines, spread, load, generate)


def wire_prompt_list(
    studio: Studio, view: TabView, fields: PromptListFields, ask: Callable[[dict[str, Any], User], GenerationRequest]
) -> None:
    """Let the buttons read a file and start the jobs; `ask` makes the request of the form's values."""

    @show_errors
    def generate(packet: Any, text: Any, spread: Any, request: gr.Request) -> Iterator[Updates]:
        user = get_user(request)
        try:
            wanted = plan_requests(ask(view.form.values(packet), user), str(text or ""), spread=bool(spread))
        except StudioError as error:
            raise make_toast(error) from error
        yield from _run_all(studio, view, wanted, user, request.session_hash)

    fields.load.click(
        fn=None,
        inputs=[fields.lines],
        outputs=[fields.lines],
        js="async (lines) => [await window.easel.openTextFile(lines)]",
        api_visibility="private",
    )
    view.form.on(
        fields.generate.click,
        generate,
        view.panel.outputs(),
        extra=[fields.lines, fields.spread],
        trigger_mode="once",
        **HIDDEN,
    )


def plan_requests(request: GenerationRequest, text: str, *, spread: bool) -> list[GenerationRequest]:
    """The request of each line of `text`; with `spread` the seed of line k is that of the form + k, where it has one.

    Raises:
        InvalidRequest: the list or a line of it cannot be read.
    """
    planned: list[GenerationRequest] = []
    for number, values in enumerate(read_prompt_lines(text)):
        seed = request.seed
        own = request.replace(seed=(seed + number) % (MAX_SEED + 1)) if spread and seed is not None else request
        planned.append(apply_prompt_line(own, values))
    return planned


def _run_all(
    studio: Studio, view: TabView, wanted: list[GenerationRequest], user: User, page: str | None
) -> Iterator[Updates]:
    """Submit all requests and show one job after the other; once one is stopped, so are those behind it, and where one
    is refused, those before it."""
    engine = studio.engine
    try:
        jobs = submit_all(engine, wanted, user)
    except StudioError as error:
        raise make_toast(error) from error
    failed: gr.Error | None = None
    try:
        for job in jobs:
            try:
                yield from follow_job(engine, view.panel, job, user, page)
            except gr.Error as error:  # the others go on
                failed = error
            if job.snapshot.status is Status.CANCELLED:
                for rest in jobs:
                    engine.cancel(rest.id, user)
                break
    finally:  # the page may have been closed
        for job in jobs:
            if not job.snapshot.status.is_final:
                engine.leave(job.id, user)
    if failed is not None:
        raise failed
