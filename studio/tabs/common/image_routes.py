"""The image files that the page shows by address, and the one way in for images that a form works on."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, UploadFile
from fastapi.responses import FileResponse

from studio.api.rights import needs
from studio.core.errors import InvalidRequest
from studio.core.image_gate import ImageLimits, open_image
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.storage.inputs import KeptImage
from studio.engine.studio import Studio
from studio.tabs.common import mask_layers
from studio.tabs.common.restore_settings import read_image_settings, write_settings

PRIVATE_CACHE = {"Cache-Control": "private, max-age=3600"}


def build_page_router(studio: Studio) -> APIRouter:
    """The routes below /page; every one serves its caller's own images alone."""
    router = APIRouter(prefix="/page", include_in_schema=False, dependencies=[needs(Right.USE)])
    engine = studio.engine

    def get_caller(request: Request) -> User:
        return request.scope["user"]

    @router.get("/thumbs/{asset_id}")
    def get_thumbnail(asset_id: str, request: Request) -> FileResponse:
        return FileResponse(engine.get_thumbnail(asset_id, get_caller(request)), headers=PRIVATE_CACHE)

    @router.get("/previews/{job_id}")
    def get_preview(job_id: str, request: Request) -> Response:
        """The image as it forms; nothing (204) once the job has ended, which a page that is a moment behind need not be
        reported loudly."""
        path = engine.job(job_id, get_caller(request)).snapshot.preview
        if path is None or not path.is_file():
            return Response(status_code=204)
        return FileResponse(path, headers={"Cache-Control": "no-store"})

    @router.get("/pictures/{content_hash}")
    def get_image(content_hash: str, request: Request) -> FileResponse:
        return FileResponse(
            engine.get_kept_file(content_hash, get_caller(request)), media_type="image/png", headers=PRIVATE_CACHE
        )

    @router.post("/pictures")
    def keep_image(
        request: Request, file: UploadFile | None = None, asset: str = "", mask_of: str = "", paint_on: str = ""
    ) -> dict[str, object]:
        """Keep an image: the file, or the result `asset`. The file may be a mask of, or paint on, an image kept
        before."""
        user = get_caller(request)
        if asset:
            return _describe_image(engine.keep_asset(asset, user))
        if file is None:
            raise InvalidRequest("The request contains no image.", hint="Send one as “file”.")
        data = file.file.read()
        if not (mask_of or paint_on):
            return _describe_image(engine.keep_image(data, user))
        below = engine.get_input(mask_of or paint_on, user)
        image = open_image(data, limits=ImageLimits.of(studio.settings.current))
        layer = mask_layers.fit_mask(image, below) if mask_of else mask_layers.fit_paint(image, below)
        return _describe_image(engine.keep_image(layer, user))

    @router.post("/settings")
    def read_settings(request: Request, file: UploadFile) -> dict[str, str]:
        """The settings in an image file, as text that Txt2Img takes; the image itself is not kept."""
        get_caller(request)
        found = read_image_settings(file.file.read(), studio.settings.current, engine.match_model)
        return {"settings": write_settings(*found)}

    return router


def _describe_image(kept: KeptImage) -> dict[str, object]:
    return {"hash": kept.hash, "width": kept.width, "height": kept.height}
