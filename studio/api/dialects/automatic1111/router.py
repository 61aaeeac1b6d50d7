"""All routes of the dialect, and the header that each of its answers carries."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.dialects.automatic1111.controlnet_routes import add_controlnet_routes
from studio.api.dialects.automatic1111.extras_routes import add_extras_routes, add_reading_routes
from studio.api.dialects.automatic1111.generation_routes import GenerationRoutes
from studio.api.dialects.automatic1111.list_routes import add_list_routes, add_option_routes, add_program_routes
from studio.api.dialects.automatic1111.options import UserOptions
from studio.api.dialects.automatic1111.progress_routes import ProgressRoutes
from studio.api.dialects.automatic1111.user_jobs import UserJobs
from studio.api.dialects.dialect_jobs import DialectJobs, require_dialect
from studio.api.dialects.dialect_paths import Dialect, find_dialect
from studio.engine.studio import Studio


def build_automatic1111_routers(studio: Studio) -> list[APIRouter]:
    """The routes below /sdapi/v1, /internal and /controlnet."""
    enabled = require_dialect(studio, Dialect.AUTOMATIC1111)
    jobs, user_jobs = DialectJobs(studio), UserJobs()
    user_options = UserOptions(studio.settings.folder / "automatic1111.json")
    api = APIRouter(prefix="/sdapi/v1", include_in_schema=False, dependencies=enabled)
    progress = ProgressRoutes(studio, user_jobs)
    GenerationRoutes(jobs, user_options, user_jobs).add_to(api)
    progress.add_to(api)
    add_extras_routes(api, jobs)
    add_reading_routes(api, studio)
    add_list_routes(api, studio)
    add_program_routes(api, studio, user_options)
    add_option_routes(api, studio, user_options)
    internal = APIRouter(prefix="/internal", include_in_schema=False, dependencies=enabled)
    progress.add_internal_to(internal)
    controlnet = APIRouter(prefix="/controlnet", include_in_schema=False, dependencies=enabled)
    add_controlnet_routes(controlnet, studio, jobs)
    return [api, internal, controlnet]


class ProcessTimeMiddleware:
    """Puts the header X-Process-Time, in seconds, on the dialect's answers, as AUTOMATIC1111 does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or find_dialect(scope["path"]) is not Dialect.AUTOMATIC1111:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_with_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Process-Time"] = f"{time.perf_counter() - began:.4f}"
            await send(message)

        await self._app(scope, receive, send_with_time)
