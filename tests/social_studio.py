"""Platform formats for studios in tests: the real data, export and templates; the eyes see nothing, which is fast, and a fake draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fakes import FakeBackend

from studio.core.model import Model, Sizes
from studio.core.ports import Backend, JobContext, PictureSeed
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.core.upscale_modes import size_of
from studio.engine.studio import SocialParts
from studio.finishing.fonts import Fonts
from studio.social.advice import Advisor
from studio.social.analysis import Eyes
from studio.social.export import SocialFormats
from studio.social.platforms import Platforms
from studio.social.templates import Templates

DRAWS = Model(
    id="fake", title="Fake", family="fake", tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),
    sizes=Sizes(liked=((64, 64),), multiple=8, smallest=8),
)  # fmt: skip
ENLARGES = Model(
    id="upscaler/realesr-general-x4v3", title="Real-ESRGAN", family="upscaler", tasks=frozenset({Task.UPSCALE})
)


class Painter(FakeBackend):
    """The fake, which enlarges too."""

    def render(self, request: GenerationRequest, seeds: Sequence[PictureSeed], ctx: JobContext) -> list[Rendered]:
        if request.task is not Task.UPSCALE:
            return super().render(request, seeds, ctx)
        self.seen.append((request, tuple(seeds)))
        source = ctx.picture(request.source or "")
        return [Rendered(image=source.resize(size_of(request.upscale, *source.size, 4.0))) for _ in seeds]


def social_parts(folder: Path) -> tuple[SocialParts, Painter, list[Backend]]:
    """What page and HTTP are handed, the fake, and all backends."""
    platforms, painter = Platforms(folder / "platforms.toml"), Painter(DRAWS, ENLARGES)
    advisor = Advisor(platforms, Eyes)
    export = SocialFormats(platforms, advisor, Fonts(folder / "fonts"))
    return SocialParts(platforms, advisor, Templates(folder / "templates")), painter, [painter, export]
