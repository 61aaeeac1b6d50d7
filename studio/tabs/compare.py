"""The Compare tab: one prompt for several models, results side by side with time and cost, and blind votes."""

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
from studio.core.model import Feature
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.jobs.passes import make_random_seed
from studio.engine.models.votes import Tally
from studio.engine.studio import Studio
from studio.tabs.common import choice_lists
from studio.tabs.common.cost_line import format_dollars
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, make_toast, show_errors
from studio.tabs.common.form_values import parse_request, read_value
from studio.tabs.common.result_panel import render_marks
from studio.tabs.common.run_job import build_save_again_button, follow_jobs, has_unsaved_images
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.common.widgets import build_textbox

MAX_MODELS = 6  # models at once
_EMPTY_RESULT = (
    '<div class="result-empty"><p>Pick two models or more, write one prompt, and look at their images side by'
    " side.</p></div>"
)


@dataclass(frozen=True, kw_only=True)
class CompareWidgets:
    """The components that the tab's handlers read and write."""

    prompt: gr.Textbox
    models: gr.Dropdown
    seed: gr.Textbox
    blind: gr.Checkbox
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
    shown: gr.State  # the jobs on the page by id, and whether their models are hidden


def build_compare_tab(studio: Studio, _: PageContext) -> None:
    """Build the tab's layout and wire its events."""
    widgets = _build_layout(studio)
    _wire_compare(studio, widgets)
    _wire_votes(studio, widgets)
    choice_lists.fetch_on_focus(widgets.models, choice_lists.READY_MODELS)


def _build_layout(studio: Studio) -> CompareWidgets:
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="view-column view-prompt", min_width=0):
            prompt = gr.Textbox(label="Prompt", lines=3, elem_id="compare-prompt", max_length=20_000)
            models = gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                allow_custom_value=True,
                max_choices=MAX_MODELS,
                label="Models",
                elem_id="compare-models",
                info="Local and cloud models can be mixed. Prices are shown below.",
            )
            seed = build_textbox(
                "Seed",
                "compare-seed",
                "Used by all models that support seeds.",
                max_length=40,
                value="1",
                lines=1,
                max_lines=1,
            )
            blind = gr.Checkbox(
                label="Blind", elem_id="compare-blind", info="Hides the names of two models until you vote."
            )
            cost = gr.HTML(elem_id="compare-cost")
            with gr.Row(elem_classes="verbs"):
                go = gr.Button("Compare", variant="primary", elem_id="compare", scale=3)
                stop = gr.Button("Stop", elem_id="compare-stop", elem_classes="stop", min_width=64, scale=1)
        with gr.Column(elem_classes="view-column view-result", min_width=0):
            result = gr.HTML(_EMPTY_RESULT, elem_id="compare-result")
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


def _wire_compare(studio: Studio, widgets: CompareWidgets) -> None:
    def follow(jobs: list[Job], user: User, *, hidden: bool) -> Iterator[Updates]:
        names, ids = [job.model.id for job in jobs], [job.id for job in jobs]
        for ended in follow_jobs(studio.engine, jobs, user):
            yield {
                widgets.result: _render_side_by_side(studio, jobs, hidden=hidden),
                widgets.ballot: gr.update(visible=hidden and ended),
                widgets.pair: names if hidden and ended else [],
                widgets.running: [] if ended else ids,
                widgets.save_again: gr.update(visible=ended and any(map(has_unsaved_images, jobs))),
                widgets.shown: {"jobs": ids, "hidden": hidden},
            }

    @show_errors
    def compare(text: Any, chosen: Any, number: Any, unnamed: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = get_user(request)
            jobs = _submit_jobs(studio, str(text or ""), list(chosen or []), number, user, blind=bool(unnamed))
        except StudioError as error:
            raise make_toast(error) from error
        yield from follow(jobs, user, hidden=bool(unnamed))

    @show_errors
    def save_again(shown: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = get_user(request)
            jobs = _retry_saves(studio, shown["jobs"], user)
        except StudioError as error:
            raise make_toast(error) from error
        yield from follow(jobs, user, hidden=shown["hidden"])

    @show_errors
    def stop(running: Any, request: gr.Request) -> None:
        _stop_jobs(studio, running, get_user(request))

    @show_errors
    def update_price(text: Any, chosen: Any) -> str:
        return _render_price(studio, str(text or ""), list(chosen or []))

    inputs = [widgets.prompt, widgets.models, widgets.seed, widgets.blind]
    shown: set[Any] = {
        widgets.result,
        widgets.ballot,
        widgets.pair,
        widgets.running,
        widgets.save_again,
        widgets.shown,
    }
    widgets.save_again.click(save_again, widgets.shown, shown, trigger_mode="once", **HIDDEN)
    widgets.stop.click(stop, widgets.running, None, **HIDDEN)
    widgets.go.click(compare, inputs, shown, **HIDDEN | {"api_name": "compare", "api_visibility": "public"})
    changes = [widgets.prompt.change, widgets.models.change]
    gr.on(changes, update_price, [widgets.prompt, widgets.models], widgets.cost, trigger_mode="always_last", **UNQUEUED)


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
            gr.Info(f"{verdict} {escape(str(names[0]))} (left) and {escape(str(names[1]))} (right).")
            counted = _render_tallies(studio.engine.votes.tallies())
            return {widgets.ballot: gr.update(visible=False), widgets.pair: [], widgets.tallies: counted}

        return vote

    shown: set[Any] = {widgets.ballot, widgets.pair, widgets.tallies}
    for button, place in zip(widgets.votes, (0, None, 1), strict=True):
        button.click(make_vote_handler(place), widgets.pair, shown, **HIDDEN)


def _submit_jobs(studio: Studio, prompt: str, models: list[Any], seed: object, user: User, *, blind: bool) -> list[Job]:
    """Submit one job per model, or none if one of them is refused."""
    if len(models) < 2:
        raise InvalidRequest("Too few models.", hint="Pick another one.")
    if blind and len(models) != 2:
        raise InvalidRequest("A blind vote needs exactly two models.", hint="Select two models, or switch Blind off.")
    if blind:
        random.shuffle(models)
    number = read_value(get_field(GenerationRequest.FIELDS, "seed"), seed)
    number = make_random_seed() if number is None else number
    requests = [_build_request(studio, prompt, str(name), number) for name in models]
    for request in requests:
        studio.engine.model(request.model).check(request)
    return [studio.engine.submit(request, user) for request in requests]


def _retry_saves(studio: Studio, ids: Sequence[str], user: User) -> list[Job]:
    """The jobs of these ids; what the disk refused of them is written again, in the background."""
    jobs = [studio.engine.job(job_id, user) for job_id in ids]
    return [studio.engine.retry_save(job.id, user) if has_unsaved_images(job) else job for job in jobs]


def _stop_jobs(studio: Studio, running: Any, user: User) -> None:
    for job_id in reversed(running if isinstance(running, list) else []):  # so that none starts while others stop
        with contextlib.suppress(NotFound):
            studio.engine.cancel(str(job_id), user)


def _build_request(studio: Studio, prompt: str, name: str, seed: object) -> GenerationRequest:
    takes_seed = Feature.SEED in studio.engine.model(name).features
    return parse_request({"model": name, "prompt": prompt, "seed": seed if takes_seed else None})


def _render_side_by_side(studio: Studio, jobs: Sequence[Job], *, hidden: bool) -> str:
    columns = "".join(_render_job(studio, job, place, hidden=hidden) for place, job in enumerate(jobs))
    return f'<div class="beside">{columns}</div>'


def _render_job(studio: Studio, job: Job, place: int, *, hidden: bool) -> str:
    now = job.snapshot
    title = ("Left", "Right")[place] if hidden else job.model.title
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


def _render_price(studio: Studio, prompt: str, models: list[Any]) -> str:
    """Return the estimated cost of all jobs together as HTML."""
    if not models:
        return ""
    amounts = [studio.engine.estimate(GenerationRequest(model=str(name), prompt=prompt[:20_000])) for name in models]
    known = sum(amount for amount in amounts if amount is not None)
    unknown = " plus unknown costs" if None in amounts else ""
    price = "Free" if known == 0 and not unknown else f"About {format_dollars(known)}{unknown}"
    return f'<p class="note">{price}.</p>'


def _render_tallies(tallies: Sequence[Tally]) -> str:
    if not tallies:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.first)}</td><td>{one.for_first}</td><td>{one.ties}</td>"
        f"<td>{one.for_second}</td><td>{escape(one.second)}</td></tr>"
        for one in tallies
    )
    head = "<tr><th>Model</th><th>Votes</th><th>Ties</th><th>Votes</th><th>Model</th></tr>"
    return f'<h3>Blind votes</h3><div class="table-frame"><table class="plain">{head}{rows}</table></div>'


TAB = Tab(title="Compare", order=70, build=build_compare_tab)
