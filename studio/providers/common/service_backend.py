"""One cloud service as a backend of the engine: its models in the list, its prices, its calls."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from studio.core.errors import MAY_BE_BILLED, ProviderError, StudioError, UnknownModel
from studio.core.image_fields import list_image_hashes
from studio.core.model import Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.pricing import Estimate, ImageSizes
from studio.core.provider import CloudModel, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.secrets_filter import redact, remember_secret
from studio.providers.common.address_pool import AddressPool, may_other_servers_do_better, split_addresses
from studio.providers.common.http_wire import HttpWire
from studio.providers.common.kept_state import OpenOrders, ServerModelNames

if TYPE_CHECKING:
    import requests


MAX_ADDRESSES_TRIED = 3  # for one pass


class KeySource(Protocol):
    """The API keys, as a service uses them."""

    def is_set(self, *names: str) -> bool: ...

    def get(self, name: str) -> str: ...


class Service:
    """A Backend, and Priced, over one ProviderSpec. Connections are pooled and kept for all jobs. Thread-safe."""

    def __init__(
        self, spec: ProviderSpec, keys: KeySource, base_url: Callable[[], str], folder: Path | None = None
    ) -> None:
        """`base_url` gives the address in force, "" for the spec's own. In `folder` is kept what has to outlive the
        process: the names of a server's own models, and orders whose end is not known."""
        self.spec = spec
        self._keys = keys
        self._base_url = base_url
        self._lock = threading.Lock()
        self._session: requests.Session | None = None
        self._names = ServerModelNames(folder and folder / f"models-{spec.id}.json")
        self._orders = OpenOrders(folder and folder / f"orders-{spec.id}.json")
        self._pool = AddressPool()
        self._endings: Mapping[str, str] = {}  # last days of models, as the service reports them

    @property
    def locked(self) -> str:
        """How to unlock the service, "" when it is ready."""
        spec = self.spec
        if not spec.key_optional and not self._keys.is_set(*spec.keys):
            return (
                f"it needs a key of {spec.title} ({spec.site}). Enter it in Configurations under “Cloud providers”, or"
                f" set {spec.keys[0]} in the environment."
            )
        return (
            ""
            if self._resolve_base_url()
            else f"it has no address. Enter one in Configurations, or set {spec.base_env} in the environment."
        )

    def models(self) -> Sequence[Model]:
        """All models with what is known now: locked or not, and the day on which the service ends one."""
        locked = self.locked
        return [
            dataclasses.replace(one.model, problem=one.model.problem or locked, note=self._build_note(one))
            for one in self._list_cloud_models()
        ]

    def estimate(self, request: GenerationRequest, sizes: ImageSizes = MappingProxyType({})) -> Estimate | None:
        """See Priced."""
        one = self._find_cloud_model(request.model)
        amount = one.price(request, sizes)
        return None if amount is None else Estimate(amount=amount, exact=False, source=one.source, date=one.date)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        one = self._find_cloud_model(request.model)
        ctx.report_loading(f"Waiting for {self.spec.title}")
        order = RenderRequest(
            model=one.name,
            request=request,
            seeds=tuple(seeds),
            context=ctx,
            images={name: ctx.load_image(name) for name in list_image_hashes(request)},
        )
        with ctx.phase("service"), self._clean_errors():
            return self._draw_somewhere(order, ctx)

    def _draw_somewhere(self, order: RenderRequest, ctx: JobContext) -> list[RenderedImage]:
        """The images of one of the service's servers; of another where one is gone, busy or broken, which costs
        nothing. None is asked again while there are others."""
        addresses, tried = self._list_addresses() or [""], set[str]()
        left = min(len(addresses), MAX_ADDRESSES_TRIED)
        while True:
            left -= 1
            try:
                with self._pool.lease(addresses, tried) as address:
                    tried.add(address)
                    wire = self.wire(ctx, address, repeats=left == 0)
                    return wire.attach_originals(self.spec.draw(order, wire))
            except ProviderError as error:
                if left == 0 or not may_other_servers_do_better(error):
                    raise
            ctx.report_loading(f"Waiting for another server of {self.spec.title}")

    def check(self, ctx: JobContext) -> str:
        """Ask the service something that costs nothing, and when its models end; returns a sentence for the user.

        Raises:
            StudioError: the key is wrong, or the service cannot be reached.
        """
        with self._clean_errors():
            wire = self.wire(ctx)
            if self.spec.endings is not None:
                self._endings = dict(self.spec.endings(wire))
            self._fetch_names(wire)
            return redact(self.spec.check(wire))

    def refresh_models(self, ctx: JobContext) -> None:
        """Ask a server of one's own for its models again; raises StudioError as `check`."""
        if self.spec.list_names is not None and not self.locked:
            with self._clean_errors():
                self._fetch_names(self.wire(ctx))

    def wire(self, ctx: JobContext, address: str = "", *, repeats: bool = True) -> HttpWire:
        """The way to the service for one job, at its first address or at `address`; `repeats` when what fails is tried
        there again. Raises NotConfigured without a key."""
        base_url = address or self._resolve_base_url()
        wire = HttpWire(self.spec, base_url, self._read_key(), self._get_session(), ctx)
        wire.orders = self._orders
        wire.repeats = repeats
        return wire

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _resolve_base_url(self) -> str:
        return next(iter(self._list_addresses()), "")

    def _list_addresses(self) -> list[str]:
        """The addresses in force: of servers of one's own there may be several."""
        text = self._base_url() or self.spec.base_url
        return split_addresses(text) if self.spec.free else [text] if text else []

    def _read_key(self) -> str:
        names = self.spec.keys
        name = next((name for name in names if self._keys.is_set(name)), None)
        key = "" if name is None and self.spec.key_optional else self._keys.get(name or names[0])
        remember_secret(key)
        return key

    def _fetch_names(self, wire: HttpWire) -> None:
        if self.spec.list_names is not None:
            names = self.spec.list_names(wire)
            self._names.put(wire.base_url, [name for name in names if redact(name) == name])

    def _list_cloud_models(self) -> Sequence[CloudModel]:
        """The models that are known beforehand, and those that the server has of its own."""
        known, build = self.spec.models(), self.spec.build_model
        if build is None:
            return known
        taken = {one.name for one in known}
        own = self._names.get(self._resolve_base_url().rstrip("/"))
        return [*known, *(build(name) for name in dict.fromkeys(own) if name and name not in taken)]

    @contextlib.contextmanager
    def _clean_errors(self) -> Generator[None]:
        """Errors of the enclosed work hold no key, and where nothing costs money none says that it may be billed."""
        try:
            yield
        except StudioError as error:
            error.message, error.hint = redact(error.message), redact(error.hint)
            error.args = (error.message,)
            error.__cause__ = error.__context__ = None  # what a vendor's client raised may hold the key
            for name, value in error.details.items():
                error.details[name] = redact(value) if isinstance(value, str) else value
            if self.spec.free:
                error.details.pop(MAY_BE_BILLED, None)
            raise

    def _build_note(self, one: CloudModel) -> str:
        ends = self._endings.get(one.name) or one.ends
        ending = f"{self.spec.title} will retire it on {ends}." if ends else ""
        return f"{one.model.note} {ending}".strip()

    def _find_cloud_model(self, model_id: str) -> CloudModel:
        for one in self._list_cloud_models():
            if one.model.id == model_id:
                return one
        raise UnknownModel(f"{self.spec.title} has no model {model_id!r}.", hint="Pick one from the list.")

    def _get_session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter

        with self._lock:
            if self._session is None:
                self._session = requests.Session()
                self._session.trust_env = True
                for scheme in ("https://", "http://"):
                    self._session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=8))
            return self._session
