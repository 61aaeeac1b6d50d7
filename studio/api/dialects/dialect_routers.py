"""The routes of all dialects together."""

from __future__ import annotations

from fastapi import APIRouter

from studio.api.dialects.alias_routes import build_alias_router
from studio.api.dialects.automatic1111.router import build_automatic1111_routers
from studio.api.dialects.comfyui.router import build_comfyui_routers
from studio.api.dialects.mcp.endpoint import build_mcp_router
from studio.api.dialects.openai_images.router import build_openai_router
from studio.engine.studio import Studio


def build_dialect_routers(studio: Studio) -> list[APIRouter]:
    """Every route that a program for another studio calls; each answers 404 while its setting is off."""
    return [
        *build_automatic1111_routers(studio),
        build_openai_router(studio),
        build_mcp_router(studio),
        *build_comfyui_routers(studio),
        build_alias_router(studio),
    ]
