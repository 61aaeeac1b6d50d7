"""The files of an export as a table, with the zip."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from studio.core.errors import NotFound
from studio.core.result import Asset
from studio.core.social_formats import PlatformData
from studio.tabs.common.result_panel import IMAGE_URL
from studio.tabs.social.board_routes import ZIP_URL


def render_results(assets: Sequence[Asset], data: PlatformData, pattern: str) -> str:
    """Every file with its size, its bytes against the limit, and whatever is to be said of it; nothing for no files."""
    if not assets:
        return ""
    address = f"{ZIP_URL.format(job=quote(assets[0].job_id))}?pattern={quote(pattern)}"
    total = sum(_get_file_size(asset) for asset in assets)
    head = (
        f'<div class="results-head"><strong>{len(assets)} file{"" if len(assets) == 1 else "s"},'
        f' {_format_size(total)}</strong><a id="social-zip" href="{escape(address)}" download>Download zip</a></div>'
    )
    titles = {each.id: each.title for each in data.platforms()}
    sources = list(dict.fromkeys(asset.request.source for asset in assets))
    of = {source: f"Image {number}" if len(sources) > 1 else "" for number, source in enumerate(sources, 1)}
    rows = "".join(_render_file_row(asset, data, titles, of[asset.request.source]) for asset in assets)
    return (
        f'{head}<div class="results-frame"><table class="plain'
        ' results"><thead><tr><th>Format</th><th>Size</th><th>File</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _render_file_row(asset: Asset, data: PlatformData, titles: dict[str, str], image: str) -> str:
    limit: int | None = None
    try:
        of = data.format(asset.label)
        name, limit = f"{titles.get(of.platform, of.platform)} · {of.name}", of.limit
    except NotFound:
        name = {"sheet": "Contact sheet", "original": "Full image"}.get(asset.label, asset.label or "Image")
    notes = "".join(f"<small>{escape(note)}</small>" for note in (image, *asset.notes) if note)
    file = f"{asset.path.suffix.lstrip('.').upper()} {_format_size(_get_file_size(asset))}"
    most = f"<small>of {_format_size(limit)}</small>" if limit else ""
    return (
        f'<tr data-label="{escape(asset.label)}"><td><a href="{escape(IMAGE_URL.format(id=asset.id))}" target="_blank"'
        f' rel="noopener">{escape(name)}</a>{notes}</td><td class="number">{asset.width} × {asset.height}</td><td'
        f' class="number">{file}{most}</td></tr>'
    )


def _get_file_size(asset: Asset) -> int:
    try:
        return asset.path.stat().st_size
    except OSError:  # moved or deleted by hand since
        return 0


def _format_size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.0f} kB"
