"""Zones and frames as SVG, to be laid over a preview or around it. Made of data alone; labels are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from studio.core.social_formats import Format, Frame, Zone

# red, green, blue of each kind of zone; what is covered or cut is shaded, the rest is a line
ZONE_COLOURS = {
    "ui": (220, 60, 60),
    "avatar": (150, 80, 220),
    "crop": (230, 150, 30),
    "view": (40, 130, 230),
    "circle": (40, 130, 230),
    "safe": (30, 170, 90),
    "strict": (240, 200, 30),
    "frame": (128, 128, 128),
}
SHADED_KINDS = ("ui", "avatar", "crop", "frame")
SHADE_OPACITY = 0.28  # opacity


def draw_zones_svg(of: Format, zones: Sequence[Zone]) -> str:
    """An SVG with the format's own coordinates that stretches over its preview; each shape's class is "zone zone-KIND",
    so that a page can switch kinds on and off."""
    shapes = "".join(_draw_zone(zone, max(of.width, of.height) / 320) for zone in zones)
    return _wrap_svg(of.width, of.height, f"zones of {of.name}", shapes)


def draw_frame_svg(of: Format, frame: Frame) -> str:
    """The screen around the format's preview; the place of the image is an empty rectangle of the class "slot"."""
    high = frame.slot_width * of.height / of.width
    curve = frame.slot_width / 2 if frame.round else 0
    slot = (
        f'<rect class="slot" x="{frame.left}" y="{frame.top}" width="{frame.slot_width}" height="{high:.0f}"'
        f' rx="{curve:.0f}" fill="none"/>'
    )
    parts = "".join(_draw_zone(part, 1.5) for part in frame.parts)
    return _wrap_svg(frame.width, frame.height, f"{of.name} on a {frame.device}", slot + parts)


def _wrap_svg(width: int, height: int, label: str, inner: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{inner}</svg>'
    )


def _draw_zone(zone: Zone, line: float) -> str:
    colour = "rgb({}, {}, {})".format(*ZONE_COLOURS[zone.kind])
    fill = f'fill="{colour}" fill-opacity="{SHADE_OPACITY}"' if zone.kind in SHADED_KINDS else 'fill="none"'
    curve = f' rx="{zone.width / 2:g}"' if zone.kind == "circle" else ""
    return (
        f'<rect class="zone zone-{zone.kind}" x="{zone.left}" y="{zone.top}" width="{zone.width}"'
        f' height="{zone.height}"{curve} {fill} stroke="{colour}"'
        f' stroke-width="{line:.1f}"><title>{escape(zone.label)}</title></rect>'
    )
