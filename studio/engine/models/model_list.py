"""All models of all backends under one roof."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from studio.core.errors import UnknownModel
from studio.core.model import Model
from studio.core.ports import Backend
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import is_same_name


class Models:
    """Finds models and the backends that run them."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(backends)
        self._held = threading.local()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Within the block this thread sees the models as they are at its begin. A list takes a millisecond, for it
        looks at keys, packages and files."""
        if self._get_held() is not None:
            yield
            return
        self._held.models = self._list()
        try:
            yield
        finally:
            self._held.models = None

    def all(self) -> tuple[Model, ...]:
        """Every model of every backend, as it is now."""
        return tuple(model for _, model in self._get_held() or self._list())

    def find(self, model_id: str) -> tuple[Backend, Model]:
        """The model of that id and the backend that runs it.

        Raises:
            UnknownModel: with the names that come near.
        """
        listed = self._get_held() or self._list()
        ids = [model.id for _, model in listed]
        known = _complete_name(model_id, ids)
        for backend, model in listed:
            if model.id == known:
                return backend, model
        near = difflib.get_close_matches(model_id, ids, n=3) or ids[:5]
        raise UnknownModel(
            f"Model “{model_id}” not found.",
            hint=f"Did you mean: {', '.join(near)}?" if near else "Put a model into the models folder first.",
            details={"model": model_id},
        )

    def complete_name(self, name: str) -> str:
        """The id of the one model that `name` can mean, its folder left out or its ending added; else `name`."""
        return _complete_name(name, [model.id for model in self.all()]) if name else name

    def default(self, preferred: str, task: Task = Task.TXT2IMG) -> Model:
        """The model called `preferred` when it does `task`, or the first local one that can be used for it.

        Raises:
            UnknownModel: there is none at all.
        """
        models = [model for model in self.all() if task in model.tasks]
        usable = [model for model in models if not model.problem and not model.paid]
        for model in [*(m for m in models if m.id == preferred), *usable, *models]:
            return model
        raise UnknownModel(
            f"No model for {task.value.replace('_', ' ')}."
            if models or task is not Task.TXT2IMG
            else "No usable model found.",
            hint="Put a suitable model into the models folder, or enter a provider's key in Configurations.",
        )

    def count_generations(self, request: GenerationRequest, fallback: str = "") -> int:
        """How many images are generated for one image of `request`: more than one where that is composed of several
        things. Where its model is not there or broken, the one called `fallback` generates it; 1 without one.

        Raises:
            InvalidRequest: its prompt cannot be read.
        """
        if not request.compose:
            return 1
        try:
            backend, model = self.find(request.model)
            is_usable = not model.problem
        except UnknownModel:
            backend, is_usable = None, False
        if not is_usable:
            return self.count_generations(request.replace(model=fallback)) if fallback else 1
        count: Callable[[GenerationRequest], int] | None = getattr(backend, "count_generations", None)
        return 1 if count is None else count(request)

    def collect_lane_threads(self) -> dict[str, int]:
        """How many jobs run side by side in lanes of which their backends say so."""
        found: dict[str, int] = {}
        for backend in self._backends:
            found |= getattr(backend, "lane_threads", {})
        return found

    def close(self) -> None:
        """Close every backend."""
        for backend in self._backends:
            backend.close()

    def _get_held(self) -> tuple[tuple[Backend, Model], ...] | None:
        return getattr(self._held, "models", None)

    def _list(self) -> tuple[tuple[Backend, Model], ...]:
        return tuple((backend, model) for backend in self._backends for model in backend.models())


def _complete_name(name: str, ids: Sequence[str]) -> str:
    if name in ids:
        return name
    alike = [known for known in ids if is_same_name(known, name)]
    return alike[0] if len(alike) == 1 else name
