"""The platform formats as the program wires them, and images for them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from studio.engine.studio import SocialParts
from studio.finishing.fonts import Fonts
from studio.social.advice import Advisor
from studio.social.export import SocialBackend
from studio.social.platforms import Platforms
from studio.social.templates import Templates


def make_real_social_parts(folder: Path) -> tuple[SocialParts, SocialBackend]:
    """Real data, real eyes; what is one's own lies in `folder`."""
    platforms = Platforms(folder / "platforms.toml")
    advisor = Advisor()
    parts = SocialParts(platforms, advisor, Templates(folder / "templates"))
    return parts, SocialBackend(platforms, advisor, Fonts(folder / "fonts"))


def make_portrait(width: int = 400, height: int = 400) -> Image.Image:
    """A photograph of one person, from a package; public domain (NASA)."""
    from skimage import data

    return Image.fromarray(data.astronaut()).crop((0, 0, 400, 400)).resize((width, height))


def make_couple() -> Image.Image:
    """Two people far apart, 1600 × 400 px."""
    wide = Image.new("RGB", (1600, 400), (90, 110, 130))
    wide.paste(make_portrait(), (0, 0))
    wide.paste(make_portrait(), (1200, 0))
    return wide


def make_ball(width: int = 800, height: int = 500) -> Image.Image:
    """Something round on plain ground, right of the middle."""
    image = Image.new("RGB", (width, height), (205, 215, 225))
    ImageDraw.Draw(image).ellipse(
        (width * 0.62, height * 0.3, width * 0.62 + height * 0.4, height * 0.7), fill=(200, 60, 30)
    )
    return image
