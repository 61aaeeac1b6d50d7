"""Templates on a form: found, filled in and used; saved from the form, taken in and out as files, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, NotFound, UnknownModel
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.social_pack import choose_drawing_size
from studio.core.social_templates import (
    MAX_FIELDS,
    PURPOSES,
    Template,
    TemplateLibrary,
    fill_prompt,
    find_fields,
    from_recipe,
)
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import SocialParts, Studio
from studio.tabs.common import template_cards
from studio.tabs.common.choices import CUSTOM_SIZE
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors, show_info
from studio.tabs.common.form import Form
from studio.tabs.common.tab import PageContext
from studio.tabs.common.target_platform import list_format_choices

ANY = ""
MAX_RECOMMENDED = 3
STEP_FACTORS = {"draft": 0.6, "standard": 1.0, "high": 1.5}  # times the model's own steps


@dataclass(frozen=True, kw_only=True)
class TemplateWidgets:
    """The accordion."""

    words: gr.Textbox
    platform: gr.Dropdown
    purpose: gr.Dropdown
    cards: gr.HTML
    chosen: gr.Textbox  # the id; the cards write it
    about: gr.HTML
    values: list[gr.Textbox]  # one for each field that a frame may have
    use: gr.Button
    delete: gr.Button
    name: gr.Textbox
    format: gr.Dropdown
    meant: gr.Dropdown
    save: gr.Button
    taken: gr.File


def build_templates_accordion(studio: Studio) -> TemplateWidgets | None:
    """The accordion, None where the studio has no templates."""
    if studio.social is None:
        return None
    data = studio.social.platforms
    with gr.Accordion("Templates", open=False, elem_id="templates"):
        words = gr.Textbox(
            label="Search",
            placeholder="product, quote, thumbnail …",
            elem_id="template-words",
            max_lines=1,
            max_length=200,
        )
        with gr.Row(elem_classes="pair"):
            platforms = [("Any platform", ANY), *((each.title, each.id) for each in data.platforms())]
            platform = gr.Dropdown(platforms, value=ANY, label="Platform", elem_id="template-platform", min_width=120)
            purposes = [("Any purpose", ANY), *((each.capitalize(), each) for each in PURPOSES)]
            purpose = gr.Dropdown(purposes, value=ANY, label="Purpose", elem_id="template-purpose", min_width=120)
        cards = gr.HTML("", elem_id="template-cards")
        chosen = gr.Textbox("", elem_id="template-chosen", elem_classes="store", show_label=False, max_length=100)
        about = gr.HTML("", elem_id="template-about")
        values = [
            gr.Textbox(visible=False, elem_id=f"template-field-{number}", max_lines=2, max_length=500, min_width=120)
            for number in range(MAX_FIELDS)
        ]
        with gr.Row(elem_classes="button-row"):
            use = gr.Button("Use template", elem_id="template-use", visible=False, min_width=90)
            delete = gr.Button("Delete", elem_id="template-delete", visible=False, min_width=90)
        name, of, meant, save = _build_save_fields(list_format_choices(data)[1:])
        taken = gr.File(
            label="Import templates", file_types=[".toml"], type="filepath", height=110, elem_id="template-file"
        )
    return TemplateWidgets(
        words=words,
        platform=platform,
        purpose=purpose,
        cards=cards,
        chosen=chosen,
        about=about,
        values=values,
        use=use,
        delete=delete,
        name=name,
        format=of,
        meant=meant,
        save=save,
        taken=taken,
    )


def _build_save_fields(formats: Sequence[tuple[str, str]]) -> tuple[gr.Textbox, gr.Dropdown, gr.Dropdown, gr.Button]:
    gr.HTML(
        "Saves the prompts above as a template. Words in braces such as {subject} become fields.", elem_classes="hint"
    )
    with gr.Row(elem_classes="pair"):
        name = gr.Textbox(label="Name", elem_id="template-name", max_lines=1, max_length=80, min_width=120)
        meant = gr.Dropdown(
            [(each.capitalize(), each) for each in PURPOSES],
            value="social",
            label="For",
            elem_id="template-meant",
            min_width=120,
        )
    of = gr.Dropdown(list(formats), value=formats[0][1] if formats else None, label="Format", elem_id="template-format")
    return name, of, meant, gr.Button("Save as template", size="sm", elem_id="template-save")


def wire_templates(studio: Studio, page_context: PageContext, form: Form, widgets: TemplateWidgets | None) -> None:
    """Connect the accordion with the form."""
    if studio.social is None or widgets is None:
        return
    accordion = _TemplatesAccordion(studio, studio.social, form, widgets)
    look, w = [widgets.words, widgets.platform, widgets.purpose, widgets.chosen], widgets
    page_context.blocks.load(accordion.listed, look, w.cards, **UNQUEUED)
    for event in (w.words.change, w.platform.input, w.purpose.input):
        event(accordion.listed, look, w.cards, trigger_mode="always_last", **UNQUEUED)
    shown = {w.cards, w.about, w.use, w.delete, w.chosen, *w.values}
    w.chosen.change(accordion.choose, w.chosen, shown - {w.chosen, w.cards}, trigger_mode="always_last", **UNQUEUED)
    w.use.click(accordion.use, {w.chosen, *w.values, form["model"]}, form.components(), **HIDDEN)
    w.delete.click(accordion.delete, look, shown, **HIDDEN)
    prompts = [form["prompt"], form["negative_prompt"], form["model"]]
    w.save.click(accordion.save, {w.name, w.format, w.meant, *prompts, *look}, w.cards, **HIDDEN)
    w.taken.upload(accordion.take, [w.taken, *look], {w.cards, w.taken}, **(HIDDEN | {"preprocess": True}))


class _TemplatesAccordion:
    """The handlers of the accordion; each works on the caller's own library."""

    def __init__(self, studio: Studio, social: SocialParts, form: Form, widgets: TemplateWidgets) -> None:
        self._studio, self._social, self._form, self._widgets = studio, social, form, widgets
        self.listed = show_errors(self._update_cards)
        self.choose, self.use, self.delete = (
            show_errors(self._choose),
            show_errors(self._use),
            show_errors(self._delete),
        )
        self.save, self.take = show_errors(self._save), show_errors(self._import_file)

    def _get_library(self, user: User) -> TemplateLibrary:
        return self._social.templates.of(user.name)

    def _update_cards(self, words: Any, platform: Any, purpose: Any, chosen: Any, request: gr.Request) -> str:
        return self._render_cards((words, platform, purpose, chosen), get_user(request))

    def _render_cards(self, look: tuple[Any, Any, Any, Any], user: User) -> str:
        """The cards for words, platform, purpose and the chosen id. Without words the best for platform and purpose
        stand first."""
        words, platform, purpose, chosen = (str(each or "") for each in look)
        library = self._get_library(user)
        fits = library.templates(platform=platform or None, purpose=purpose or None)
        if words.strip():
            ids = {each.id for each in fits}
            found: Sequence[Template] = [each for each in library.search(words, 500) if each.id in ids]
            best: Sequence[Template] = ()
        else:
            found = fits
            best = library.recommend(platform, purpose or "social", MAX_RECOMMENDED) if platform or purpose else ()
        return template_cards.render_cards(found, best, chosen, self._social.platforms.of(user.name))

    def _choose(self, chosen: Any, request: gr.Request) -> Updates:
        w, user = self._widgets, get_user(request)
        template = self._find_template(chosen, user)
        names = find_fields(template.frame) if template else ()
        updates: Updates = {
            w.about: template_cards.render_about(template, self._social.platforms.of(user.name)),
            w.use: gr.update(visible=template is not None),
            w.delete: gr.update(visible=template is not None and template.own),
        }
        for number, box in enumerate(w.values):
            there = number < len(names)
            label = names[number].replace("_", " ").capitalize() if there else ""
            updates[box] = gr.update(visible=there, label=label, value="")
        return updates

    def _find_template(self, chosen: Any, user: User) -> Template | None:
        try:
            return self._get_library(user).get_template(str(chosen or ""))
        except NotFound:
            return None

    def _use(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Fill prompt, negative prompt, format and size in, and as many steps as the quality wants."""
        w, form = self._widgets, self._form
        user = get_user(request)
        template = self._find_template(data[w.chosen], user)
        if template is None:
            raise InvalidRequest("No template selected.", hint="Select one of the cards.")
        names = find_fields(template.frame)
        filled = {name: str(data[box] or "") for name, box in zip(names, w.values, strict=False)}
        if "subject" in names and not filled["subject"].strip():
            raise InvalidRequest("The template needs a subject.", hint="Fill in the field “Subject”.")
        values = {"prompt": fill_prompt(template, filled), "negative_prompt": template.negative, "styles": []}
        values |= self._recommend_values(template, self._studio.engine.model(str(data[form["model"]])), user)
        show_info("Template applied. Press Generate.")
        return form.make_updates(values)

    def _recommend_values(self, template: Template, model: Model, user: User) -> dict[str, Any]:
        """The format with its size, so far as it is there, and the steps of the quality, so far as the model has
        them."""
        values: dict[str, Any] = {}
        platforms = self._social.platforms.of(user.name)
        if any(each.id == template.format for each in platforms.formats()):
            width, height = choose_drawing_size(platforms.format(template.format), model.sizes)
            chosen = {"for_format": template.format, "followed_format": template.format}
            values = {**chosen, "size": CUSTOM_SIZE, "width": width, "height": height}
        if Feature.STEPS in model.features:
            values["steps"] = min(150, max(1, round(model.sampling.steps * STEP_FACTORS.get(template.quality, 1.0))))
        return values

    def _delete(self, words: Any, platform: Any, purpose: Any, chosen: Any, request: gr.Request) -> Updates:
        user, w = get_user(request), self._widgets
        self._get_library(user).remove(str(chosen or ""))
        show_info("Template deleted.")
        cards = self._render_cards((words, platform, purpose, ""), user)
        return {**self._choose("", request), w.chosen: "", w.cards: cards}

    def _save(self, data: dict[Any, Any], request: gr.Request) -> str:
        user, w, form = get_user(request), self._widgets, self._form
        prompt, negative = (str(data[form[name]] or "") for name in ("prompt", "negative_prompt"))
        recipe = GenerationRequest(
            prompt=prompt, negative_prompt=negative, model=self._resolve_model_id(data[form["model"]])
        )
        of = self._social.platforms.of(user.name).format(str(data[w.format] or ""))
        made = from_recipe(recipe, str(data[w.name] or ""), of.id, str(data[w.meant] or "social"))
        self._get_library(user).save(made)
        show_info(f"Template “{made.name}” saved.")
        return self._render_cards((data[w.words], data[w.platform], data[w.purpose], data[w.chosen]), user)

    def _resolve_model_id(self, model_id: Any) -> str:
        try:
            return self._studio.engine.model(str(model_id), Task.TXT2IMG).id
        except UnknownModel:
            return ""

    def _import_file(
        self, path: str | None, words: Any, platform: Any, purpose: Any, chosen: Any, request: gr.Request
    ) -> Updates:
        user, w = get_user(request), self._widgets
        if path is None:
            return {}
        taken = self._get_library(user).import_file(Path(path))
        show_info(f"{len(taken)} template{'' if len(taken) == 1 else 's'} taken in.")
        return {w.cards: self._render_cards((words, platform, purpose, chosen), user), w.taken: None}
