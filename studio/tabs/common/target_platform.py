"""Target platform: a form draws for a platform format, or for all formats of some platforms, within its one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest
from studio.core.finish import MetadataPolicy
from studio.core.model import Model
from studio.core.model_ids import AUTO_PREFIX
from studio.core.request import GenerationRequest
from studio.core.social import MAX_FORMATS, SocialExport
from studio.core.social_formats import Format, PlatformData
from studio.core.social_pack import append_format_steps, choose_drawing_size, collect_formats, get_result_size
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.source_checks import list_sources
from studio.engine.studio import Studio
from studio.tabs.common.choices import CUSTOM_SIZE
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import UNQUEUED, Updates, show_errors
from studio.tabs.common.form import Form

NO_PLATFORM = ""  # no format: the form's own size
CHIPS = {
    "instagram.feed_portrait_4x5": "Instagram",
    "instagram.story": "Story",
    "youtube.thumbnail_hd": "YouTube",
    "twitter.post_landscape": "X",
    "linkedin.post_landscape": "LinkedIn",
    "pinterest.pin_standard": "Pinterest",
    "tiktok.photo_9x16": "TikTok",
}
"""The formats that are chosen by a click beside the size, by their ids."""
NO_CHIP = "none"  # what a chip that is pressed already writes
LEGEND = (
    '<span class="zone-key zone-key-safe">safe for text</span><span class="zone-key zone-key-ui">covered</span>'
    '<span class="zone-key zone-key-crop">may be cut</span><span class="zone-key zone-key-view">seen elsewhere</span>'
)


@dataclass(frozen=True, kw_only=True)
class TargetFields:
    """The accordion's fields, for the form, and the line that says what will happen; no fields where the studio has no
    formats."""

    fields: dict[str, Component] = field(default_factory=dict[str, Component])
    note: gr.HTML | None = None
    accordion: gr.Accordion | None = None


def build_target_accordion(studio: Studio, prefix: str = "") -> TargetFields:
    """The accordion with its fields."""
    if studio.social is None:
        return TargetFields()
    data = studio.social.platforms
    with gr.Accordion("Target platform", open=False, elem_id=f"{prefix}make-for") as accordion:
        one = gr.Dropdown(
            list_format_choices(data),
            value=NO_PLATFORM,
            label="Platform format",
            elem_id=f"{prefix}for-format",
            min_width=140,
            info="Sets the size; the result is cropped to fit exactly.",
            allow_custom_value=True,
        )
        pack = gr.Dropdown(
            list_pack_choices(data),
            value=[],
            multiselect=True,
            label="Social pack",
            elem_id=f"{prefix}for-pack",
            min_width=140,
            info="Makes all formats of these platforms in one job.",
        )
        with gr.Row(elem_classes="pair"):
            zones = gr.Checkbox(
                True,
                label="Show zones",
                elem_id=f"{prefix}for-zones",
                elem_classes="show-zones",
                min_width=140,
                info="Overlay on the preview only, not in the file.",
            )
            enlarge = gr.Checkbox(
                True,
                label="Upscale small images",
                elem_id=f"{prefix}for-enlarge",
                min_width=140,
                info="Used if the image is smaller than the format.",
            )
        note = gr.HTML("", elem_id=f"{prefix}for-note")
        followed = gr.Textbox(NO_PLATFORM, visible=False)  # the format whose size is on the form
    return TargetFields(
        fields={
            "for_format": one,
            "followed_format": followed,
            "for_pack": pack,
            "for_zones": zones,
            "for_enlarge": enlarge,
        },
        note=note,
        accordion=accordion,
    )


def build_format_chips(studio: Studio) -> gr.Textbox | None:
    """A row of buttons for the formats that are used most, and the field, out of sight, into which they write; None
    where the studio has none of them."""
    known = {each.id: each for each in studio.social.platforms.formats()} if studio.social is not None else {}
    chips = "".join(
        f'<button type="button" class="mini" data-format="{format_id}" aria-pressed="false"'
        f' title="{escape(known[format_id].name)}, {known[format_id].width} × {known[format_id].height}">'
        f"{title}</button>"
        for format_id, title in CHIPS.items()
        if format_id in known
    )
    if not chips:
        return None
    gr.HTML(f'<div class="format-chips" role="group" aria-label="Target platform">{chips}</div>', padding=False)
    return gr.Textbox("", elem_id="pick-format", elem_classes="store", show_label=False, max_length=200)


def wire_format_chips(studio: Studio, form: Form, picked: gr.Textbox | None) -> None:
    """Let the chips choose the format of Txt2Img, and its size."""
    if studio.social is None or picked is None:
        return
    platforms, names = studio.social.platforms, ("for_format", "followed_format", "width", "height", "size")

    @show_errors
    def pick_format(picked_id: Any, model_id: Any, request: gr.Request) -> Updates:
        if not picked_id:  # emptied below, so that the same chip can be pressed again
            return {}
        user = get_user(request)
        format_id = NO_PLATFORM if picked_id == NO_CHIP else str(picked_id)
        values: dict[str, Any] = {"followed_format": format_id}
        if size := get_format_size(studio, format_id, studio.engine.model(str(model_id)), user):
            values |= {"width": size[0], "height": size[1], "size": CUSTOM_SIZE}
        chosen = gr.update(choices=list_format_choices(platforms.of(user.name)), value=format_id)
        return {**form.make_updates(values), form["for_format"]: chosen, picked: ""}

    outputs = [*(form[name] for name in names), picked]
    picked.change(pick_format, [picked, form["model"]], outputs, **UNQUEUED)


def list_pack_choices(data: PlatformData) -> list[tuple[str, str]]:
    """Every platform by its title."""
    return [(each.title, each.id) for each in data.platforms()]


def list_format_choices(data: PlatformData) -> list[tuple[str, str]]:
    """Every format by platform, name and size, after the entry for none."""
    titles = {platform.id: platform.title for platform in data.platforms()}
    formats = [
        (f"{titles[each.platform]} · {each.name} · {each.width} × {each.height}", each.id) for each in data.formats()
    ]
    return [("No platform", NO_PLATFORM), *formats]


def wire_target_fields(studio: Studio, form: Form, make_for: TargetFields, task: Task) -> None:
    """Let the size follow the format; with another model, `get_format_size` tells the format's size."""
    if studio.social is None or make_for.note is None or make_for.accordion is None:
        return
    platforms, note = studio.social.platforms, make_for.note
    names = ("width", "height", "size", "own_size", "followed_format")
    sized = [form[name] for name in names if name in form.fields]

    @show_errors
    def update_size(model_id: Any, format_id: Any, followed: Any, request: gr.Request) -> Updates:
        if format_id == followed:  # the list was only looked at
            return {}
        values: dict[str, Any] = {"followed_format": format_id or NO_PLATFORM}
        if size := get_format_size(studio, format_id, studio.engine.model(str(model_id), task), get_user(request)):
            values |= {"width": size[0], "height": size[1], "size": CUSTOM_SIZE, "own_size": True}
        return form.make_updates(values)

    @show_errors
    def update_lists(request: gr.Request) -> Updates:
        data = platforms.of(get_user(request).name)
        return {
            form["for_format"]: gr.update(choices=list_format_choices(data)),
            form["for_pack"]: gr.update(choices=list_pack_choices(data)),
        }

    @show_errors
    def update_note(format_id: Any, pack: Any, request: gr.Request) -> str:
        targets = read_targets({"for_format": format_id, "for_pack": pack})
        return render_target_note(platforms.of(get_user(request).name), *targets)

    chosen, shown = [form["model"], form["for_format"], form["followed_format"]], [form["for_format"], form["for_pack"]]
    form["for_format"].input(update_size, chosen, sized, **UNQUEUED)
    changes: Any = [box.change for box in shown]
    # The page is built once for everybody; formats of one's own, and those made meanwhile, come when it is opened.
    make_for.accordion.expand(update_lists, None, shown, **UNQUEUED)
    gr.on(changes, update_note, shown, note, trigger_mode="always_last", **UNQUEUED)


def get_format_size(studio: Studio, format_id: object, model: Model, user: User) -> tuple[int, int] | None:
    """The (width, height) at which `model` draws for the user's format, None where none is chosen.

    Raises:
        NotFound: there is no such format.
    """
    if studio.social is None or not format_id:
        return None
    return choose_drawing_size(studio.social.platforms.of(user.name).format(str(format_id)), model.sizes)


def render_target_note(data: PlatformData, formats: list[str], platforms: list[str]) -> str:
    """A line that describes the chosen formats, with the key to the zones; empty without formats."""
    found = collect_formats(data, formats, platforms)
    if not found:
        return ""
    first = found[0]
    text = (
        f"{len(found)} formats plus the full image."
        if platforms
        else f"Cut to {first.width} × {first.height} px{_format_limit(first)}."
    )
    return (
        f'<p class="note" data-zones="{escape(formats[0] if formats else "")}">{escape(text)} Figures of'
        f" {escape(data.as_of)}. "
        f"{LEGEND if formats else ''}</p>"
    )


def _format_limit(of: Format) -> str:
    return f", {of.file_type.upper()} up to {of.limit / 1e6:g} MB" if of.limit else f", {of.file_type.upper()}"


def read_targets(values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The format, as a list of one or none, and the platforms that the accordion asks for.

    Raises:
        InvalidRequest: a value of the wrong kind.
    """
    one, pack = values.get("for_format") or NO_PLATFORM, values.get("for_pack") or []
    if not isinstance(one, str) or not isinstance(pack, list) or not all(isinstance(each, str) for each in pack):
        raise InvalidRequest("Unknown platform format.", hint="Choose it from the list.")
    return ([one] if one else []), pack


def write_targets(wanted: GenerationRequest) -> dict[str, Any]:
    """The accordion's values that ask for what follows `wanted`: its one format; of a pack each file is a format of its
    own."""
    social = wanted.then[-1].social if wanted.then else None
    one = social.formats[0] if social is not None and len(social.formats) == 1 else NO_PLATFORM
    return {"for_format": one, "followed_format": one, "for_pack": []}


def append_target_steps(
    studio: Studio, values: Mapping[str, Any], wanted: GenerationRequest, user: User
) -> GenerationRequest:
    """`wanted`, followed by what the accordion asks for. A single format keeps the recipe in its file; a pack, which is
    made to be published, keeps the machine-made marker alone, and adds the whole image.

    Raises:
        NotFound: no such format or platform. InvalidRequest: too many of them.
    """
    formats, platforms = read_targets(values)
    if studio.social is None or not (formats or platforms):
        return wanted
    found = collect_formats(studio.social.platforms.of(user.name), formats, platforms)
    if len(found) > MAX_FORMATS:
        raise InvalidRequest(f"Too many formats: {len(found)}.", hint="Choose fewer platforms.")
    social = SocialExport(
        formats=tuple(each.id for each in found),
        upscale=values.get("for_enlarge") is True,
        original=bool(platforms),
        keep=MetadataPolicy.MARKER if platforms else MetadataPolicy.ALL,
    )
    first = next(iter(list_sources(wanted)), None)
    kept = studio.engine.get_input(first, user) if first else None
    model = studio.engine.model("" if wanted.model.startswith(AUTO_PREFIX) else wanted.model, wanted.task)
    size = get_result_size(wanted, model, (kept.width, kept.height) if kept else None)
    return append_format_steps(wanted, social, found, size, studio.engine.models(Task.UPSCALE))
