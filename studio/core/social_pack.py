"""From an image to platform formats within one job: at which size it is drawn, how far it is enlarged, what is cut out
of it."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.finish import Upscale
from studio.core.model import Model, Quality, Sizes
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.range_checks import MAX_SIDE
from studio.core.request import GenerationRequest
from studio.core.social import SocialExport
from studio.core.social_formats import Format, PlatformData
from studio.core.task import Task
from studio.core.upscale_modes import LANCZOS, UpscaleMode, choose_upscale_model

SOCIAL_MODEL = "social"
MAX_ENLARGE_FACTOR = 4.0  # times by a network, which is what they are trained for; what is left is plain resampling
MAX_ASPECT_RATIO = (
    2.5  # width over height, or height over width, that models draw well; steeper formats are cut out of such an image
)
RATIO_TOLERANCE = 0.03  # by which a shape that the model likes may differ from the format's


def choose_drawing_size(of: Format, sizes: Sizes) -> tuple[int, int]:
    """The (width, height) at which a model draws for a format: one that it was trained at where the shape is nearly the
    format's, else the format's shape at the area that it likes. Networks draw two heads where they are asked for more
    than that."""
    alike = [size for size in sizes.liked if abs(size[0] / size[1] / of.ratio - 1) <= RATIO_TOLERANCE]
    if alike:
        return alike[0]
    ratio = min(MAX_ASPECT_RATIO, max(1 / MAX_ASPECT_RATIO, of.ratio))
    return sizes.find_nearest_size(*sizes.fit_size(None, None, f"{ratio:.6f}:1"))


def collect_formats(platforms: PlatformData, formats: Sequence[str], of_platforms: Sequence[str]) -> tuple[Format, ...]:
    """The named formats, then all those of the named platforms, each once.

    Raises:
        NotFound: a format or platform that is not there; the hint names near ones.
    """
    named = [platforms.format(each) for each in formats]
    whole = [each for platform in of_platforms for each in platforms.formats(platform)]
    return tuple({each.id: each for each in (*named, *whole)}.values())


def append_format_steps(
    wanted: GenerationRequest,
    social: SocialExport,
    formats: Sequence[Format],
    size: tuple[int, int],
    upscalers: Sequence[Model],
) -> GenerationRequest:
    """`wanted`, whose images are `size` px large, followed by what makes `formats` of it: the best upscaler that is
    here where the image is smaller than one of them and `social.upscale` is set, then the cut.

    Raises:
        InvalidRequest: `wanted` ends in several files already, or in too many steps.
    """
    last = GenerationRequest(task=Task.SOCIAL, model=SOCIAL_MODEL, social=social)
    enlarge = build_enlarge_step(formats, size, upscalers) if social.upscale else None
    return wanted.replace(then=(*wanted.then, *([enlarge] if enlarge else []), last))


def get_result_size(wanted: GenerationRequest, model: Model, source: tuple[int, int] | None) -> tuple[int, int]:
    """The (width, height) of the images that `model` makes for `wanted`; `source` is the size of what it works on, if
    anything."""
    if source is not None and (wanted.task.needs_mask or not wanted.task.is_generative):
        return source
    if source is not None and not (wanted.width or wanted.height or wanted.aspect):
        wanted = model.fit_to_source(wanted, *source)
    return model.get_result_size(wanted)


def build_enlarge_step(
    formats: Sequence[Format], size: tuple[int, int], upscalers: Sequence[Model]
) -> GenerationRequest | None:
    """The step that makes an image of `size` large enough for `formats`, None where it is, or where there is nothing
    better than plain resampling, which the cut does itself."""
    factor = max((max(each.width / size[0], each.height / size[1]) for each in formats), default=1.0)
    factor = min(factor, MAX_ENLARGE_FACTOR, MAX_SIDE / max(size))
    model = choose_upscale_model(UpscaleMode.FAST, Quality.STANDARD, upscalers)
    if factor <= 1 or model is None or model.id == UPSCALER_PREFIX + LANCZOS:
        return None
    return GenerationRequest(task=Task.UPSCALE, model=model.id, upscale=Upscale(scale=round(factor, 4)))
