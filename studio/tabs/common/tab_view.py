"""The parts of every tab with a form and a result panel: its buttons, its result side, and their events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.errors import StudioError
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common import browser_memory, chain_fields, result_actions
from studio.tabs.common.choices import CUSTOM_SIZE, list_schedule_choices
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, make_toast, show_errors
from studio.tabs.common.form import Form
from studio.tabs.common.form_guide import FormGuide
from studio.tabs.common.image_fields import build_scripted_field
from studio.tabs.common.prompt_notes import describe_combinations
from studio.tabs.common.run_job import (
    GENERATE,
    ActionVerb,
    JobPanel,
    build_save_again_button,
    reattach_job,
    run_request,
    wire_save_again,
)
from studio.tabs.common.tab import PageContext

SIZE_TO_SIDES = (
    "(size, width, height) => { const sides = /^([0-9]+)x([0-9]+)$/.exec(size);"
    " return sides ? [Number(sides[1]), Number(sides[2])] : [width, height]; }"
)
PUBLIC = HIDDEN | {"api_visibility": "public"}


@dataclass(frozen=True, kw_only=True)
class ActionButtons:
    """The buttons below the prompt. `bar` is the frame around them, which a phone keeps in view."""

    bar: gr.Column
    generate: gr.Button
    stop: gr.Button
    skip: gr.Button


@dataclass(frozen=True, kw_only=True)
class ResultPanel:
    """The result side: the images, the row below them that shows when there are some, and its buttons. `show` and
    `upscale` are out of sight: the page's scripts press them (studio/assets/js/result)."""

    html: gr.HTML
    actions: gr.Column
    use_seed: gr.Button
    use_all: gr.Button
    save_again: gr.Button
    show: gr.Button
    upscale: gr.Button


@dataclass(frozen=True, kw_only=True)
class TabView:
    """One tab's form and result. `name` is what its events, its browser storage and its saved form are called."""

    name: str
    form: Form
    panel: JobPanel
    result: ResultPanel
    counts: gr.HTML
    note: gr.HTML


@dataclass(frozen=True, kw_only=True)
class MemoryEvents:
    """The events when a tab is shown: `restored` puts the form back, `followed` ends with the job that still ran."""

    restored: Any
    followed: Any


def build_action_buttons(prefix: str = "", label: str = GENERATE.idle) -> ActionButtons:
    """The button that starts a job, called `label`, stop and skip."""
    with gr.Column(elem_classes="bar-below", min_width=0) as bar, gr.Row(elem_classes="button-row"):
        generate = gr.Button(
            label, variant="primary", elem_id=f"{prefix}generate", elem_classes="generate", min_width=120, scale=3
        )
        stop = gr.Button("Stop", elem_id=f"{prefix}stop", elem_classes="stop", interactive=False, min_width=64, scale=1)
        skip = gr.Button("Skip", elem_id=f"{prefix}skip", interactive=False, min_width=64, scale=1)
    return ActionButtons(bar=bar, generate=generate, stop=stop, skip=skip)


def build_result_panel(
    page_context: PageContext, name: str, html: str, prefix: str = "", *, seeds: bool = True
) -> ResultPanel:
    """The result, `html` at first, the buttons that act on the shown image, and the latest images of the library;
    without `seeds` no seed is offered."""
    result = gr.HTML(html, elem_id=f"{prefix}result")
    save_again = build_save_again_button(prefix)
    with gr.Column(visible=False, elem_classes="actions-frame") as actions:
        with gr.Row(elem_classes="actions"):
            use_seed = gr.Button("Use seed", size="sm", min_width=90, visible=seeds, elem_id=f"{prefix}use-seed")
            use_all = gr.Button("Use all settings", size="sm", min_width=120, elem_id=f"{prefix}use-settings")
        page_context.send.add_send_buttons(name)
    build_scripted_field("recent", f"{prefix}recent")
    with gr.Column(elem_classes="store", min_width=0):
        show = gr.Button("Show image", elem_id=f"{prefix}show-image")
        upscale = gr.Button("Upscale", elem_id=f"{prefix}upscale-image")
    return ResultPanel(
        html=result,
        actions=actions,
        use_seed=use_seed,
        use_all=use_all,
        save_again=save_again,
        show=show,
        upscale=upscale,
    )


def build_job_panel(
    page_context: PageContext,
    name: str,
    buttons: ActionButtons,
    result: ResultPanel,
    verb: ActionVerb | None = GENERATE,
) -> JobPanel:
    """The components that a running job updates."""
    job = browser_memory.make_browser_state(page_context, f"{name}-job", "")
    return JobPanel(
        result=result.html,
        job=job,
        generate=buttons.generate,
        stop=buttons.stop,
        skip=buttons.skip,
        actions=result.actions,
        save_again=result.save_again,
        verb=verb,
    )


def wire_tab(
    studio: Studio,
    guide: FormGuide,
    view: TabView,
    *,
    ask: Callable[[dict[str, Any], User], GenerationRequest],
    fill: Callable[[GenerationRequest], Updates],
    outputs: set[Any],
) -> None:
    """Connect the parts of a view. `ask` makes the request of the form's values, `fill` puts one onto the form,
    by updates of `outputs` and the form."""
    wire_run(studio, view, ask)
    _wire_sampling(studio, view.form)
    _wire_counts(studio, guide, view)
    _wire_use_buttons(studio, view, fill, outputs)


def wire_memory(
    studio: Studio,
    page_context: PageContext,
    view: TabView,
    put: Callable[[dict[str, Any]], Updates],
    outputs: set[Any],
) -> MemoryEvents:
    """Let the browser remember the form and the running job; `put` gives the updates, of `outputs` and the form, for
    what it kept."""
    saved = browser_memory.make_browser_state(page_context, f"{view.name}-form", {})

    @show_errors
    def restore_form(values: Any, typed: Any = "") -> Updates:
        kept = browser_memory.filter_saved_values(values, view.form)
        if typed:  # while the rest of the form was still on its way
            kept.pop("prompt", None)
        return put(kept)

    @show_errors
    def attach(job_id: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            yield from reattach_job(studio.engine, view.panel, job_id, get_user(request), request.session_hash)
        except StudioError as error:
            raise make_toast(error) from error

    page_context.forms.append(view.name)

    @show_errors
    def refresh_lists(values: Any) -> Updates:
        """The lists of models and what is said of them; what the user has filled in stays as it is."""
        filled = view.form.components()
        updates: Updates = {}
        for part, update in restore_form(values).items():
            if part not in filled:
                updates[part] = update
            elif isinstance(update, dict) and "choices" in update:
                updates[part] = gr.update(choices=update["choices"])
        return updates

    everything = {*view.form.components(), *outputs}
    page_context.lists.append((refresh_lists, saved, everything))
    prompts = [view.form[name] for name in ("prompt",) if name in view.form.fields]
    restored = page_context.blocks.load(restore_form, [saved, *prompts], everything, **UNQUEUED)
    restored.then(fn=None, js=f"() => {{ window.easel.markRestored({view.name!r}); }}", api_visibility="private")
    followed = page_context.blocks.load(attach, view.panel.job, view.panel.outputs(), **HIDDEN)
    browser_memory.remember_form(view.name, view.form, saved)
    return MemoryEvents(restored=restored, followed=followed)


def wire_run(studio: Studio, view: TabView, ask: Callable[[dict[str, Any], User], GenerationRequest]) -> Any:
    """Generate, stop and skip; `ask` makes the request of the form's values. Gives the event, whose `then` comes when
    the job ended."""
    panel = view.panel

    @show_errors
    def generate(packet: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = get_user(request)
            wanted = ask(view.form.values(packet), user)
        except StudioError as error:
            raise make_toast(error) from error
        yield from run_request(studio.engine, panel, wanted, user, request.session_hash)

    @show_errors
    def stop(job_id: Any, request: gr.Request) -> None:
        studio.engine.cancel(str(job_id), get_user(request))

    @show_errors
    def skip(job_id: Any, request: gr.Request) -> None:
        studio.engine.skip(str(job_id), get_user(request))

    event = view.form.on(
        panel.generate.click, generate, panel.outputs(), api_name=view.name, trigger_mode="once", **PUBLIC
    )
    wire_save_again(studio.engine, panel)
    result_actions.wire_result_actions(studio, panel, show=view.result.show, upscale=view.result.upscale)
    panel.stop.click(stop, panel.job, None, api_name=f"{view.name}_stop", **PUBLIC)
    panel.skip.click(skip, panel.job, None, api_name=f"{view.name}_skip", **PUBLIC)
    return event


def _wire_sampling(studio: Studio, form: Form) -> None:
    @show_errors
    def update_schedules(model_id: Any, sampler: Any, schedule: Any) -> Any:
        choices = list_schedule_choices(studio.engine.model(str(model_id)), str(sampler))
        return gr.update(choices=choices, value=schedule if schedule in choices else choices[0])

    inputs = [form["model"], form["sampler"], form["schedule"]]
    form["sampler"].input(update_schedules, inputs, form["schedule"], **UNQUEUED)
    sides = [form["width"], form["height"]]
    form["size"].input(
        fn=None, inputs=[form["size"], *sides], outputs=sides, js=SIZE_TO_SIDES, api_visibility="private"
    )
    typed: Any = [side.input for side in sides]
    gr.on(typed, fn=None, outputs=[form["size"]], js=f'() => "{CUSTOM_SIZE}"', api_visibility="private")


def _wire_counts(studio: Studio, guide: FormGuide, view: TabView) -> None:
    @show_errors
    def count_tokens(model_id: Any, prompt: Any, negative: Any, request: gr.Request) -> str:
        texts = [str(prompt or ""), str(negative or "")]
        drawn, note = describe_combinations(texts, studio.engine.wildcards.of(get_user(request).name))
        return guide.counts(str(model_id), *drawn) + note

    texts = [view.form["prompt"], view.form["negative_prompt"]]
    changes: Any = [field.change for field in (*texts, view.form["model"])]
    gr.on(changes, count_tokens, [view.form["model"], *texts], view.counts, trigger_mode="always_last", **UNQUEUED)


def _wire_use_buttons(
    studio: Studio, view: TabView, fill: Callable[[GenerationRequest], Updates], outputs: set[Any]
) -> None:
    seed = view.form["seed"]
    view.result.use_seed.click(
        fn=None,
        inputs=[seed],
        outputs=[seed],
        js="async (seed) => [(await window.easel.getShownSeed()) ?? seed]",
        api_visibility="private",
    )
    wire_reuse(studio, view, lambda asset: fill(asset.drawn), outputs)


def wire_reuse(studio: Studio, view: TabView, fill: Callable[[Asset], Updates], outputs: set[Any]) -> None:
    """All settings of the shown image, put back by `fill`."""

    @show_errors
    def reuse(asset_id: Any, request: gr.Request) -> Updates:
        user = get_user(request)
        asset = studio.engine.asset(str(asset_id), user)
        return {**fill(asset), **chain_fields.restore_chain_choice(studio, view.form, asset, user)}

    selected = gr.Textbox(visible=False)
    view.result.use_all.click(
        reuse,
        selected,
        {*view.form.components(), *outputs},
        js="async () => [await window.easel.getShownImage()]",
        **HIDDEN,
    )
