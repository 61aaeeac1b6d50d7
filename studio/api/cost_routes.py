"""The routes around cloud services and their money: what each can do, what a request would cost, what was spent."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from studio.api import chain_routes
from studio.api.multipart_forms import MultipartRoute
from studio.api.request_bodies import EditBody
from studio.api.schemas import CreateBody, StrictModel
from studio.api.submit_request import get_caller
from studio.core.rights import Right
from studio.engine.money.cloud_accounts import CloudState
from studio.engine.studio import Studio


class ProviderBody(BaseModel):
    """One cloud service or own server. `locked` says how to unlock it, empty when it is ready; of its key only whether
    it is set, where, and its last characters."""

    id: str
    title: str
    locked: str
    keyName: str  # noqa: N815 - names on the wire are camelCase
    keySet: bool  # noqa: N815
    keyEnds: str  # noqa: N815
    models: list[dict[str, Any]]


class ProviderList(BaseModel):
    providers: list[ProviderBody]


class EstimateBody(StrictModel):
    """A request as for /create, or with `operation` as for /edit; nothing is made."""

    create: CreateBody | None = None
    edit: EditBody | None = None


class CostEstimate(BaseModel):
    """US dollars for all images and steps, null when it is unknown; `seconds` one image took before, null when none
    did."""

    amount: float | None
    currency: str = "USD"
    seconds: float | None
    model: str


class LedgerLine(BaseModel):
    """One day, provider and user."""

    day: str
    provider: str
    user: str
    pictures: int
    estimated: float
    billed: float


class LedgerBody(BaseModel):
    lines: list[LedgerLine]
    currency: str = "USD"


def add_cost_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes among `routes`."""
    forms = APIRouter(route_class=MultipartRoute)

    @routes.get("/providers")
    def list_providers(request: Request) -> ProviderList:
        """Every cloud service: what it can do, whether it is locked; never a key."""
        user = get_caller(request)
        found = studio.clouds.all() if studio.clouds is not None else []
        return ProviderList(
            providers=[_build_provider_body(state, show_end=user.may(Right.SETTINGS)) for state in found]
        )

    @forms.post("/estimate-cost")
    def estimate_cost(request: Request, body: EstimateBody) -> CostEstimate:
        """Estimate the cost of a request."""
        user = get_caller(request)
        edit_or_create = body.edit or body.create or CreateBody(prompt="")
        wanted = chain_routes.build_chained_request(edit_or_create, studio, user)
        named = studio.engine.resolve_request(wanted, user)
        return CostEstimate(
            amount=studio.engine.estimate(wanted, user),
            seconds=studio.engine.estimate_seconds(named),
            model=named.model,
        )

    @routes.get("/ledger")
    def get_ledger(
        request: Request, days: int = Query(default=31, ge=1, le=366), everybody: bool = False
    ) -> LedgerBody:
        """List spending by day and provider: the caller's own, or with `everybody` all users' for those who run the
        studio."""
        user = get_caller(request)
        if everybody:
            user.require(Right.USERS)
        lines = studio.engine.ledger.lines(None if everybody else user.name, days)
        return LedgerBody(
            lines=[
                LedgerLine(
                    day=line.day,
                    provider=line.provider,
                    user=line.user,
                    pictures=line.images,
                    estimated=line.estimated,
                    billed=line.billed,
                )
                for line in lines
            ]
        )

    routes.include_router(forms)


def _build_provider_body(state: CloudState, *, show_end: bool) -> ProviderBody:
    key = state.key
    return ProviderBody(
        id=state.id,
        title=state.title,
        locked=state.locked,
        keyName=key.name if key else "",
        keySet=bool(key and key.where),
        keyEnds=key.ends if key and show_end else "",
        models=[
            {
                "id": model.id,
                "title": model.title,
                "tasks": sorted(model.tasks),
                "features": sorted(model.features),
                "quality": model.quality,
            }
            for model in state.models
        ],
    )
