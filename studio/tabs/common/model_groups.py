"""The models that a form can choose from, in groups: those on this computer, the automatic choices, each service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from studio.api.rights import needs
from studio.core.model import Model
from studio.core.operations import find_operation
from studio.core.rights import Right
from studio.core.task import Task
from studio.engine.studio import Studio
from studio.tabs.common.model_selection import AUTOMATIC_MODELS

LOCAL_TITLE = "On this computer"
AUTOMATIC_TITLE = "Chosen automatically"


@dataclass(frozen=True, kw_only=True)
class ModelGroup:
    """Models under one title. `state` says why none of them can be used yet, such as "no key", and is "" else."""

    title: str
    models: Sequence[Model]
    state: str = ""
    local: bool = False

    def to_json(self) -> dict[str, Any]:
        models = [
            {"id": model.id, "title": model.title, "state": self.state or ("unavailable" if model.problem else "")}
            for model in self.models
        ]
        return {"title": self.title, "state": self.state, "local": self.local, "models": models}


def build_groups_router(studio: Studio) -> APIRouter:
    """The route of the page's list of models."""
    router = APIRouter(prefix="/page", include_in_schema=False, dependencies=[needs(Right.USE)])

    @router.get("/models")
    def get_models(request: Request, mode: str = "", operation: str = "") -> list[dict[str, Any]]:
        """The groups for a form; one with operations names its mode and operation."""
        task = find_operation(mode, operation).task if mode else Task.TXT2IMG
        return [group.to_json() for group in list_model_groups(studio, task)]

    return router


def list_model_groups(studio: Studio, task: Task) -> list[ModelGroup]:
    """The models for `task`: local ones first, then the automatic choices, then services, those with a key first."""
    models = studio.engine.models(task)
    services = {state.id: state for state in studio.clouds.all()} if studio.clouds is not None else {}
    local = [model for model in models if model.lane not in services]
    groups = [ModelGroup(title=LOCAL_TITLE, models=sorted(local, key=lambda model: bool(model.problem)), local=True)]
    if task.is_generative and models:
        groups.append(ModelGroup(title=AUTOMATIC_TITLE, models=AUTOMATIC_MODELS))
    clouds: list[ModelGroup] = []
    for service in services.values():
        own = [model for model in models if model.lane == service.id]
        state = f"no {service.missing}" if service.locked else ""
        clouds.append(ModelGroup(title=service.title, models=own, state=state))
    return [group for group in (*groups, *sorted(clouds, key=lambda one: bool(one.state))) if group.models]
