"""Fonts by name: those that come with the packages, and the user's own in models/fonts."""

from __future__ import annotations

import difflib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from studio.core.errors import InvalidRequest

_SHIPPED_FONTS = {  # the first is the default
    "DejaVu Sans Bold": "DejaVuSans-Bold.ttf",
    "DejaVu Sans": "DejaVuSans.ttf",
    "DejaVu Serif": "DejaVuSerif.ttf",
    "DejaVu Serif Bold": "DejaVuSerif-Bold.ttf",
    "DejaVu Sans Mono": "DejaVuSansMono.ttf",
}
_EXTENSIONS = (".ttf", ".otf")
_MAX_FONT_BYTES = 40 * 1024 * 1024  # bytes of a font file
_MISSING_CHARACTER = "\U0010ffff"  # which no font draws


class Fonts:
    """All fonts that text may be written in."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the user's own; it need not be there."""
        self._folder = folder

    def names(self) -> list[str]:
        """The font names for requests, the default first."""
        return list(self._find_files()) or [""]

    def get(self, name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """The font of that name, `size` px high; "" is the default.

        Raises:
            InvalidRequest: there is none of that name, or its file is broken.
        """
        files = self._find_files()
        if not name and not files:
            return ImageFont.load_default(size)
        path = files.get(name) if name else next(iter(files.values()))
        if path is None:
            near = difflib.get_close_matches(name, files, n=3, cutoff=0.3) or list(files)[:5]
            raise InvalidRequest(f"Font “{name[:80]}” not found.", hint="There are: " + ", ".join(near) + ".")
        try:
            return ImageFont.truetype(str(path), size)
        except OSError as error:
            raise InvalidRequest(f"The font “{name[:80]}” cannot be read.", hint="Choose another font.") from error

    def _find_files(self) -> dict[str, Path]:
        found = {name: path for name, path in _find_shipped_fonts().items() if path.is_file()}
        if self._folder.is_dir():
            for path in sorted(self._folder.iterdir()):
                if path.suffix.lower() in _EXTENSIONS and path.is_file() and path.stat().st_size <= _MAX_FONT_BYTES:
                    found[path.stem] = path
        return found


def find_missing_characters(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> str:
    """The characters of `text`, each once, that `font` lacks and draws as a box."""
    characters = "".join(
        dict.fromkeys(character for character in text if character.isprintable() and not character.isspace())
    )
    box = _draw_character(font, _MISSING_CHARACTER)
    return "".join(character for character in characters if _draw_character(font, character) == box)


def _draw_character(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, character: str) -> tuple[object, bytes]:
    cell = Image.new("1", (32, 32))
    ImageDraw.Draw(cell).text((4, 4), character, 1, font)
    return font.getlength(character), cell.tobytes()


def _find_shipped_fonts() -> dict[str, Path]:
    """DejaVu as matplotlib carries it; importing only its path, for matplotlib itself takes a second."""
    from importlib.util import find_spec

    spec = find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(next(iter(spec.submodule_search_locations))) / "mpl-data" / "fonts" / "ttf"
    return {name: folder / file for name, file in _SHIPPED_FONTS.items()}
