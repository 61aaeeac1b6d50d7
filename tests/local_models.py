"""Local pipelines over tiny checkpoints, and a job context that records what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest, NotFound, UnknownModel
from studio.core.model import Model, Sampling, Sizes
from studio.core.ports import Annotators, ImageSeed, JobContext, LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.settings import Settings
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.families import _parts, sd15, sdxl
from studio.pipelines.local_backend import LocalPipelines
from studio.pipelines.run.samplers import DIFFUSION_SAMPLERS
from studio.pipelines.weight_sizes import estimate_loaded_bytes

EMBEDDED = Path(__file__).parent.parent / "models" / "embedded"


class RecordingContext:
    """A JobContext. `at_step(done)` may raise to stop the run; `due` says whether previews are asked for; `images` are
    those that requests may name, by any name."""

    def __init__(
        self, settings: Settings, *, due: bool = False, images: Mapping[str, Image.Image] | None = None
    ) -> None:
        self.settings = settings
        self.images = dict(images or {})
        self.due = due
        self.steps: list[tuple[int, int]] = []
        self.previews: list[Image.Image] = []
        self.notices: list[str] = []
        self.stages: list[str] = []
        self.loaded: list[str] = []
        self.peaks: list[int] = []
        self.at_step: Callable[[int], None] = lambda done: None

    def report_loading(self, what: str) -> None:
        self.loaded.append(what)

    def report_progress(self, step: int, steps: int, preview: Callable[[], Image.Image] | None = None) -> None:
        self.steps.append((step, steps))
        if self.due and preview is not None:
            self.previews.append(preview())
        self.at_step(step)

    def add_notice(self, text: str) -> None:
        self.notices.append(text)

    def raise_if_cancelled(self) -> None:
        pass

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a local model has nothing to sleep for")

    def load_image(self, content_hash: str) -> Image.Image:
        if content_hash not in self.images:
            raise NotFound(f"There is no image {content_hash!r}.")
        return self.images[content_hash].copy()

    def get_api_key(self, name: str) -> str:
        raise AssertionError("a local model has no use for a key")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.stages.append(name)
        yield

    def record_peak_memory(self, bytes_used: int) -> None:
        self.peaks.append(bytes_used)


class FolderCatalog:
    """A catalog of given files, for tests of what is done with them rather than of how they are found."""

    def __init__(self, checkpoints: Mapping[str, Path], others: tuple[WeightFile, ...] = ()) -> None:
        self._files = {name: _make_weight_file(name, path) for name, path in checkpoints.items()}
        self.others = list(others)

    def weights(self) -> tuple[WeightFile, ...]:
        return (*self._files.values(), *self.others)

    def refresh(self) -> None:
        pass

    def models(self) -> tuple[Model, ...]:
        return tuple(_describe(file) for file in self._files.values())

    def checkpoint(self, model_id: str) -> WeightFile:
        if model_id not in self._files:
            raise UnknownModel(f"Model {model_id!r} not found.")
        return self._files[model_id]

    def find(self, kind: WeightKind, name: str) -> WeightFile:
        for file in self.others:
            if (file.kind, file.name) == (kind, name):
                return file
        raise InvalidRequest(f"There is no {kind} {name!r}.")

    def spec(self, weight: WeightFile) -> PipelineSpec:
        classes = ("StableDiffusionXLPipeline",) if weight.family == "sdxl" else ("StableDiffusionPipeline",)
        return PipelineSpec(
            family=weight.family,
            title=weight.family,
            pipeline_classes=classes,
            image_to_image=classes[0].replace("Pipeline", "Img2ImgPipeline"),
            inpaint=classes[0].replace("Pipeline", "InpaintPipeline"),
            detect=lambda header: False,
            describe=_describe,
            load=_load,
            arguments=lambda request, model: {"guidance_scale": request.guidance},
            clip=True,
            control=(sdxl if weight.family == "sdxl" else sd15).PIPELINE.control,
        )


class FakeAnnotators:
    """Annotators that know where things are: `found` is what any words name (mode L), `front` any image's foreground.
    Both are made the image's size. `asked` records the words."""

    def __init__(self, found: Image.Image, front: Image.Image | None = None) -> None:
        self.found, self.front = found, front or found
        self.asked: list[str] = []

    def annotate(self, unit: ControlUnit, image: Image.Image, short_side: int, ctx: JobContext) -> Image.Image:
        return image.convert("L").convert("RGB")

    def find(self, words: str, image: Image.Image, ctx: JobContext) -> Image.Image:
        self.asked.append(words)
        return self.found.resize(image.size, Image.Resampling.NEAREST)

    def check_search(self) -> None: ...

    def find_foreground(self, image: Image.Image, ctx: JobContext) -> Image.Image:
        return self.front.resize(image.size, Image.Resampling.NEAREST)


def make_local_pipelines(
    root: Path, catalog: FolderCatalog, annotators: Annotators | None = None, **changes: Any
) -> tuple[LocalPipelines, Settings]:
    """Local pipelines on the CPU over `catalog`, previews off, and the settings they have."""
    values = {"models_dir": root, "device": "cpu", "previews": False, "accelerator": "none", **changes}
    settings = Settings(**values)
    return LocalPipelines(lambda: settings, catalog, None, annotators), settings  # type: ignore[arg-type]


def estimate_budget_gb(catalog: FolderCatalog, model: str) -> float:
    """A memory limit, in GiB, that leaves room for this checkpoint alone."""
    size = estimate_loaded_bytes(catalog.checkpoint(model), LoadOptions(device="cpu", dtype="float32"))
    return 1.2 * size / 2**30


def make_seeds(*numbers: int, variation: int | None = None) -> list[ImageSeed]:
    return [ImageSeed(seed=number, variation=variation) for number in numbers]


def make_request(model: str = "tiny", **changes: Any) -> GenerationRequest:
    """A quick request."""
    return GenerationRequest(
        **{"model": model, "prompt": "a red apple", "steps": 3, "width": 64, "height": 64, **changes}
    )


def _make_weight_file(name: str, path: Path) -> WeightFile:
    family = "sdxl" if "XL" in (path / "model_index.json").read_text() else "sd15"
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return WeightFile(name=name, kind=WeightKind.CHECKPOINT, path=path, bytes=size, family=family)


def _describe(weight: WeightFile) -> Model:
    return Model(
        id=weight.name,
        title=weight.name.title(),
        family=weight.family,
        sizes=Sizes(liked=((64, 64),)),
        tasks=_parts.TASKS,
        features=_parts.FEATURES,
        sampling=Sampling(steps=3, guidance=4.0, sampler="Euler", combinations=dict(DIFFUSION_SAMPLERS)),
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    import diffusers
    import torch

    pipe = diffusers.DiffusionPipeline.from_pretrained(
        weight.path, local_files_only=True, use_safetensors=True, dtype=getattr(torch, options.dtype)
    )
    return pipe.to(options.device)
