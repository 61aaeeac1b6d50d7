"""Image info: show how an image was made, and send its settings to another form."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.fields import HIRES_FIELDS, INPAINT_FIELDS, OUTPAINT_FIELDS, REQUEST_FIELDS
from studio.core.request import GenerationRequest
from studio.engine.metadata.image_info import ParsedImageInfo, read_image_info
from studio.engine.origin import OriginReport, check_origin
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, Updates, show_errors
from studio.tabs.common.restore_settings import find_request_in_info
from studio.tabs.common.result_panel import describe_steps
from studio.tabs.common.send_images import SentImage
from studio.tabs.common.tab import PageContext

GREETING = (
    '<div class="image-info image-info-empty"><p class="note">Drop an image from this studio, AUTOMATIC1111, Forge,'
    " SD.Next, ComfyUI, InvokeAI, Fooocus, SwarmUI, NovelAI, Draw Things, Easy Diffusion or stable-diffusion.cpp: PNG,"
    " JPEG, WebP or AVIF.</p></div>"
)
NO_METADATA = "This file contains no generation data. Many services remove it on upload."
_PART_FIELDS = {"": REQUEST_FIELDS, "Hires": HIRES_FIELDS, "Inpaint": INPAINT_FIELDS, "Outpaint": OUTPAINT_FIELDS}
_LABELS = {(part, spec.name): spec.label for part, fields in _PART_FIELDS.items() for spec in fields}
_UPLOAD_EVENT = HIDDEN | {"preprocess": True}


def build_info_panel(studio: Studio, page_context: PageContext, prefix: str) -> None:
    """Lay it out and wire it up."""
    with gr.Row(elem_classes="easel easel-info"):
        with gr.Column(elem_classes="view-column view-prompt", min_width=0):
            dropped = gr.File(
                label="Drop an image here",
                file_types=["image"],
                type="filepath",
                height=150,
                elem_id=f"{prefix}info-file",
            )
            with gr.Row(elem_classes="button-row", visible=False) as buttons:
                txt2img = gr.Button("Use in Txt2Img", elem_id=f"{prefix}info-txt2img", min_width=100)
                img2img = gr.Button("Use in Img2Img", elem_id=f"{prefix}info-img2img", min_width=100)
                work = gr.Button("Use in Extras", elem_id=f"{prefix}info-extras", min_width=100)
        with gr.Column(elem_classes="view-column view-result", min_width=0):
            shown = gr.HTML(GREETING, elem_id=f"{prefix}info")

    @show_errors
    def show_info(path: str | None, request: gr.Request) -> Updates:
        if path is None:
            return {shown: GREETING, buttons: gr.update(visible=False)}
        origin = check_origin(studio, Path(path).read_bytes(), get_user(request))
        knows = gr.update(interactive=find_request_in_info(origin.info) is not None)
        return {
            shown: render_info(origin.info, origin.hidden, origin),
            buttons: gr.update(visible=True),
            txt2img: knows,
            img2img: gr.update(),
        }

    def build_sent_image(path: str | None, request: gr.Request) -> SentImage:
        if path is None:
            raise InvalidRequest("No image selected.", hint="Drop an image first.")
        info = read_image_info(Path(path), studio.settings.current)
        found = find_request_in_info(info)
        if found is not None:
            found = studio.engine.match_model(found, info.infotext)
        return SentImage(image=studio.engine.keep_image(Path(path), get_user(request)), request=found)

    outputs: Any = {shown, buttons, txt2img, img2img}
    gr.on([dropped.upload, dropped.clear], show_info, dropped, outputs, **_UPLOAD_EVENT)
    for button, name in ((txt2img, "txt2img"), (img2img, "img2img"), (work, "extras")):
        page_context.send.register_button(button, name, inputs=dropped, make_sent_image=build_sent_image)


def render_info(info: ParsedImageInfo, hidden: str | None = None, origin: OriginReport | None = None) -> str:
    """The metadata as HTML: the file, where it is from, the fields, the ignored ones, the history, the infotext, and
    everything raw."""
    size = f"{info.width} × {info.height} px, {info.format.upper()}, {info.bytes / 1000:,.0f} kB"
    head = f'<h3>{escape(info.program or "No settings found")}</h3><p class="note">{escape(size)}</p>'
    parts = [head if info.program or info.request else f'{head}<p class="note">{NO_METADATA}</p>']
    if origin is not None:
        parts.append(_render_origin(origin))
    if hidden:
        parts.append(f'<p class="note"><strong>Hidden watermark:</strong> {escape(hidden)}</p>')
    if info.request is not None:
        parts.append(_render_fields_table(_list_fields(info.request)))
    if info.passed_over:
        parts.append(f'<p class="note">Not supported here: {escape(", ".join(info.passed_over))}.</p>')
    made = (*info.history, *((info.request,) if info.request is not None else ()))
    steps = describe_steps(made) if made else []
    if len(steps) > 1:
        items = "".join(f"<li>{escape(step)}</li>" for step in steps)
        parts.append(_render_details("History", f'<ol class="chain">{items}</ol>', shown=True))
    if info.infotext:
        parts.append(_render_details("Infotext", f'<pre tabindex="0">{escape(info.infotext)}</pre>', shown=True))
    if info.raw:
        raw = "".join(
            f"<h4>{escape(name)}</h4><pre tabindex='0'>{escape(text)}</pre>" for name, text in info.raw.items()
        )
        parts.append(_render_details("Everything in the file", raw))
    return f'<div class="image-info">{"".join(parts)}</div>'


def _render_origin(origin: OriginReport) -> str:
    """What tells where the image is from: a sentence, what it rests on, and the signed versions."""
    found = "".join(f"<li>{escape(one.text)}</li>" for one in origin.findings)
    rows = [
        (
            one.signer or "no name",
            ", ".join(filter(None, [one.program, one.when, *(_format_action(action) for action in one.actions)])),
        )
        for one in origin.credentials.steps
    ]
    told = {"allow": "Training models with it is allowed.", "forbid": "Training models with it is not allowed."}
    training = f'<p class="note">{told[origin.credentials.training]}</p>' if origin.credentials.training in told else ""
    signed = _render_details("Signed versions, the latest first", _render_fields_table(rows)) if rows else ""
    listed = f"<ul>{found}</ul>" if len(origin.findings) > 1 else ""
    return f"<h3>Where is this from?</h3><p>{escape(origin.summary)}</p>{listed}{training}{signed}"


def _format_action(action: str) -> str:
    return action.removeprefix("c2pa.").replace(".", " ").replace("_", " ")


def _list_fields(request: GenerationRequest) -> list[tuple[str, str]]:
    """Every field that the request sets: by its label on the forms where it has one, else by its path."""
    found: list[tuple[str, str]] = []

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(_LABELS.get((path, name)) or " · ".join(filter(None, (path, _format_name(name)))), inner)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, inner in enumerate(value, 1):
                walk(f"{path} {number}", inner)
        else:
            found.append((path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))

    walk("", {"task": request.task.value, **request.to_json()})
    return found


def _format_name(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _render_fields_table(rows: Sequence[tuple[str, str]]) -> str:
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f'<div class="table-frame"><table class="plain fields">{body}</table></div>'


def _render_details(title: str, body: str, *, shown: bool = False) -> str:
    return f"<details{' open' if shown else ''}><summary>{escape(title)}</summary>{body}</details>"
