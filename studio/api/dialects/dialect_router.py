"""The routes of all dialects together."""

from __future__ import annotations

from fastapi import APIRouter

from studio.api.dialects.alias_routes import build_alias_router
from studio.api.dialects.automatic1111.router import build_automatic1111_router
from studio.api.dialects.comfyui.router import build_comfyui_router
from studio.api.dialects.mcp.endpoint import build_mcp_router
from studio.api.dialects.openai_images.router import build_openai_router
from studio.engine.studio import Studio


def build_dialect_router(studio: Studio) -> APIRouter:
    """Every route that a program for another studio calls; each answers 404 while its setting is off."""
    routes = APIRouter(include_in_schema=False)
    routes.include_router(build_automatic1111_router(studio))
    routes.include_router(build_openai_router(studio))
    routes.include_router(build_mcp_router(studio))
    routes.include_router(build_comfyui_router(studio))
    routes.include_router(build_alias_router(studio))
    return routes
