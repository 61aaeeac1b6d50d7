"""Templates as HTML: the list to choose from, and what the chosen one does. Every word from a file is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from studio.core.social_formats import PlatformData
from studio.core.social_templates import Template, find_fields

EXPORT_URL = "api/image-studio/templates/export?"
_SPACES = {"none": "", "full": "quiet all over, for text", "middle": "quiet in the middle, for text"}


def render_cards(found: Sequence[Template], recommended: Sequence[Template], chosen: str, data: PlatformData) -> str:
    """Buttons that choose a template, the recommended ones first; `chosen` is the id of the present one."""
    if not found and not recommended:
        return '<p class="note">No matching templates. Try fewer words or another platform.</p>'
    best = {each.id for each in recommended}
    rest = [each for each in found if each.id not in best]
    parts: list[str] = []
    if recommended:
        parts.append(_render_group("Recommended", recommended, chosen, data))
    if rest:
        parts.append(
            _render_group(
                "More" if recommended else f"{len(rest)} template{'' if len(rest) == 1 else 's'}", rest, chosen, data
            )
        )
    return f'<div class="cards-frame" tabindex="0" role="group" aria-label="Templates">{"".join(parts)}</div>'


def render_about(template: Template | None, data: PlatformData) -> str:
    """The template's purpose, platform and models."""
    if template is None:
        return ""
    frame = escape(template.frame)
    for name in find_fields(template.frame):
        frame = frame.replace(f"{{{escape(name)}}}", f"<b>{escape(name)}</b>")
    facts = [
        ("Prompt", frame),
        ("Style", escape(", ".join(template.style))),
        ("Not", escape(template.negative)),
        ("Made for", escape(_describe_format(template, data))),
        ("Suits", escape(", ".join(template.models))),
        ("In the cloud", escape(template.provider)),
        ("Quality", escape(template.quality)),
        ("Colours", _render_palette(template)),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    link = f"{EXPORT_URL}{urlencode({'id': template.id})}"
    return (
        f'<div class="template-about"><h4>{escape(template.name)}</h4><dl>{rows}</dl>'
        f'<a class="mini" href="{escape(link)}" download="{escape(template.id)}.toml">Export as a file</a></div>'
    )


def _render_group(title: str, found: Sequence[Template], chosen: str, data: PlatformData) -> str:
    inner = "".join(_render_card(each, each.id == chosen, data) for each in found)
    return f'<h4>{escape(title)}</h4><div class="cards">{inner}</div>'


def _render_card(template: Template, pressed: bool, data: PlatformData) -> str:
    space = _SPACES.get(template.space, f"quiet {template.space}, for text")
    facts = " · ".join(part for part in (template.purpose, *template.uses[:2], space) if part)
    own = '<i class="own">yours</i>' if template.own else ""
    return (
        f'<button type="button" class="card" data-template="{escape(template.id)}"'
        f' aria-pressed="{"true" if pressed else "false"}">'
        f"<strong>{escape(template.name)}{own}</strong>"
        f"<span>{escape(_describe_format(template, data))}</span><small>{escape(facts)}</small>"
        f"{_render_palette(template)}</button>"
    )


def _describe_format(template: Template, data: PlatformData) -> str:
    of = next((each for each in data.formats() if each.id == template.format), None)
    if of is None:
        return template.format
    title = next((each.title for each in data.platforms() if each.id == of.platform), of.platform)
    return f"{title} · {of.name}, {of.width} × {of.height}"


def _render_palette(template: Template) -> str:
    """Colours were checked to be #rrggbb when they were read."""
    dots = "".join(f'<i style="background:{escape(each)}" title="{escape(each)}"></i>' for each in template.palette)
    return f'<span class="palette">{dots}</span>' if dots else ""
