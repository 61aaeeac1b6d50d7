"""The cloud services as page and HTTP see them: locked or not, their keys by their last characters, and a check that
costs nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from studio.core.errors import NotFound, StudioError
from studio.core.model import Model
from studio.core.ports import JobContext
from studio.core.provider import ProviderSpec
from studio.core.settings import Settings
from studio.engine.jobs.job_context import LaneContext
from studio.engine.money.keys import KeyState, KeyStore

_log = logging.getLogger(__name__)


class CloudService(Protocol):
    """Calls to a service other than drawing."""

    @property
    def spec(self) -> ProviderSpec: ...

    @property
    def locked(self) -> str: ...

    def models(self) -> Sequence[Model]: ...

    def check(self, ctx: JobContext) -> str: ...

    def refresh_models(self, ctx: JobContext) -> None: ...


@dataclass(frozen=True, kw_only=True)
class CloudState:
    """One service. `locked` says how to unlock it, "" when it is ready; `missing` is what it waits for, "key" or
    "address". `key` never holds the key itself."""

    id: str
    title: str
    site: str
    locked: str
    key: KeyState | None
    models: tuple[Model, ...]
    missing: str = ""


class CloudAccounts:
    """All services and their keys."""

    def __init__(self, services: Sequence[CloudService], keys: KeyStore, settings: Callable[[], Settings]) -> None:
        self._services = {service.spec.id: service for service in services}
        self._keys = keys
        self._settings = settings

    def all(self) -> list[CloudState]:
        """Every service, in the order of the list of models."""
        return [self._build_state(service) for service in self._services.values()]

    def set_key(self, service_id: str, value: str) -> CloudState:
        """Keep the service's key.

        Raises:
            NotFound: no such service, or one that takes no key. InvalidRequest: no key of anybody.
        """
        service = self._find(service_id)
        self._keys.set(_get_key_name(service), value)
        return self._build_state(service)

    def remove_key(self, service_id: str) -> CloudState:
        """Forget the service's key, but for one in the environment; raises NotFound as `set_key`."""
        service = self._find(service_id)
        self._keys.remove(_get_key_name(service))
        return self._build_state(service)

    def check(self, service_id: str) -> str:
        """Ask the service something that costs nothing; a sentence for the user. May take seconds.

        Raises:
            NotFound: no such service. StudioError: the key is wrong, or the service cannot be reached.
        """
        return self._find(service_id).check(LaneContext(self._settings()))

    def refresh_models(self) -> None:
        """Ask servers of one's own for their models again. May take seconds; one that does not answer keeps those that
        it had."""
        for service in self._services.values():
            try:
                service.refresh_models(LaneContext(self._settings()))
            except StudioError as error:
                _log.info("the models of %s are not known: %s", service.spec.title, error.message)

    def _find(self, service_id: str) -> CloudService:
        if service_id not in self._services:
            raise NotFound(
                f"There is no provider {service_id[:60]!r}.", hint="There are: " + ", ".join(self._services) + "."
            )
        return self._services[service_id]

    def _build_state(self, service: CloudService) -> CloudState:
        spec = service.spec
        states = [self._keys.get_state(name) for name in spec.keys]
        known = next((state for state in states if state.where), states[0] if states else None)
        has_key = spec.key_optional or (known is not None and bool(known.where))
        return CloudState(
            id=spec.id,
            title=spec.title,
            site=spec.site,
            locked=service.locked,
            key=known,
            models=tuple(service.models()),
            missing=("address" if has_key else "key") if service.locked else "",
        )


def _get_key_name(service: CloudService) -> str:
    if not service.spec.keys:
        raise NotFound(f"{service.spec.title} does not use a key.", hint="Set its address in the settings instead.")
    return service.spec.keys[0]
