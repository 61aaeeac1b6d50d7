"""Fields for images. Their value is a name: the hash under which the studio keeps the image, "" for none.

They are Gradio's own HTML component with a script of ours (studio/assets/js): an image is kept the
moment it is dropped, and travels as a name from then on. The event `upload` fires when the user, not the page, changes
a pad.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest

_HASH = re.compile(r"[0-9a-f]{64}")
_HINT = "Drop, paste or choose a file"


def build_image_pad(label: str, *, name: str, many: bool = False, hint: str = _HINT, visible: bool = True) -> gr.HTML:
    """Takes an image, or with `many` several, whose names stand in the value with spaces between."""
    return build_scripted_field("pad", name, visible=visible, name=name, label=label, many=many, hint=hint)


def build_paint_editor(label: str, *, name: str, kind: str, over: str) -> gr.HTML:
    """Paints over the image on the pad called `over`: a "mask" (mode L, white is what changes) or "paint" (mode
    RGBA)."""
    return build_scripted_field("paint", name, label=label, kind=kind, over=over)


def build_area_painter(
    label: str, *, name: str, over: str, palette: Sequence[tuple[str, str]], size: tuple[str, str]
) -> gr.HTML:
    """Paints areas in the colours of `palette`, ("#rrggbb", name), over the image on the pad called `over`, or without
    one on a blank sheet of the `size` in the number fields of these ids."""
    colours = [{"colour": colour, "name": title} for colour, title in palette]
    return build_scripted_field("paint", name, label=label, kind="areas", over=over, palette=colours, size=list(size))


def build_outpaint_plan(plan: Mapping[str, Any], *, name: str, over: str) -> gr.HTML:
    """Draws the canvas that outpainting makes of the image on `over`; the value is JSON text, `plan` at first."""
    return build_scripted_field("plan", name, value=json.dumps(plan), over=over)


def build_scripted_field(field: str, elem_id: str, *, value: str = "", visible: bool = True, **options: Any) -> gr.HTML:
    """A field that our page builds: `field` is one of FIELDS in studio/assets/js/page_api.js, which gets `options`."""
    # The script fills the template; one without a value in it is never drawn again by Gradio.
    call = f"window.easel.mountField({json.dumps(field)}, {{element, props, watch, trigger}}, {json.dumps(options)})"
    return gr.HTML(
        value,
        html_template="<div></div>",
        js_on_load=call,
        elem_id=elem_id,
        elem_classes=f"{field}-slot",
        visible=visible,
        apply_default_css=False,
    )


def read_image_names(value: Any) -> tuple[str, ...]:
    """The images that a pad's value names.

    Raises:
        InvalidRequest: the value is none of ours.
    """
    found = tuple(value.split()) if isinstance(value, str) else () if value is None else (str(value),)
    for name in found:
        if not _HASH.fullmatch(name):
            raise InvalidRequest("An image field contains something that is not an image.", hint="Reload the page.")
    return found


def read_single_image(value: Any) -> str | None:
    """The one image, None for none; raises as `names`."""
    found = read_image_names(value)
    return found[0] if found else None
