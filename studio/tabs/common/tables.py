"""Tables in HTML, which become cards on a phone (assets/css/tables.css)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def render_table(columns: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table under the titles `columns`; `rows` hold the cells as HTML, `style` names a class of its own."""
    titles = [escape(title) for title in columns]
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{_render_cells(titles, cells)}</tr>" for cells in rows)
    classes = f"plain as-cards {style}".strip()
    return (
        f'<div class="table-frame"><table class="{classes}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _render_cells(titles: Sequence[str], cells: Sequence[str]) -> str:
    pairs = zip(titles, cells, strict=True)
    return "".join(f'<td data-label="{title}">{cell}</td>' for title, cell in pairs)
