"""The routes that make a checkpoint of others: begin a merge, see how far it is, stop it."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from studio.api.rights import needs
from studio.api.schemas import StrictModel
from studio.api.submit_request import get_caller
from studio.core.errors import NotFound
from studio.core.events import Status
from studio.core.merges import MergeMethod, MergePrecision, MergeRecipe
from studio.core.ports import DownloadState
from studio.core.rights import Right
from studio.engine.studio import Studio

Method = Literal["weighted_sum", "add_difference"]
NumberFormat = Literal["same", "float16", "bfloat16", "float32"]

_METHODS = MappingProxyType(
    {"weighted_sum": MergeMethod.WEIGHTED, "add_difference": MergeMethod.DIFFERENCE},
)
_FORMATS = MappingProxyType(
    {
        "same": MergePrecision.SAME,
        "float16": MergePrecision.F16,
        "bfloat16": MergePrecision.BF16,
        "float32": MergePrecision.F32,
    }
)


class MergeBody(StrictModel):
    """What is merged: the names of checkpoints as `GET /models` has them, and how much of each."""

    name: str = Field(max_length=120, description="of the new checkpoint")
    first: str = Field(max_length=300)
    second: str = Field(max_length=300)
    third: str = Field(default="", max_length=300, description="what `second` was made from, for add_difference")
    method: Method = "weighted_sum"
    amount: float = Field(default=0.5, ge=0, le=2, description="of `second`, to 1; of a difference to 2")
    blocks: str = Field(default="", max_length=2000, description='amounts of single blocks: "IN00-IN05: 0.2, M00: 0.5"')
    format: NumberFormat = "float16"

    def build_recipe(self) -> MergeRecipe:
        return MergeRecipe(
            name=self.name.strip(),
            first=self.first,
            second=self.second,
            third=self.third,
            method=_METHODS[self.method],
            amount=self.amount,
            blocks=self.blocks,
            precision=_FORMATS[self.format],
        )


class MergeState(BaseModel):
    """How far a merge is; `done` and `total` in bytes."""

    name: str
    status: Status
    progress: float = Field(ge=0, le=1)
    done: int
    total: int
    error: str

    @classmethod
    def make(cls, state: DownloadState) -> MergeState:
        ended = Status.CANCELLED if state.cancelled else Status.FAILED if state.error else Status.FINISHED
        return cls(
            name=state.repo_id,
            status=ended if state.finished else Status.RUNNING,
            progress=min(1.0, state.done / state.total) if state.total else 0.0,
            done=state.done,
            total=state.total,
            error=state.error,
        )


class MergeList(BaseModel):
    merges: list[MergeState]


def add_merge_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes of merges among `routes`. They belong to the studio, not to a user: so they are for those who may
    change models."""
    for_administrators = [needs(Right.SETTINGS)]

    def find_merge(name: str) -> MergeState:
        for state in studio.store.list_downloads():
            if state.is_merge and state.repo_id == name:
                return MergeState.make(state)
        raise NotFound("No merge of that name since the studio was started.", hint="Look at GET /merges.")

    @routes.get("/merges", dependencies=for_administrators)
    def list_merges(request: Request) -> MergeList:
        """All merges since the studio was started, the newest last."""
        get_caller(request)
        return MergeList(merges=[MergeState.make(one) for one in studio.store.list_downloads() if one.is_merge])

    @routes.post("/merges", status_code=202, dependencies=for_administrators)
    def begin_merge(request: Request, body: MergeBody) -> MergeState:
        """Make a checkpoint of two or three others. Answers at once; `GET /merges/{name}` tells how far it is."""
        get_caller(request)
        recipe = body.build_recipe()
        studio.store.merge(recipe)
        return find_merge(recipe.name)

    @routes.get("/merges/{name}", dependencies=for_administrators)
    def get_merge(request: Request, name: str) -> MergeState:
        """How far a merge is."""
        get_caller(request)
        return find_merge(name)

    @routes.delete("/merges/{name}", dependencies=for_administrators)
    def stop_merge(request: Request, name: str) -> MergeState:
        """Stop a merge at its next tensor. Nothing of it stays; one that is finished keeps its file."""
        get_caller(request)
        find_merge(name)
        studio.store.cancel_download(name)
        return find_merge(name)
