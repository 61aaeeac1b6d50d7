"""Text to image: the form on the left, the result on the right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import StudioError, UnknownModel
from studio.core.request import GenerationRequest
from studio.engine.studio import Studio
from studio.tabs import _fields, _memory, _restore
from studio.tabs._events import QUIET, toast, told
from studio.tabs._fields import CUSTOM_SIZE, Form
from studio.tabs._guide import Guide
from studio.tabs._hires import hires_fields
from studio.tabs._read import read, write
from studio.tabs._run import Panel, reattach, run
from studio.tabs._stage import empty_stage, model_note
from studio.tabs._tab import Shell, Tab, Updates
from studio.tabs._user import user_of

SIZE_TO_SIDES = (
    "(size, width, height) => { const sides = /^([0-9]+)x([0-9]+)$/.exec(size);"
    " return sides ? [Number(sides[1]), Number(sides[2])] : [width, height]; }"
)


def build(studio: Studio, shell: Shell) -> None:
    """Lay the tab out and wire it up."""
    guide = Guide(studio)
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="desk desk-prompt", min_width=0):
            prompts = _fields.prompt_fields()
            counts = gr.HTML("", elem_classes="counts")
            with gr.Row(elem_classes="verbs bar-below"):
                generate = gr.Button(
                    "Generate", variant="primary", elem_id="generate", elem_classes="generate", min_width=120, scale=3
                )
                stop = gr.Button("Stop", elem_id="stop", elem_classes="stop", interactive=False, min_width=64, scale=1)
                skip = gr.Button("Skip", elem_id="skip", interactive=False, min_width=64, scale=1)
        with gr.Column(elem_classes="desk desk-result", min_width=0):
            stage = gr.HTML(empty_stage(guide.examples(studio.engine.model(""))), elem_id="stage")
            with gr.Row(elem_classes="actions", visible=False) as actions:
                use_seed = gr.Button("Use seed", size="sm", min_width=90)
                use_all = gr.Button("Use all settings", size="sm", min_width=120)
        with gr.Column(elem_classes="desk desk-settings", min_width=0):
            fields, note, pasted, dropped, take = _settings(studio, guide)
    form = Form(prompts | fields)
    job = _memory.remembered("txt2img-job", "")
    panel = Panel(stage=stage, job=job, generate=generate, stop=stop, skip=skip, actions=actions)
    _wire_run(studio, guide, form, panel)
    _wire_model(studio, guide, form, panel, note)
    _wire_counts(guide, form, counts)
    _wire_restore(studio, form, note, pasted, dropped, take)
    _wire_reuse(studio, form, note, use_seed, use_all)
    _wire_memory(studio, shell, form, panel, note)


def _settings(studio: Studio, guide: Guide) -> tuple[dict[str, Component], gr.HTML, gr.Textbox, gr.File, gr.Button]:
    """Everything below the prompt, the common fields open and the rest folded."""
    models, model, weights = studio.engine.models(), studio.engine.model(""), studio.store.weights()
    fields = _fields.model_fields(models, model, guide.styles())
    note = gr.HTML(model_note(model), elem_classes="model-note")
    fields |= _fields.size_fields(model) | _fields.sampling_fields(model) | _fields.seed_fields()
    with gr.Accordion("LoRA", open=False):
        fields |= _fields.lora_fields(weights)
    with gr.Accordion("Hires pass", open=False):
        fields |= hires_fields(models, model, weights)
    with gr.Accordion("X/Y/Z grid", open=False):
        gr.Markdown("One picture for every combination, and all of them on one labelled sheet.", elem_classes="hint")
        fields |= _fields.grid_fields()
    with gr.Accordion("More", open=False):
        fields |= _fields.detail_fields(weights)
    with gr.Accordion("Restore settings", open=False):
        dropped = gr.File(
            label="Drop a picture here", file_types=["image"], type="filepath", height=110, elem_id="restore-picture",
        )  # fmt: skip
        pasted = gr.Textbox(
            label="Or paste its infotext", lines=3, max_lines=8, elem_id="restore-text", max_length=100_000,
            info="As AUTOMATIC1111, Forge and this studio write it.",
        )  # fmt: skip
        take = gr.Button("Use these settings", size="sm", elem_id="restore")
    return fields, note, pasted, dropped, take


def _wire_run(studio: Studio, guide: Guide, form: Form, panel: Panel) -> None:
    def generate(data: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        try:
            user = user_of(request)
            values = form.values(data)
            wanted = guide.styled(read(values, studio.engine.model(values["model"])), values["styles"] or [])
        except StudioError as error:
            raise toast(error) from error
        yield from run(studio.engine, panel, wanted, user)

    @told
    def stop(job_id: Any, request: gr.Request) -> None:
        studio.engine.cancel(str(job_id), user_of(request))

    @told
    def skip(job_id: Any, request: gr.Request) -> None:
        studio.engine.skip(str(job_id), user_of(request))

    public = QUIET | {"api_visibility": "public"}
    panel.generate.click(generate, form.inputs(), panel.outputs(), api_name="txt2img", **public)
    panel.stop.click(stop, panel.job, None, api_name="txt2img_stop", **public)
    panel.skip.click(skip, panel.job, None, api_name="txt2img_skip", **public)


def _wire_model(studio: Studio, guide: Guide, form: Form, panel: Panel, note: gr.HTML) -> None:
    @told
    def choose(model_id: Any, job_id: Any) -> Updates:
        model = studio.engine.model(str(model_id))
        untouched = {panel.stage: empty_stage(guide.examples(model))} if not job_id else {}
        return {**_fields.for_model(form, model), note: model_note(model), **untouched}

    @told
    def schedules(model_id: Any, sampler: Any) -> Any:
        choices = _fields.schedule_choices(studio.engine.model(str(model_id)), str(sampler))
        return gr.update(choices=choices, value=choices[0])

    shown = {*form.inputs(), note, panel.stage}
    form["model"].input(choose, [form["model"], panel.job], shown, **QUIET)  # pyright: ignore[reportAttributeAccessIssue]
    form["sampler"].input(schedules, [form["model"], form["sampler"]], form["schedule"], **QUIET)  # pyright: ignore[reportAttributeAccessIssue]
    sides = [form["width"], form["height"]]
    form["size"].input(
        fn=None, inputs=[form["size"], *sides], outputs=sides, js=SIZE_TO_SIDES, api_visibility="private"
    )  # pyright: ignore[reportAttributeAccessIssue]


def _wire_counts(guide: Guide, form: Form, counts: gr.HTML) -> None:
    def count(model_id: Any, prompt: Any, negative: Any) -> str:
        return guide.counts(str(model_id), str(prompt or ""), str(negative or ""))

    texts = [form["prompt"], form["negative_prompt"]]
    changes: Any = [text.change for text in texts]  # pyright: ignore[reportAttributeAccessIssue]
    gr.on(changes, count, [form["model"], *texts], counts, trigger_mode="always_last", queue=False, **QUIET)


def _wire_restore(
    studio: Studio, form: Form, note: gr.HTML, pasted: gr.Textbox, dropped: gr.File, take: gr.Button
) -> None:
    @told
    def from_text(text: Any, prompt: Any) -> Updates:
        wanted, passed_over = _restore.from_text(text if isinstance(text, str) and text.strip() else prompt)
        return _filled(studio, form, note, wanted, passed_over)

    @told
    def from_picture(path: str | None) -> Updates:
        if path is None:
            return {}
        return _filled(studio, form, note, *_restore.from_picture(Path(path), studio.settings.current))

    outputs = {*form.inputs(), note}
    take.click(from_text, [pasted, form["prompt"]], outputs, **QUIET)
    dropped.upload(from_picture, dropped, outputs, **(QUIET | {"preprocess": True}))


def _wire_reuse(studio: Studio, form: Form, note: gr.HTML, use_seed: gr.Button, use_all: gr.Button) -> None:
    @told
    def reuse(asset_id: Any, request: gr.Request) -> Updates:
        return _filled(studio, form, note, studio.engine.asset(str(asset_id), user_of(request)).request, "")

    seed = form["seed"]
    use_seed.click(
        fn=None, inputs=[seed], outputs=[seed], js="(seed) => [window.easel.seed() ?? seed]", api_visibility="private"
    )
    selected = gr.Textbox(visible=False)
    use_all.click(reuse, selected, {*form.inputs(), note}, js="() => [window.easel.selected()]", **QUIET)


def _filled(studio: Studio, form: Form, note: gr.HTML, wanted: GenerationRequest, passed_over: str) -> Updates:
    """The updates that put `wanted` on the form; a model that is not here is named, and the rest is restored."""
    values = write(wanted)
    updates: Updates = {}
    try:
        model = studio.engine.model(wanted.model)
    except UnknownModel as error:
        del values["model"]
        gr.Warning(f"{error.message} The chosen model stays.", title="Model not here")
    else:
        updates = {**_fields.for_model(form, model), note: model_note(model)}
    width, height = values.get("width"), values.get("height")
    values |= {"size": CUSTOM_SIZE} if width and height else {}
    for field, update in form.updates(values).items():
        updates[field] = {**updates.get(field, {}), **update}
    if "sampler" in values and "model" in values:
        choices = _fields.schedule_choices(studio.engine.model(wanted.model), values["sampler"])
        updates[form["schedule"]] = gr.update(choices=choices, value=values.get("schedule", choices[0]))
    if passed_over:
        gr.Info(passed_over, title="Settings restored")
    return updates


def _wire_memory(studio: Studio, shell: Shell, form: Form, panel: Panel, note: gr.HTML) -> None:
    saved = _memory.remembered("txt2img-form", {})

    def restore(values: Any) -> Updates:
        kept = _memory.trusted(values, form)
        models = studio.engine.models()
        known = {model.id: model for model in models}
        model = known.get(kept.get("model", "")) or studio.engine.model("")
        kept["model"] = model.id
        updates: Updates = {**_fields.for_model(form, model), note: model_note(model)}
        for field, update in form.updates(kept).items():
            updates[field] = {**updates.get(field, {}), **update}
        updates[form["model"]] = gr.update(choices=_fields.model_choices(models), value=model.id)
        choices = _fields.schedule_choices(model, str(kept.get("sampler", model.sampling.sampler)))
        updates[form["schedule"]] = gr.update(choices=choices, value=kept.get("schedule", model.sampling.schedule))
        return updates

    def attach(job_id: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            yield from reattach(studio.engine, panel, job_id, user_of(request))
        except StudioError as error:
            raise toast(error) from error

    restored = shell.blocks.load(restore, saved, {*form.inputs(), note}, **QUIET)
    restored.then(fn=None, js="() => { window.easel.restored = true; }", api_visibility="private")
    shell.blocks.load(attach, panel.job, panel.outputs(), **QUIET)
    _memory.remember(form, saved)


TAB = Tab(title="Txt2Img", order=10, build=build)
