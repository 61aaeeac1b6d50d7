"""Routes of the Social Optimizer's board: formats with their zones, thumbnails, crops, the zip under own names."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import StreamingResponse
from PIL import Image

from studio.api.rights import needs
from studio.core.codec import decode_json
from studio.core.errors import InvalidRequest
from studio.core.finish import Box
from studio.core.result import Asset
from studio.core.rights import Right
from studio.core.social import MAX_FORMATS, CropResult
from studio.core.social_formats import Format, Frame
from studio.core.social_view import draw_frame_svg, draw_zones_svg
from studio.core.user import LOCAL_USER, User
from studio.engine.storage.file_names import build_file_name
from studio.engine.storage.zip_stream import stream_zip
from studio.engine.studio import SocialParts, Studio
from studio.tabs.common.image_routes import PRIVATE_CACHE

PREVIEW_SIDE = 1280  # px of the image that the board draws its crops from
ZIP_URL = "page/social/zip/{job}"


def build_social_router(studio: Studio, parts: SocialParts) -> APIRouter:
    """The routes below /page/social; every one serves its caller's own images alone."""
    router = APIRouter(prefix="/page/social", include_in_schema=False, dependencies=[needs(Right.USE)])
    _add_format_routes(router, parts)
    _add_image_routes(router, studio, parts)
    return router


def _get_caller(request: Request) -> User:
    return request.scope["user"]


def _add_format_routes(router: APIRouter, parts: SocialParts) -> None:
    @router.get("/formats")
    def list_formats(request: Request) -> dict[str, object]:
        return describe_formats(parts, _get_caller(request))

    @router.post("/formats")
    def save_format(body: Annotated[dict[str, Any], Body()], request: Request) -> dict[str, object]:
        """Keep a format for the caller alone, or with `shared` for everybody."""
        user, shared = _get_caller(request), body.get("shared") is True
        if shared:
            user.require(Right.SETTINGS)
        made = parts.platforms.of(user.name).save(str(body.get("name") or ""), *_read_dimensions(body), shared=shared)
        return {"id": made.id, **describe_formats(parts, user)}

    @router.delete("/formats/{format_id}")
    def delete_format(format_id: str, request: Request) -> dict[str, object]:
        user = _get_caller(request)
        formats = parts.platforms.of(user.name)
        if any(each.shared for each in formats.formats() if each.id == format_id):
            user.require(Right.SETTINGS)
        formats.remove(format_id)
        return describe_formats(parts, user)


def _add_image_routes(router: APIRouter, studio: Studio, parts: SocialParts) -> None:
    engine = studio.engine

    @router.get("/look/{content_hash}")
    def get_small_image(content_hash: str, request: Request) -> Response:
        """The image, at most LOOK_SIDE px large."""
        with Image.open(engine.get_kept_file(content_hash, _get_caller(request))) as image:
            small = image.convert("RGBA" if image.mode == "RGBA" else "RGB")
            small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), reducing_gap=2.0)
        out = io.BytesIO()
        small.save(out, "WEBP", quality=88, method=1)
        return Response(out.getvalue(), media_type="image/webp", headers=PRIVATE_CACHE)

    @router.post("/advice")
    def advise_crops(body: Annotated[dict[str, Any], Body()], request: Request) -> list[dict[str, object]]:
        """The crops of `formats` for one image: {image, formats, focus, same, crops}."""
        requested, drawn = body.get("formats"), body.get("crops")
        chosen = [str(each) for each in requested][:MAX_FORMATS] if isinstance(requested, list) else []
        focus = parse_box(body["focus"]) if body.get("focus") else None
        own = {str(name): parse_box(box) for name, box in drawn.items()} if isinstance(drawn, dict) else {}
        user = _get_caller(request)
        formats = [parts.platforms.of(user.name).format(each) for each in chosen]
        with Image.open(engine.get_kept_file(str(body.get("picture")), user)) as image:
            image.load()
            found = parts.advisor.suggest_crops(image, formats, focus, bool(body.get("same")), own)
        return [_describe_crop(each) for each in found]

    @router.get("/zip/{job_id}")
    def download_zip(job_id: str, request: Request, pattern: str = "") -> StreamingResponse:
        """The job's images as one zip. `pattern` names them: {image} counts the sources, {platform}, {format}, {width},
        {height}."""
        job = engine.job(job_id, _get_caller(request))
        assets = job.snapshot.assets
        if not assets:
            raise InvalidRequest("This job has no images to download.", hint="Export again.")
        files = [asset.path for asset in assets]
        names = _make_zip_names(assets, pattern) if pattern else None
        head = {"Content-Disposition": 'attachment; filename="formats.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(stream_zip(files, names), media_type="application/zip", headers=head)


def _read_dimensions(body: Mapping[str, object]) -> tuple[int, int, int | None]:
    """Width, height and limit of a format; raises InvalidRequest where one is no whole number."""
    width, height, limit = (body.get(name) for name in ("width", "height", "limit"))
    if not (isinstance(width, int) and isinstance(height, int) and isinstance(limit, int | None)):
        raise InvalidRequest("Width, height and limit must be whole numbers.", hint="Enter width and height in px.")
    return width, height, limit


def describe_formats(parts: SocialParts, user: User) -> dict[str, object]:
    """All formats of `user` by platform, with what is drawn over and around them."""
    data = parts.platforms.of(user.name)
    platforms = [
        {
            "id": each.id,
            "title": each.title,
            "formats": [
                {
                    **_describe_format(one, draw_zones_svg(one, data.zones(one.id)), data.frame(one.id)),
                    "deletable": one.own and (user.may(Right.SETTINGS) or not one.shared),
                }
                for one in data.formats(each.id)
            ],
        }
        for each in data.platforms()
    ]
    return {
        "as_of": data.as_of,
        "problems": list(data.problems),
        "platforms": platforms,
        "may_share": user.may(Right.SETTINGS) and user != LOCAL_USER,
    }


def parse_box(sides: object) -> Box:
    """[left, top, right, bottom] as a Box; raises InvalidRequest for anything else."""
    numbers = sides if isinstance(sides, list) else []
    if len(numbers) != 4 or not all(isinstance(side, int | float) for side in numbers):
        raise InvalidRequest("Invalid crop: four numbers are needed.", hint="Reset it and drag it again.")
    left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in numbers)
    return decode_json(Box, {"left": left, "top": top, "right": right, "bottom": bottom}, "crop")


def format_box(box: Box) -> list[float]:
    return [round(side, 5) for side in (box.left, box.top, box.right, box.bottom)]


def _describe_format(of: Format, zones: str, frame: Frame | None) -> dict[str, object]:
    drawn = (
        None
        if frame is None
        else {
            "svg": draw_frame_svg(of, frame),
            "width": frame.width,
            "height": frame.height,
            "left": frame.left,
            "top": frame.top,
            "slot": frame.slot_width,
            "round": frame.round,
            "device": frame.device,
        }
    )
    sources = "; ".join(f"{source.name}, read {source.read}" for source in of.sources)
    return {
        "id": of.id,
        "name": of.name,
        "width": of.width,
        "height": of.height,
        "limit": of.limit,
        "type": of.file_type,
        "safe": format_box(of.safe_box),
        "own": of.own,
        "shared": of.shared,
        "circle": of.shape != "rect",
        "zones": zones,
        "frame": drawn,
        "sure": of.confidence.meaning,
        "sources": sources,
        "published": of.published,
    }


def _describe_crop(found: CropResult) -> dict[str, object]:
    return {
        "format": found.format,
        "box": format_box(found.box),
        "keeps": found.keeps,
        "loses": found.loses,
        "notes": [{"text": note.text, "short": note.short or note.text} for note in found.notes],
        "verdict": found.verdict.value,
        "advice": found.advice.value,
        "faces": found.faces,
        "whole": found.faces_whole,
    }


def _make_zip_names(assets: Sequence[Asset], pattern: str) -> list[str]:
    """The names of the images in the zip."""
    sources = list(dict.fromkeys(asset.request.source for asset in assets))
    return [
        build_file_name(
            pattern,
            _make_name_fields(asset.label, asset.width, asset.height, 1 + sources.index(asset.request.source)),
            asset.path.suffix,
        ).as_posix()
        for asset in assets
    ]


def _make_name_fields(label: str, width: int, height: int, number: int) -> Mapping[str, str]:
    platform, _, name = label.partition(".")
    return {
        "image": f"{number:02d}",
        "picture": f"{number:02d}",  # its name in earlier patterns, which browsers keep
        "platform": platform if name else "all",
        "format": name or label,
        "label": label.replace(".", "-"),
        "width": str(width),
        "height": str(height),
    }
