"""The labelled image of a grid: columns by the first axis, rows by the second, pages by the third side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from studio.core.annotate import flatten_on_white
from studio.core.grid import Cell, expand_cells
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage

MAX_GRID_SIDE = 16_000  # px
_GAP = 4  # px between images
_MARGIN = 8  # px around a label


@dataclass(frozen=True)
class _Layout:
    """Sizes in px. `left` and `top` are the room for the labels of one page."""

    columns: int
    rows: int
    pages: int
    cell: tuple[int, int]
    left: int
    top: int
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont

    @property
    def page(self) -> tuple[int, int]:
        return self.left + self.columns * (self.cell[0] + _GAP), self.top + self.rows * (self.cell[1] + _GAP)

    def locate_cell(self, position: tuple[int, int, int]) -> tuple[int, int]:
        """The corner of the image of the cell at (column, row, page)."""
        column, row, page = position
        return (
            page * self.page[0] + self.left + column * (self.cell[0] + _GAP),
            self.top + row * (self.cell[1] + _GAP),
        )


def compose_grid(request: GenerationRequest, images: Mapping[int, Path]) -> RenderedImage | None:
    """The grid of `request` from its images by cell number; a cell without one stays blank, and with none at all there
    is no grid. Neither side is longer than MAX_SIDE: the images are made smaller until they fit."""
    made = expand_cells(request)
    present = {number: path for number, path in images.items() if number < len(made)}
    if not present:
        return None
    layout = _compute_layout(made, _find_largest_size(list(present.values())))
    size = layout.page[0] * layout.pages, layout.page[1]
    sheet = Image.new("RGB", size, "white")
    for number, path in present.items():
        with Image.open(path) as image:
            fitted = flatten_on_white(image.convert("RGBA"))
        fitted.thumbnail(layout.cell, Image.Resampling.LANCZOS, reducing_gap=3.0)
        x, y = layout.locate_cell(made[number].position)
        sheet.paste(fitted, (x + (layout.cell[0] - fitted.width) // 2, y + (layout.cell[1] - fitted.height) // 2))
    _write_labels(ImageDraw.Draw(sheet), layout, made)
    return RenderedImage(image=sheet, seed=made[0].request.seed or 0)


def _find_largest_size(paths: Sequence[Path]) -> tuple[int, int]:
    sizes: list[tuple[int, int]] = []
    for path in paths:
        with Image.open(path) as image:
            sizes.append(image.size)
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _compute_layout(made: Sequence[Cell], largest: tuple[int, int]) -> _Layout:
    columns, rows, pages = (1 + max(cell.position[axis] for cell in made) for axis in range(3))
    axes = len(made[0].labels)
    scale = 1.0
    while True:
        cell = max(1, round(largest[0] * scale)), max(1, round(largest[1] * scale))
        text = max(11, min(cell) // 18)
        font = ImageFont.load_default(text)
        widest = max(font.getlength(label) for cell_ in made for label in cell_.labels[1:2]) if axes > 1 else 0.0
        left = min(round(widest) + 2 * _MARGIN, cell[0]) if axes > 1 else _GAP
        top = (text + 2 * _MARGIN) * (2 if axes > 2 else 1)
        layout = _Layout(columns, rows, pages, cell, left, top, font)
        over = max(layout.page[0] * pages, layout.page[1]) / MAX_GRID_SIDE
        if over <= 1 or cell == (1, 1):
            return layout
        scale *= min(0.98, 1 / over)


def _write_labels(draw: ImageDraw.ImageDraw, layout: _Layout, made: Sequence[Cell]) -> None:
    line = layout.top // (2 if len(made[0].labels) > 2 else 1)
    for cell in made:
        column, row, page = cell.position
        x, y = layout.locate_cell(cell.position)
        if row == 0:
            _write_line(draw, layout, cell.labels[0], (x + layout.cell[0] / 2, layout.top - line / 2), layout.cell[0])
        if column == 0 and len(cell.labels) > 1:
            middle = x - layout.left / 2 - _GAP / 2, y + layout.cell[1] / 2
            _write_line(draw, layout, cell.labels[1], middle, layout.left - _MARGIN)
        if column == 0 and row == 0 and len(cell.labels) > 2:
            _write_line(
                draw, layout, cell.labels[2], (page * layout.page[0] + layout.page[0] / 2, line / 2), layout.page[0]
            )


def _write_line(draw: ImageDraw.ImageDraw, layout: _Layout, label: str, at: tuple[float, float], room: float) -> None:
    """One line of text around the point `at`, shortened to `room` px."""
    text = " ".join(label.split())
    while len(text) > 1 and layout.font.getlength(text) > room:
        text = text[:-2].rstrip() + "…"
    draw.text(at, text, fill="black", font=layout.font, anchor="mm")
