"""The picture files that the page shows by address, and the one way in for pictures that a form works on."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, UploadFile
from fastapi.responses import FileResponse

from studio.core.errors import InvalidRequest
from studio.core.image_gate import Limits, open_image
from studio.core.user import User
from studio.engine.storage.inputs import KeptPicture
from studio.engine.studio import Studio
from studio.tabs.common import mask_layers

PRIVATE = {"Cache-Control": "private, max-age=3600"}


def router(studio: Studio) -> APIRouter:
    """The routes below /page; every one serves its caller's own pictures alone."""
    router = APIRouter(prefix="/page", include_in_schema=False)
    engine = studio.engine

    def caller(request: Request) -> User:
        return request.scope["user"]

    @router.get("/thumbs/{asset_id}")
    def thumb(asset_id: str, request: Request) -> FileResponse:
        return FileResponse(engine.thumbnail(asset_id, caller(request)), headers=PRIVATE)

    @router.get("/previews/{job_id}")
    def preview(job_id: str, request: Request) -> Response:
        """The picture as it forms; nothing (204) once the job has ended, which a page that is a moment behind need not be told loudly."""
        path = engine.job(job_id, caller(request)).snapshot.preview
        if path is None or not path.is_file():
            return Response(status_code=204)
        return FileResponse(path, headers={"Cache-Control": "no-store"})

    @router.get("/pictures/{content_hash}")
    def kept(content_hash: str, request: Request) -> FileResponse:
        return FileResponse(engine.kept_file(content_hash, caller(request)), media_type="image/png", headers=PRIVATE)

    @router.post("/pictures")
    def keep(
        request: Request, file: UploadFile | None = None, asset: str = "", mask_of: str = "", paint_on: str = ""
    ) -> dict[str, object]:
        """Keep a picture: the file, or the result `asset`. The file may be a mask of, or paint on, a picture kept before."""
        user = caller(request)
        if asset:
            return _told(engine.keep_asset(asset, user))
        if file is None:
            raise InvalidRequest("There is no picture in this request.", hint="Send one as “file”.")
        data = file.file.read()
        if not (mask_of or paint_on):
            return _told(engine.keep_picture(data, user))
        below = engine.kept(mask_of or paint_on, user)
        image = open_image(data, limits=Limits.of(studio.settings.current))
        layer = mask_layers.mask(image, below) if mask_of else mask_layers.paint(image, below)
        return _told(engine.keep_picture(layer, user))

    return router


def _told(kept: KeptPicture) -> dict[str, object]:
    return {"hash": kept.hash, "width": kept.width, "height": kept.height}
