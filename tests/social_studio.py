"""Platform formats for studios in tests: the real data, export and templates; the eyes see nothing, which is fast, and
a fake draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fakes import FakeBackend

from studio.core.model import Model, Sizes
from studio.core.ports import Backend, ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.core.upscale_modes import compute_upscaled_size
from studio.engine.studio import SocialParts
from studio.finishing.fonts import Fonts
from studio.social.advice import Advisor
from studio.social.analysis import Detectors
from studio.social.export import SocialBackend
from studio.social.platforms import Platforms
from studio.social.templates import Templates

DRAW_MODEL = Model(
    id="fake",
    title="Fake",
    family="fake",
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),
    sizes=Sizes(liked=((64, 64),), multiple=8, smallest=8),
)
UPSCALE_MODEL = Model(
    id="upscaler/realesr-general-x4v3", title="Real-ESRGAN", family="upscaler", tasks=frozenset({Task.UPSCALE})
)


class FakeUpscalingBackend(FakeBackend):
    """The fake, which enlarges too."""

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        if request.task is not Task.UPSCALE:
            return super().render(request, seeds, ctx)
        self.seen.append((request, tuple(seeds)))
        source = ctx.load_image(request.source or "")
        return [
            RenderedImage(image=source.resize(compute_upscaled_size(request.upscale, *source.size, 4.0))) for _ in seeds
        ]


def make_social_parts(folder: Path) -> tuple[SocialParts, FakeUpscalingBackend, list[Backend]]:
    """What page and HTTP are handed, the fake, and all backends."""
    platforms, painter = Platforms(folder / "platforms.toml"), FakeUpscalingBackend(DRAW_MODEL, UPSCALE_MODEL)
    advisor = Advisor(Detectors)
    export = SocialBackend(platforms, advisor, Fonts(folder / "fonts"))
    return SocialParts(platforms, advisor, Templates(folder / "templates")), painter, [painter, export]
