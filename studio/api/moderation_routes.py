"""Images that moderation holds back: why, what their users say against it, and their release."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from studio.api.responses import CONTENT_TYPES, PREFIX, build_image_info
from studio.api.rights import needs
from studio.api.schemas import ImageInfo
from studio.api.submit_request import NO_STORE, get_caller
from studio.core.errors import NotFound
from studio.core.rights import Right
from studio.core.text_checks import check_text
from studio.engine.audit import AuditEvent
from studio.engine.studio import Studio
from studio.library.held_images import HeldImage

MAX_APPEAL_LENGTH = 2000  # characters


class HeldImageBody(BaseModel):
    """An image that is held back; `verdict` says what which filter found, `appeal` what its user says against it."""

    id: str
    user: str
    created: float
    verdict: dict[str, Any]
    appeal: str
    thumbnail: str


class HeldImageList(BaseModel):
    images: list[HeldImageBody]


class AppealBody(BaseModel):
    """Why an image should be released."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=MAX_APPEAL_LENGTH)


def add_moderation_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes among `routes`."""
    engine = studio.engine

    def describe(image: HeldImage) -> HeldImageBody:
        root = studio.settings.current.root_path
        return HeldImageBody(
            id=image.asset,
            user=image.user,
            created=image.created,
            verdict=image.verdict,
            appeal=image.appeal,
            thumbnail=f"{root}{PREFIX}/assets/{image.asset}/thumbnail",
        )

    @routes.get("/moderation/held")
    def list_held_images(request: Request, everybody: bool = False) -> HeldImageList:
        """The caller's images that are held back, or with `everybody` those of all users, appeals first."""
        user = get_caller(request)
        if everybody:
            user.require(Right.RELEASE)
        found = engine.held.list_all(None if everybody else user.name)
        return HeldImageList(images=[describe(image) for image in found])

    @routes.post("/moderation/held/{asset_id}/appeal")
    def appeal(request: Request, asset_id: str, body: AppealBody) -> HeldImageBody:
        """Ask for the release of an own image."""
        user = get_caller(request)
        engine.held.note_appeal(asset_id, user.name, check_text(body.text.strip(), "The appeal"))
        engine.audit.record(AuditEvent.APPEAL, user.name, asset=asset_id)
        return describe(engine.held.find(asset_id, user.name))

    @routes.get(
        "/moderation/held/{asset_id}/original",
        response_class=FileResponse,
        dependencies=[needs(Right.RELEASE)],
        responses={200: {"content": {"image/*": {}}}},
    )
    def get_original(asset_id: str) -> FileResponse:
        """The original of a held image, for those who decide."""
        image = engine.held.find(asset_id)
        path = engine.held.get_original(image)
        if not path.is_file():
            raise NotFound("The original image is gone.", hint="It may have been deleted by hand.")
        return FileResponse(path, media_type=CONTENT_TYPES[image.ending], headers=NO_STORE)

    @routes.post("/moderation/held/{asset_id}/release", dependencies=[needs(Right.RELEASE)])
    def release_image(request: Request, asset_id: str) -> ImageInfo:
        """Show a held image as it is from now on."""
        return build_image_info(engine.release(asset_id, get_caller(request)), studio.settings.current.root_path)
