"""Before and after in figures: sizes in px and bytes of what a job made."""

from __future__ import annotations

from html import escape

from studio.core.errors import NotFound
from studio.core.result import Asset
from studio.core.user import User
from studio.engine.engine import Engine

MAX_ROWS = 60  # rows that are shown


def render_before_after(engine: Engine, job_id: str, user: User) -> str:
    """A table of the job's files, as HTML; nothing when there is no such job or it made none."""
    if not job_id:
        return ""
    try:
        assets = engine.job(job_id, user).snapshot.assets
    except NotFound:
        return ""
    if not assets:
        return ""
    rows = "".join(_render_asset_row(engine, asset, user) for asset in assets[:MAX_ROWS])
    more = f'<p class="note">And {len(assets) - MAX_ROWS} more.</p>' if len(assets) > MAX_ROWS else ""
    head = "<tr><th>File</th><th>Before</th><th>After</th></tr>"
    return f'<div class="table-frame"><table class="plain sizes-table">{head}{rows}</table></div>{more}'


def format_bytes(number: int) -> str:
    """`number` of bytes in words: 812 B, 34 kB, 2.4 MB."""
    if number < 1000:
        return f"{number} B"
    return f"{number / 1000:.0f} kB" if number < 1_000_000 else f"{number / 1e6:.1f} MB"


def _render_asset_row(engine: Engine, asset: Asset, user: User) -> str:
    size = format_bytes(asset.path.stat().st_size) if asset.path.is_file() else "gone"
    cells = (asset.path.name, _describe_source(engine, asset, user), f"{asset.width} × {asset.height} · {size}")
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _describe_source(engine: Engine, asset: Asset, user: User) -> str:
    """The source as the studio keeps it, which is a PNG whatever came in."""
    if not asset.request.source:
        return "–"
    try:
        kept = engine.get_input(asset.request.source, user)
        size = engine.get_kept_file(kept.hash, user).stat().st_size
    except (NotFound, FileNotFoundError):
        return "gone"
    return f"{kept.width} × {kept.height} · {format_bytes(size)} as PNG"
