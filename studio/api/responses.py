"""From the studio's types to the JSON of the native API."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from fastapi.responses import FileResponse

from studio.api.error_responses import clean_json
from studio.api.schemas import ErrorBody, ImageInfo, JobBody, ModelBody
from studio.core.errors import NotFound, StudioError
from studio.core.model import Model
from studio.core.result import Asset
from studio.engine.jobs.job import Job
from studio.library.media import MEDIA_TYPES

PREFIX = "/api/image-studio"
CONTENT_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
}

PRIVATE_CACHE_HEADERS = {"Cache-Control": "private, max-age=3600"}
FILE_IS_GONE = "The file of this image is missing."


def build_job_body(job: Job, root_path: str = "") -> JobBody:
    """The job as it stands now."""
    now = job.snapshot
    return JobBody(
        jobId=job.id,
        status=now.status.value,
        queuePosition=now.ahead,
        model=job.model.id,
        created=job.created,
        progress=now.progress,
        step=now.step,
        steps=now.steps,
        image=now.image,
        imageCount=now.images,
        picture=now.image,
        pictures=now.images,
        eta=now.eta,
        seconds=now.seconds,
        loading=now.loading,
        notices=list(now.notices),
        unsaved=len(job.unsaved),
        error=None if now.error is None else build_error_body(now.error),
        images=[build_image_info(asset, root_path) for asset in now.assets],
        zip=f"{root_path}{PREFIX}/jobs/{job.id}/zip" if now.assets else None,
    )


def build_error_body(error: StudioError) -> ErrorBody:
    """The error in its HTTP shape."""
    return ErrorBody(**clean_json(error.to_json()))


def build_image_info(asset: Asset, root_path: str = "", *, data: bytes | None = None) -> ImageInfo:
    """One image; with `data`, the bytes of its file, in base64."""
    return ImageInfo(
        id=asset.id,
        url=f"{root_path}{PREFIX}/images/{asset.id}",
        format=asset.path.suffix.lstrip(".").lower().replace("jpg", "jpeg"),
        width=asset.width,
        height=asset.height,
        seed=asset.seed,
        infotext=asset.infotext,
        label=asset.label,
        notes=list(asset.notes),
        blurred=asset.blurred,
        imageData=None if data is None else base64.b64encode(data).decode(),
    )


def resolve_asset_file(asset: Asset, roots: Sequence[Path]) -> Path:
    """The asset's file, which must be an image, audio or video that really lies below one of `roots`; a link out of
    it is not followed.

    Raises:
        NotFound: it is gone, or it is no such file.
    """
    path = asset.path.resolve()
    if (
        not any(path.is_relative_to(root.resolve()) for root in roots)
        or not _get_media_type(path)
        or not path.is_file()
    ):
        raise NotFound(FILE_IS_GONE, hint="It may have been moved or deleted by hand.")
    return path


def _get_media_type(path: Path) -> str:
    return CONTENT_TYPES.get(path.suffix.lower()) or MEDIA_TYPES.get(path.suffix.lower(), "")


def build_file_response(asset: Asset, roots: Sequence[Path]) -> FileResponse:
    """The asset's file; raises as `resolve_asset_file`."""
    path = resolve_asset_file(asset, roots)
    return FileResponse(
        path,
        media_type=_get_media_type(path),
        filename=path.name,
        content_disposition_type="inline",
        headers=PRIVATE_CACHE_HEADERS,
    )


def find_asset_files(assets: Sequence[Asset], roots: Sequence[Path]) -> dict[str, Path]:
    """The files of `assets` by id, without those that are gone; `roots` as in `resolve_asset_file`.

    Raises:
        NotFound: there are assets, and none has its file any more.
    """
    found: dict[str, Path] = {}
    for asset in assets:
        try:
            found[asset.id] = resolve_asset_file(asset, roots)
        except NotFound:
            if len(assets) == 1:
                raise
    if assets and not found:
        raise NotFound("The files of these images are gone.", hint="They may have been moved or deleted by hand.")
    return found


def build_model_body(model: Model) -> ModelBody:
    """A model as callers need it."""
    width, height = model.sizes.liked[0]
    return ModelBody(
        id=model.id,
        title=model.title,
        family=model.family,
        tasks=sorted(model.tasks),
        features=sorted(model.features),
        default={
            "width": width,
            "height": height,
            "steps": model.sampling.steps,
            "guidance_scale": model.sampling.guidance,
            "sampler": model.sampling.sampler,
            "schedule": model.sampling.schedule,
        },
        sizes=list(model.sizes.liked),
        samplers={name: list(found) for name, found in model.sampling.combinations.items()},
        maxCount=model.max_count,
        maxBatch=model.max_batch,
        look=model.look.value,
        problem=model.problem,
    )
