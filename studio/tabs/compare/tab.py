"""The Compare tab: one prompt for several models, LoRAs, seeds or settings, results side by side with time and cost,
and blind votes between models."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.field_spec import get_field
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.jobs.passes import make_random_seed
from studio.engine.models.votes import Tally
from studio.engine.studio import Studio
from studio.tabs.common import choice_lists
from studio.tabs.common.choice_lists import READY_MODELS
from studio.tabs.common.choices import list_model_choices
from studio.tabs.common.cost_line import format_dollars
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, make_toast, show_errors, show_info
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import read_value
from studio.tabs.common.result_panel import render_marks
from studio.tabs.common.run_job import build_save_again_button, follow_jobs, has_unsaved_images, submit_all
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.common.tables import render_table
from studio.tabs.common.widgets import build_dropdown, build_number, build_textbox
from studio.tabs.compare.contenders import (
    MAX_CONTENDERS,
    SETTINGS,
    WITHOUT_LORA,
    Contender,
    ContenderKind,
    Values,
    build_contenders,
)

_FIRST_KIND = ContenderKind.MODELS


@dataclass(frozen=True, kw_only=True)
class CompareWidgets:
    """The components that the tab's handlers read and write."""

    prompt: gr.Textbox
    models: gr.Dropdown
    seed: gr.Textbox
    blind: gr.Checkbox
    chooser: Form  # what the contenders differ in, and all kinds but models
    cost: gr.HTML
    go: gr.Button
    stop: gr.Button
    result: gr.HTML
    ballot: gr.Row
    votes: tuple[gr.Button, gr.Button, gr.Button]  # left, tie, right
    tallies: gr.HTML
    pair: gr.State  # the ids of the two models to vote on
    running: gr.State  # the ids of the unfinished jobs
    save_again: gr.Button
    shown: gr.State  # the jobs on the page by id, their titles, and whether these are hidden


def build_compare_tab(studio: Studio, page_context: PageContext) -> None:
    """Build the tab's layout and wire its events."""
    widgets = _build_layout(studio)
    _wire_chooser(widgets)
    _Comparison(studio, widgets).wire()
    _wire_votes(studio, widgets)
    for field, name in ((widgets.models, READY_MODELS), (widgets.chooser["model"], READY_MODELS)):
        choice_lists.fetch_on_focus(field, name)
    choice_lists.fetch_on_focus(widgets.chooser["loras"], "loras", [(WITHOUT_LORA, WITHOUT_LORA)])
    page_context.blocks.load(show_errors(lambda: render_empty_comparison(studio)), None, widgets.result, **UNQUEUED)


def _build_layout(studio: Studio) -> CompareWidgets:
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="view-column view-prompt", min_width=0):
            prompt = gr.Textbox(label="Prompt", lines=3, elem_id="compare-prompt", max_length=20_000)
            chooser, models = _build_chooser(studio)
            seed = build_textbox(
                "Seed",
                "compare-seed",
                "The same for all that take one.",
                max_length=40,
                value="1",
                lines=1,
                max_lines=1,
            )
            blind = gr.Checkbox(
                label="Blind", elem_id="compare-blind", info="Hides the names of two models until you vote."
            )
            cost = gr.HTML(elem_id="compare-cost")
            with gr.Row(elem_classes="button-row"):
                go = gr.Button("Compare", variant="primary", elem_id="compare", scale=3)
                stop = gr.Button(
                    "Stop", elem_id="compare-stop", elem_classes="stop", interactive=False, min_width=64, scale=1
                )
        with gr.Column(elem_classes="view-column view-result", min_width=0):
            result = gr.HTML(elem_id="compare-result")
            save_again = build_save_again_button("compare-")
            with gr.Row(elem_classes="button-row", visible=False) as ballot:
                left, tie, right = (
                    gr.Button(name, elem_id=f"vote-{name.lower()}") for name in ("Left", "Tie", "Right")
                )
            tallies = gr.HTML(_render_tallies(studio.engine.votes.tallies()), elem_id="tallies")
    return CompareWidgets(
        prompt=prompt,
        models=models,
        seed=seed,
        blind=blind,
        chooser=chooser,
        cost=cost,
        go=go,
        stop=stop,
        result=result,
        ballot=ballot,
        votes=(left, tie, right),
        tallies=tallies,
        pair=gr.State([]),
        running=gr.State([]),
        save_again=save_again,
        shown=gr.State({}),
    )


def _build_chooser(studio: Studio) -> tuple[Form, gr.Dropdown]:
    """What the contenders differ in, and the fields of each kind; the list of models apart."""
    kind = gr.Radio(
        list(ContenderKind), value=_FIRST_KIND, label="Compare", elem_id="compare-kind", elem_classes="modes modes-4"
    )
    models = build_dropdown(
        "Models",
        "compare-models",
        [],
        [],
        "Local and cloud models can be mixed. Prices are shown below.",
        multiselect=True,
        max_choices=MAX_CONTENDERS,
    )
    first = studio.engine.model("")
    choices = list_model_choices([first])
    model = build_dropdown("Model", "compare-model", choices, first.id, visible=False)
    loras = build_dropdown(
        "LoRAs", "compare-loras", [WITHOUT_LORA], [], multiselect=True, max_choices=MAX_CONTENDERS, visible=False
    )
    weight = build_number("LoRA weight", "compare-weight", 1.0, precision=None, visible=False)
    parameter = build_dropdown("Setting", "compare-setting", list(SETTINGS), "CFG scale", visible=False)
    typed = build_textbox(
        "Values",
        "compare-values",
        "Separated by commas; numbers take ranges such as 1-4.",
        max_length=2000,
        max_lines=2,
        visible=False,
    )
    fields = {"kind": kind, "model": model, "loras": loras, "weight": weight, "parameter": parameter, "typed": typed}
    return Form(fields), models


def _wire_chooser(widgets: CompareWidgets) -> None:
    fields = widgets.chooser.fields

    @show_errors
    def show_fields(kind: Any) -> Updates:
        shown = {
            widgets.models: kind == ContenderKind.MODELS,
            widgets.blind: kind == ContenderKind.MODELS,
            widgets.seed: kind != ContenderKind.SEEDS,
            fields["model"]: kind != ContenderKind.MODELS,
            fields["loras"]: kind == ContenderKind.LORAS,
            fields["weight"]: kind == ContenderKind.LORAS,
            fields["parameter"]: kind == ContenderKind.SETTINGS,
            fields["typed"]: kind in (ContenderKind.SEEDS, ContenderKind.SETTINGS),
        }
        return {field: gr.update(visible=is_shown) for field, is_shown in shown.items()}

    outputs: set[Any] = {widgets.models, widgets.blind, widgets.seed, *fields.values()} - {fields["kind"]}
    kind: Any = fields["kind"]
    kind.input(show_fields, kind, outputs, **UNQUEUED)


class _Comparison:
    """What the tab does: the jobs of a comparison, their price, and what becomes of them."""

    def __init__(self, studio: Studio, widgets: CompareWidgets) -> None:
        self._studio, self._widgets = studio, widgets

    def wire(self) -> None:
        """Let the buttons and fields do what they are there for."""
        widgets = self._widgets
        shown: set[Any] = {
            widgets.result,
            widgets.ballot,
            widgets.pair,
            widgets.running,
            widgets.stop,
            widgets.save_again,
            widgets.shown,
        }
        inputs = [widgets.prompt, widgets.models, widgets.seed, widgets.blind]
        public = HIDDEN | {"api_name": "compare", "api_visibility": "public"}
        widgets.save_again.click(self._save_again, widgets.shown, shown, trigger_mode="once", **HIDDEN)
        widgets.stop.click(self._stop, widgets.running, None, **HIDDEN)
        gathered, packet = widgets.chooser.gather(widgets.go.click)
        gathered.then(self._compare, [*inputs, packet], shown, **public)
        watched = [widgets.chooser[name] for name in ("kind", "model", "loras", "parameter", "typed")]
        changes: Any = [field.change for field in (widgets.prompt, widgets.models, *watched)]
        chosen = [widgets.prompt, widgets.models]
        widgets.chooser.on(changes, self._update_price, widgets.cost, chosen, trigger_mode="always_last", **UNQUEUED)

    def _read_values(self, packet: Any, text: Any, models: Any) -> Values:
        return {**self._widgets.chooser.values(packet), "prompt": text, "models": models}

    @show_errors
    def _compare(
        self, text: Any, models: Any, number: Any, unnamed: Any, packet: Any, request: gr.Request
    ) -> Iterator[Updates]:
        try:
            user = get_user(request)
            values = self._read_values(packet, text, models)
            contenders = build_contenders(self._studio, values, _read_seed(number))
            hidden = bool(unnamed) and values["kind"] == ContenderKind.MODELS
            titles, jobs = _submit_jobs(self._studio, contenders, user, blind=hidden)
        except StudioError as error:
            raise make_toast(error) from error
        yield from self._follow(jobs, user, titles, hidden=hidden)

    @show_errors
    def _save_again(self, shown: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = get_user(request)
            jobs = _retry_saves(self._studio, shown["jobs"], user)
        except StudioError as error:
            raise make_toast(error) from error
        yield from self._follow(jobs, user, shown["titles"], hidden=shown["hidden"])

    def _follow(self, jobs: list[Job], user: User, titles: list[str], *, hidden: bool) -> Iterator[Updates]:
        widgets = self._widgets
        names, ids = [job.model.id for job in jobs], [job.id for job in jobs]
        for ended in follow_jobs(self._studio.engine, jobs, user):
            yield {
                widgets.result: _render_side_by_side(self._studio, jobs, titles, hidden=hidden),
                widgets.ballot: gr.update(visible=hidden and ended),
                widgets.pair: names if hidden and ended else [],
                widgets.running: [] if ended else ids,
                widgets.stop: gr.update(interactive=not ended),
                widgets.save_again: gr.update(visible=ended and any(map(has_unsaved_images, jobs))),
                widgets.shown: {"jobs": ids, "titles": titles, "hidden": hidden},
            }

    @show_errors
    def _stop(self, running: Any, request: gr.Request) -> None:
        _stop_jobs(self._studio, running, get_user(request))

    @show_errors
    def _update_price(self, packet: Any, text: Any, models: Any, request: gr.Request) -> str:
        return render_price(self._studio, self._read_values(packet, text, models), get_user(request))


def _wire_votes(studio: Studio, widgets: CompareWidgets) -> None:
    def make_vote_handler(place: int | None) -> Any:
        @show_errors
        def vote(names: Any, request: gr.Request) -> Updates:
            if not isinstance(names, list) or len(names) != 2:
                raise InvalidRequest(
                    "No comparison to vote on.", hint="Compare two models with Blind switched on first."
                )
            winner, loser = (names[place], names[1 - place]) if place is not None else (names[0], names[1])
            studio.engine.votes.cast(get_user(request).name, str(winner), str(loser), tie=place is None)
            verdict = "A tie between" if place is None else f"You preferred {escape(str(winner))}, from"
            show_info(f"{verdict} {escape(str(names[0]))} (left) and {escape(str(names[1]))} (right).")
            counted = _render_tallies(studio.engine.votes.tallies())
            return {widgets.ballot: gr.update(visible=False), widgets.pair: [], widgets.tallies: counted}

        return vote

    shown: set[Any] = {widgets.ballot, widgets.pair, widgets.tallies}
    for button, place in zip(widgets.votes, (0, None, 1), strict=True):
        button.click(make_vote_handler(place), widgets.pair, shown, **HIDDEN)


def _read_seed(value: object) -> object:
    number = read_value(get_field(GenerationRequest.FIELDS, "seed"), value)
    return make_random_seed() if number is None else number


def _submit_jobs(
    studio: Studio, contenders: Sequence[Contender], user: User, *, blind: bool
) -> tuple[list[str], list[Job]]:
    """Submit one job per contender, or leave none if one of them is refused; their titles and the jobs, shuffled if
    `blind`."""
    if blind and len(contenders) != 2:
        raise InvalidRequest("A blind vote needs exactly two models.", hint="Select two models, or switch Blind off.")
    ordered = random.sample(contenders, k=len(contenders)) if blind else list(contenders)
    for one in ordered:
        studio.engine.model(one.request.model).check(one.request)
    return [one.title for one in ordered], submit_all(studio.engine, [one.request for one in ordered], user)


def _retry_saves(studio: Studio, ids: Sequence[str], user: User) -> list[Job]:
    """The jobs of these ids; what the disk refused of them is written again, in the background."""
    jobs = [studio.engine.job(job_id, user) for job_id in ids]
    return [studio.engine.retry_save(job.id, user) if has_unsaved_images(job) else job for job in jobs]


def _stop_jobs(studio: Studio, running: Any, user: User) -> None:
    for job_id in reversed(running if isinstance(running, list) else []):  # so that none starts while others stop
        with contextlib.suppress(NotFound):
            studio.engine.cancel(str(job_id), user)


def render_empty_comparison(studio: Studio) -> str:
    """What Compare is for, and where only one model can be used, what can be compared all the same."""
    ready = [model for model in studio.engine.models(Task.TXT2IMG) if not model.problem]
    text = "Choose what to compare, write one prompt, and see the images side by side, with time and cost."
    if len(ready) == 1:
        text += (
            f" Only one model can be used here, {ready[0].title}: compare its seeds, settings or LoRAs, or add a model"
            " or the key of a provider in Configurations."
        )
    kinds = "".join(f"<li><b>{kind}:</b> {escape(help_text)}</li>" for kind, help_text in _KIND_HELP.items())
    return f'<div class="compare-empty"><p>{escape(text)}</p><ul>{kinds}</ul></div>'


_KIND_HELP = {
    ContenderKind.MODELS: "The same prompt and seed with up to six models; two of them blind, with a vote.",
    ContenderKind.LORAS: "One model with each LoRA, or with none.",
    ContenderKind.SEEDS: "One model with several seeds.",
    ContenderKind.SETTINGS: "One model with several values of one setting, such as CFG scale or sampler.",
}


def _render_side_by_side(studio: Studio, jobs: Sequence[Job], titles: Sequence[str], *, hidden: bool) -> str:
    shown = ("Left", "Right") if hidden else titles
    columns = "".join(_render_job(studio, job, title, hidden=hidden) for job, title in zip(jobs, shown, strict=True))
    return f'<div class="beside">{columns}</div>'


def _render_job(studio: Studio, job: Job, title: str, *, hidden: bool) -> str:
    now = job.snapshot
    if now.assets:
        asset = now.assets[0]
        marks = "" if hidden else render_marks(asset)
        body = f'<img src="api/image-studio/images/{escape(asset.id)}" alt="{escape(job.request.prompt[:200])}">{marks}'
    elif now.error is not None:
        body = f'<p class="note">{escape(now.error.message)} {escape(now.error.hint)}</p>'
    else:
        body = f'<p class="note">{escape(now.loading or now.status.value)} {now.step}/{now.steps}</p>'
    spent = studio.engine.estimate(job.request, User(job.user))
    seconds = f"{now.seconds:.1f} s" if now.seconds is not None else ""
    cost = (
        ""
        if hidden
        else "free"
        if spent == 0
        else "price unknown"
        if spent is None
        else f"about {format_dollars(spent)}"
    )
    return (
        f"<figure><figcaption><b>{escape(title)}</b>"
        f" <span>{escape(' · '.join(filter(None, (seconds, cost))))}</span></figcaption>{body}</figure>"
    )


def render_price(studio: Studio, values: Values, user: User) -> str:
    """The estimated cost of all contenders together as HTML, "" while there are too few."""
    try:
        requests = [one.request for one in build_contenders(studio, values, 1)]
    except StudioError:  # what is missing is said when it is sent
        return ""
    amounts = [studio.engine.estimate(request, user) for request in requests]
    known = sum(amount for amount in amounts if amount is not None)
    unknown = " plus unknown costs" if None in amounts else ""
    price = "Free" if known == 0 and not unknown else f"About {format_dollars(known)}{unknown}"
    return f'<p class="note">{price}.</p>'


def _render_tallies(tallies: Sequence[Tally]) -> str:
    if not tallies:
        return ""
    rows = [
        (escape(one.first), str(one.for_first), str(one.ties), str(one.for_second), escape(one.second))
        for one in tallies
    ]
    return f"<h3>Blind votes</h3>{render_table(('Model', 'Votes', 'Ties', 'Votes', 'Model'), rows)}"


TAB = Tab(title="Compare", order=70, build=build_compare_tab)
