"""Provider specs: one file below studio/providers/ defines one as PROVIDER."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from PIL import Image

from studio.core.model import Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.pricing import ImageSizes
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """One HTTP call, ready but for the key and the host. `files` are (name, (file name, bytes, media type)); with them,
    or with `form`, the body is multipart. `paid` means that the service may bill it, so that it is not sent twice
    unasked; `seconds` is how long the answer may take."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    json: Any = None
    form: Mapping[str, str] | None = None
    files: Sequence[tuple[str, tuple[str, bytes, str]]] = ()
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    paid: bool = True
    seconds: float = 180.0


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """A response: the status is one that the caller said it understands. `paid` means that the service may have
    billed the call."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    paid: bool = True

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is none, or nested too deep to be read.
        """
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("JSON that is nested too deep") from error


@dataclass(frozen=True)
class KeptOrder:
    """An order whose end is not known: the service's answer when it took the order, and when that was (seconds since
    the epoch)."""

    task: Mapping[str, Any]
    taken: float


class OrderBook(Protocol):
    """The orders that a service has taken and whose end is not known, by what was ordered."""

    def get(self, key: str) -> KeptOrder | None:
        """The order to take up again, None where there is none."""
        ...

    def follow(self, key: str, task: Mapping[str, Any]) -> AbstractContextManager[list[bool]]:
        """Keep the order while the block follows it, and longer where the block puts something into the list that it
        is given: its end is not known then."""
        ...


class ProviderClient(Protocol):
    """The way to one service for one job: pooled connections, the key, errors in the studio's words, and an ear for
    cancel."""

    def send(self, call: HttpRequest, *, understood: Sequence[int] = (200,)) -> HttpResponse:
        """Send `call`, again where that is safe for billing.

        Raises:
            StudioError: of the kind that the service's answer means; JobCancelled when the user stopped the job.
        """
        ...

    def send_last(self, call: HttpRequest) -> HttpResponse | None:
        """Send `call` once though the user stopped the job, to take back what was ordered; None where that failed."""
        ...

    def call_with_retry(self, once: Callable[[], T]) -> T:
        """The result of `once`, retried after RateLimited and Unreachable where nothing can have been billed."""
        ...

    def download(self, url: str) -> Image.Image:
        """The image at `url`, which must be on a host that the service uses; checked, decoded and without metadata."""
        ...

    def decode_image(self, data: bytes) -> Image.Image:
        """The image in an answer, through the studio's gate."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait between two polls; raises JobCancelled when the user stopped the job."""
        ...

    @property
    def base_url(self) -> str:
        """The service's base address, without a slash at the end; for a vendor's own client."""
        ...

    @property
    def key(self) -> str:
        """The key, "" for a server that needs none; for a vendor's own client, and for nothing else."""
        ...

    @property
    def orders(self) -> OrderBook:
        """The orders whose end is not known."""
        ...

    @property
    def free(self) -> bool:
        """Whether nothing costs money there."""
        ...

    def run(self, work: Callable[[], T], *, seconds: float, paid: bool = True) -> T:
        """Run a blocking call of a vendor's own client beside this thread, which hears cancel meanwhile. The call
        itself goes on then, and what it brings is dropped. What it raises is raised here.

        Raises:
            Unreachable: no answer within `seconds`. JobCancelled: the user stopped the job.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RenderRequest:
    """The request of one pass to a service: `model` is the service's own name of it; `request` contains everything
    but the seeds. `images` are the images that the request names, by content hash."""

    model: str
    request: GenerationRequest
    seeds: tuple[ImageSeed, ...]
    images: Mapping[str, Image.Image]
    context: JobContext


@dataclass(frozen=True, kw_only=True)
class CloudModel:
    """One model of a service. `name` is the service's name of it; `model` what the studio's list shows (its id is
    "provider/name"). `price` gives US dollars for a whole request as it is sent, by the sizes of its images where they
    are known, None where it is unknown; `source` and `date` say where it was read. `ends` is the day it is shut down
    (YYYY-MM-DD), "" while none is known."""

    name: str
    model: Model
    price: Callable[[GenerationRequest, ImageSizes], float | None]
    source: str = ""
    date: str = ""
    ends: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderSpec:
    """A cloud service, or a kind of own server.

    With `free` nothing costs money there, so that what failed may be asked for again.
    `keys` are the environment variables that its key may stand in, the first one preferred; with `key_optional` it may
    do without. `base_url` is where it lives; the environment variable `base_env` and the setting of that name move it.
    `hosts` are the names (or ".suffix") that results are downloaded from. `models` gives its models, `draw` makes the
    images of an order, one per seed, `check` asks something that costs nothing and returns a sentence for the user.
    `header` puts a key into headers. `fault` gives the error that an answer of the service means. `endings` asks, at no
    cost, on which day (YYYY-MM-DD) the service shuts its models down, by its own names of them; None where it does not
    tell. `list_names` asks a server for the names of its own models, `build_model` makes one of such a name; None where
    the models are known beforehand.
    """

    id: str
    title: str
    keys: tuple[str, ...]
    site: str
    base_url: str
    base_env: str
    key_optional: bool = False
    free: bool = False
    hosts: tuple[str, ...] = ()
    models: Callable[[], Sequence[CloudModel]]
    draw: Callable[[RenderRequest, ProviderClient], list[RenderedImage]]
    check: Callable[[ProviderClient], str]
    header: Callable[[str], Mapping[str, str]]
    fault: Callable[[HttpResponse], Exception]
    endings: Callable[[ProviderClient], Mapping[str, str]] | None = None
    list_names: Callable[[ProviderClient], Sequence[str]] | None = None
    build_model: Callable[[str], CloudModel] | None = None
