"""The seams: what the engine expects of whatever makes images, and what those may expect of the engine.

The engine imports no plug-in and a plug-in imports no engine; both know this file only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from studio.core.chat import TokenUse
from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.merges import MergeRecipe
from studio.core.model import Model
from studio.core.pricing import Estimate, ImageSizes
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.weights import DownloadableWeights, SafetensorsHeader, WeightFile


@dataclass(frozen=True, kw_only=True)
class ImageSeed:
    """The seeds of one image's noise. `variation` is None without a variation; `batch_index` is the image's place in a
    batch that is drawn from one seed."""

    seed: int
    variation: int | None = None
    batch_index: int = 0


class JobContext(Protocol):
    """All that a backend sees of the job it works for."""

    @property
    def settings(self) -> Settings:
        """The settings that the job was submitted with."""
        ...

    @property
    def user(self) -> str:
        """The name of whoever submitted the job."""
        ...

    def report_loading(self, what: str) -> None:
        """Report what is being prepared ("Loading Stable Diffusion 1.5")."""
        ...

    def report_progress(self, step: int, steps: int, preview: Callable[[], Image.Image] | None = None) -> None:
        """`step` of `steps` of the running pass are done; `preview` is called only when a preview is due.

        Raises:
            JobCancelled: the user stopped the job.
            ImageSkipped: the user skipped this pass.
        """
        ...

    def add_notice(self, text: str) -> None:
        """Report a change to the request, and keep it in the recipe."""
        ...

    def raise_if_cancelled(self) -> None:
        """Raises JobCancelled or ImageSkipped as `progress` does."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, and stop waiting the moment the job is cancelled (then raises as `progress` does)."""
        ...

    def load_image(self, content_hash: str) -> Image.Image:
        """An image that the request names: 8-bit L, RGB or RGBA, upright. The caller's own copy.

        Raises:
            NotFound: it is gone.
        """
        ...

    def get_api_key(self, name: str) -> str:
        """The API key of that name ("OPENAI_API_KEY"), for the moment of the call only.

        Raises:
            NotConfigured: it is not set; the message says where to set it.
        """
        ...

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time the enclosed work for the generation log under `name` ("load", "encode", "denoise", "decode")."""
        ...

    def record_peak_memory(self, bytes_used: int) -> None:
        """Report the most memory that this pass took to the generation log."""
        ...


class Backend(Protocol):
    """Something that makes images for its models: all local pipelines are one, every cloud service is one."""

    def models(self) -> Sequence[Model]:
        """List the models now; cheap, called often, from any thread."""
        ...

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        """One pass: an image per entry of `seeds`, in that order; where `outputs_of(request)` is more than one, that
        many for each, one after the other. Called in the model's lane: one call at a time in the GPU lane, several in
        others.

        `request.seed`, `count`, `batch_size`, `batch`, `axes`, `then` and `file` are the engine's business and are not
        looked at here; every other field is, and None means the model's default. Images come from `ctx.image`.

        Raises:
            StudioError: anything the user should read. Foreign exceptions are mapped before they get here.
        """
        ...

    def close(self) -> None:
        """Let go of memory and connections."""
        ...


class NamingBackend(Protocol):
    """A backend with files that requests name: LoRAs, VAEs, upscalers, control networks."""

    def check_names(self, request: GenerationRequest) -> None:
        """Look up every name in `request`; nothing is loaded.

        Raises:
            UnknownModel, InvalidRequest: a name that is not there, or a file that does not go with the model.
        """
        ...


class ParallelBackend(Protocol):
    """A backend that says how many of its jobs run side by side."""

    @property
    def lane_threads(self) -> Mapping[str, int]:
        """The threads of its lanes, by the lane's name."""
        ...


class ComposingBackend(Protocol):
    """A backend that composes images of several that its models generate."""

    def count_generations(self, request: GenerationRequest) -> int:
        """How many images are generated for one image of `request`: as many as there are things that it is composed of,
        else 1. Reads small files at most.

        Raises:
            InvalidRequest: its prompt cannot be read.
        """
        ...


class PricedBackend(Protocol):
    """A backend whose models cost money."""

    def estimate(self, request: GenerationRequest, sizes: ImageSizes) -> Estimate | None:
        """Estimate the cost of `request`, with all its images, as it will be sent; `sizes` are those of the
        images that it names, where they are known; None when it is unknown. Pure."""
        ...


class Annotators(Protocol):
    """The preprocessors, as a running pipeline uses them."""

    def annotate(self, unit: ControlUnit, image: Image.Image, short_side: int, ctx: JobContext) -> Image.Image:
        """The map of `unit.preprocessor` for `image`, its short side near `short_side` px, RGB, of the image's shape.

        Raises:
            InvalidRequest: no such preprocessor. NotConfigured: its weights are not here; the hint says how to get
                them.
        """
        ...

    def find(self, words: str, image: Image.Image, ctx: JobContext) -> Image.Image:
        """A mask (mode L, the image's size, white where it is) of what `words` name in `image`; raises as `annotate`,
        and NothingFound."""
        ...

    def check_search(self) -> None:
        """Raises NotConfigured when `find` cannot work because its weights are not here."""
        ...

    def find_foreground(self, image: Image.Image, ctx: JobContext) -> Image.Image:
        """The opacity (mode L, the image's size) that keeps the foreground of `image`."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How to load a checkpoint: `device` is "cpu", "cuda" or "mps", `dtype` names the torch dtype that is computed in,
    `storage` that of the denoiser's weights where it is another."""

    device: str
    dtype: str
    storage: str = ""

    @property
    def format(self) -> str:
        """The names of both, by which a loaded checkpoint is told from one in another number format."""
        return f"{self.dtype}/{self.storage}" if self.storage else self.dtype


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """One diffusers family, described without weights; one file below studio/pipelines/ defines one as PIPELINE.

    `pipeline_classes` are the `_class_name`s in model_index.json that belong to it; the first is its text-to-image
    class. `image_to_image` names the class of the hires pass and of img2img, `inpaint` that of masked work; a
    checkpoint that does not draw from text is loaded as what it is, and so is one that is given instructions. `detect`
    knows the family's single files by their header. `describe` says what the checkpoint can do, reading nothing but
    small config files. `load` gives the text-to-image pipeline, on the CPU or on `options.device`, with
    `options.dtype`; torch and diffusers are imported inside. `arguments` gives the keyword arguments of the pipeline
    call that are peculiar to the family (guidance under its name there, the maximal text length); prompts, latents,
    steps, size and callbacks are filled in for it. `clip` means that A1111's prompt syntax applies: the family takes
    `prompt_embeds` from CLIP text encoders. `control` says how it takes ControlNets and adapters,
    `add_ons` how its LoRAs, embeddings and VAEs are known.
    """

    family: str
    title: str
    pipeline_classes: tuple[str, ...]
    image_to_image: str
    detect: Callable[[SafetensorsHeader], bool]
    describe: Callable[[WeightFile], Model]
    load: Callable[[WeightFile, LoadOptions], Any]
    arguments: Callable[[GenerationRequest, Model], dict[str, Any]]
    clip: bool = False
    inpaint: str = ""
    control: ControlFacts = ControlFacts()
    add_ons: AddOnFacts = AddOnFacts()


@dataclass(frozen=True, kw_only=True)
class ResidentModel:
    """One checkpoint that is held in memory; `bytes` is measured, `idle` in seconds since its last use. `gains` tells
    how many times as fast OpenVINO was measured to run which of its networks."""

    model: str
    title: str
    bytes: int
    in_use: bool
    idle: float
    gains: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """The device that local models run on, in bytes. `budget` is what resident checkpoints may take."""

    device: str
    total: int
    free: int
    budget: int
    resident: tuple[ResidentModel, ...]


@dataclass(frozen=True, kw_only=True)
class DownloadState:
    """A download from the hub, or with `is_merge` a checkpoint that is made of others. `done` and `total` in bytes,
    `total` 0 while unknown; `error` empty when all is well, also said where it was `cancelled`."""

    repo_id: str
    done: int
    total: int
    finished: bool
    error: str = ""
    cancelled: bool = False
    is_merge: bool = False


class Captioner(Protocol):
    """Networks that write what they see in an image. They are fetched on request, never unasked."""

    @property
    def caption_problem(self) -> str:
        """Why there is no caption to be had now, and what to do; "" when there is."""
        ...

    def write_caption(self, image: Image.Image, ctx: JobContext, is_cancelled: Callable[[], bool]) -> tuple[str, str]:
        """(a caption, the name of the network that wrote it). Runs torch: call it in the GPU lane.

        Raises:
            NotConfigured: no captioner is here; `details` name its downloads. ModelBroken, OutOfMemory, JobCancelled.
        """
        ...


class Chat(Protocol):
    """A language model behind a chat server, asked for prompts. It sees texts only, and never what the studio is."""

    @property
    def model(self) -> str:
        """Its name, "" where there is no chat server."""
        ...

    @property
    def names_model(self) -> bool:
        """Whether the settings name the model; else the server chooses."""
        ...

    @property
    def paid(self) -> bool:
        """Whether a call may cost money: the server is not on this machine or network."""
        ...

    def list_models(self) -> Sequence[str]:
        """The names of the server's models, () where it does not list them. Costs nothing; raises as `stream`."""
        ...

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None,
        is_cancelled: Callable[[], bool],
        on_use: Callable[[TokenUse], None] = lambda use: None,
    ) -> Iterator[str]:
        """The answer piece by piece; "" while nothing new has come. With `schema` the answer should be JSON of that
        shape, as far as the server can do that. `on_use` is called with what the server says it has counted.

        Raises:
            NotConfigured: there is no server, or its key is wrong. LlmTimeout: no answer in time. JobCancelled.
            RateLimited, Unreachable, ProviderError: the server does not answer, or not as a chat server does.
        """
        ...


class ModelStore(Protocol):
    """Management of local models for the Configurations tab. `load` and `unload` run in the GPU lane; the rest from any
    thread."""

    def weights(self) -> Sequence[WeightFile]:
        """All weight files found, usable or not."""
        ...

    def refresh(self) -> None:
        """Look at the folders again."""
        ...

    def get_memory_report(self) -> MemoryReport: ...

    def load(self, model: str, ctx: JobContext) -> None:
        """Make the checkpoint resident."""
        ...

    def warm_up(self, model: str) -> None:
        """Import what a local checkpoint needs and make it resident, in the calling thread; a run that begins meanwhile
        waits for as much of it as it needs. Does nothing for other models and reports no error."""
        ...

    def unload(self, model: str) -> None:
        """Let the checkpoint go; does nothing when it is not resident."""
        ...

    def sha256(self, name: str) -> str:
        """The file's hash, read from a cache when the file did not change."""
        ...

    def read_metadata(self, weight: WeightFile) -> Mapping[str, str]:
        """What the file says of itself, empty where it says nothing.

        Raises:
            ModelBroken: it cannot be read.
        """
        ...

    def download(self, repo_id: str) -> None:
        """Begin to fetch a hub model. Returns at once; `downloads` reports its progress.

        Raises:
            InvalidRequest: not a repo id. NotConfigured: the studio is set to offline. StorageFailed: not enough disk.
        """
        ...

    def list_downloadable_weights(self) -> Sequence[DownloadableWeights]:
        """Weight files that can be fetched and are not here yet."""
        ...

    def fetch(self, weights_id: str) -> None:
        """Begin to fetch weights; `downloads` reports its progress under their id. Raises as `download`."""
        ...

    def merge(self, recipe: MergeRecipe) -> None:
        """Begin to write a checkpoint made of others. Returns at once; `downloads` reports its progress under its name,
        `cancel_download` stops it.

        Raises:
            InvalidRequest: what cannot be merged, or a name that is taken. UnknownModel, ModelBroken: a checkpoint that
                is missing or broken. StorageFailed: not enough disk.
        """
        ...

    def cancel_download(self, repo_id: str) -> None: ...

    def list_downloads(self) -> Sequence[DownloadState]: ...
