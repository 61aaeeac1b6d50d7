"""Short routes in the shapes that smaller generators have: one image, or a job, in camelCase. What they do not know is
passed over."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import base64
import json
from typing import Any, cast

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.api.dialects.dialect_jobs import DialectJobs, require_dialect
from studio.api.dialects.dialect_paths import Dialect
from studio.api.dialects.fit_request import fit_to_model, measure_source
from studio.api.error_responses import NotReady, clean_json
from studio.api.image_bodies import store_image
from studio.api.responses import PREFIX
from studio.api.submit_request import NO_STORE, get_caller
from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.finish import Derivative, Finish, OutputOptions
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

_MAX_DERIVATIVES = 50
_IMAGE_NAMES = ("image", "image_data", "input_image", "init_image")
_NATIVE_PATHS = {"/analyze-context": f"{PREFIX}/analyze-context"}  # the native route under another name


class AliasMiddleware:
    """Leads the short names of native routes to these."""

    def __init__(self, app: ASGIApp, studio: Studio) -> None:
        self._app = app
        self._studio = studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        native = _NATIVE_PATHS.get(scope["path"].rstrip("/")) if scope["type"] == "http" else None
        if native is not None and Dialect.ALIASES.is_enabled(self._studio.settings.current):
            scope = {**scope, "path": native, "raw_path": native.encode()}
        await self._app(scope, receive, send)


def build_alias_router(studio: Studio) -> APIRouter:
    """The routes, behind one setting."""
    routes = APIRouter(include_in_schema=False, dependencies=require_dialect(studio, Dialect.ALIASES))
    jobs = DialectJobs(studio)
    _add_drawing_routes(routes, jobs)
    _add_job_routes(routes, jobs)
    _add_file_routes(routes, jobs)
    return routes


def _add_drawing_routes(routes: APIRouter, jobs: DialectJobs) -> None:
    @routes.post("/generate")
    async def generate(request: Request) -> JSONResponse:
        """One image, waited for."""
        body = await _read_object(request)
        job = await jobs.run(request, lambda user: _build_request(body, jobs.studio, user))
        return _answer(_describe_image(_get_first(job), jobs))

    @routes.post("/generate/async")
    async def generate_later(request: Request) -> JSONResponse:
        """A job."""
        body = await _read_object(request)
        job = await jobs.submit(request, lambda user: _build_request(body, jobs.studio, user))
        return _answer({"jobId": job.id, "status": job.snapshot.status.value}, 202)

    @routes.post("/api/generate")
    async def generate_images(request: Request) -> JSONResponse:
        """Images with their addresses, from a prompt, or from an image and a prompt."""
        body = await _read_object(request)
        job = await jobs.run(request, lambda user: _build_request(body, jobs.studio, user))
        root = jobs.studio.settings.current.root_path
        found = [
            {**_describe_image(asset, jobs), "url": f"{root}{PREFIX}/images/{asset.id}", "filename": asset.path.name}
            for asset in job.snapshot.assets
        ]
        first = found[0] if found else _describe_image(_get_first(job), jobs)
        return _answer({"status": "success", "images": found, "url": first.get("url"), "image": first["imageData"]})


def _add_job_routes(routes: APIRouter, jobs: DialectJobs) -> None:
    @routes.get("/jobs/{job_id}")
    def get_job(request: Request, job_id: str) -> dict[str, Any]:
        """Where a job stands."""
        job = jobs.studio.engine.job(job_id, get_caller(request))
        now = job.snapshot
        error = None if now.error is None else now.error.to_json()
        return {"jobId": job.id, "status": now.status.value, "progress": now.progress, "error": clean_json(error)}

    @routes.get("/jobs/{job_id}/result")
    def get_result(request: Request, job_id: str) -> JSONResponse:
        """The image of an ended job."""
        job = jobs.studio.engine.job(job_id, get_caller(request))
        if not job.snapshot.status.is_final:
            raise NotReady("The job is still running.", hint="Try again later.")
        return _answer(_describe_image(_get_first(job), jobs))


def _add_file_routes(routes: APIRouter, jobs: DialectJobs) -> None:
    @routes.post("/derivatives")
    async def make_derivatives(request: Request) -> JSONResponse:
        """An image in several sizes and file types."""
        body = await _read_object(request)
        job = await jobs.run(request, lambda user: _build_derivatives(body, jobs.studio, user))
        return _answer({"derivatives": [_describe_image(asset, jobs) for asset in job.snapshot.assets]})

    @routes.post("/api/upload-controlnet-image")
    async def upload_image(request: Request) -> JSONResponse:
        """Let an image in; its name can be given to other routes."""
        user = get_caller(request)
        async with request.form(max_files=1, max_fields=20) as form:
            file = next((one for _, one in form.multi_items() if isinstance(one, UploadFile)), None)
            data = await file.read() if file is not None else b""
        if not data:
            raise InvalidRequest("No image was sent.", hint="Send it as the field “file” of a form.")
        kept = await anyio.to_thread.run_sync(jobs.studio.engine.keep_image, data, user)
        return _answer(
            {
                "status": "success",
                "filename": kept.hash,
                "url": f"{jobs.studio.settings.current.root_path}{PREFIX}/inputs/{kept.hash}",
                "width": kept.width,
                "height": kept.height,
            }
        )


def _build_request(body: dict[str, Any], studio: Studio, user: User) -> GenerationRequest:
    """The request of a body whose names may be written with underscores or in camelCase."""
    values = {_to_snake(name): value for name, value in body.items() if value is not None}
    prompt = values.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidRequest("“prompt” is missing.", hint="Describe the image.", details={"field": "prompt"})
    image = next(
        (values[name] for name in ("image", "image_data", "input_image", "init_image") if name in values), None
    )
    model_name = _get(values, str, "model", "model_name") or ""
    task = Task.TXT2IMG if image is None else Task.IMG2IMG
    model = studio.engine.model(model_name, task)
    kind = (_get(values, str, "format", "output_format") or "png").lower().replace("jpg", "jpeg")
    request = GenerationRequest(
        task=task,
        model=model.id,
        prompt=prompt,
        negative_prompt=_get(values, str, "negative_prompt") or "",
        width=_get(values, int, "width"),
        height=_get(values, int, "height"),
        aspect=_get(values, str, "aspect_ratio"),
        count=_get(values, int, "count", "batch_size", "num_images", "n") or 1,
        seed=_read_seed(_get(values, int, "seed")),
        steps=_get(values, int, "steps", "num_inference_steps"),
        guidance=_get(values, float, "guidance_scale", "cfg_scale", "cfg"),
        sampler=_get(values, str, "sampler", "sampler_name"),
        strength=None if image is None else _get(values, float, "strength", "denoising_strength", "denoise"),
        source=None if image is None else store_image(str(image), studio.engine, user).hash,
        file=OutputOptions(format=kind),
    )
    return fit_to_model(request, model, source=measure_source(request, studio.engine, user))[0]


def _build_derivatives(body: dict[str, Any], studio: Studio, user: User) -> GenerationRequest:
    values = {_to_snake(name): value for name, value in body.items()}
    image = next((values[name] for name in ("image_data", "image", "source") if values.get(name)), None)
    given: Any = values.get("derivatives") or values.get("sizes") or values.get("specs") or []
    if not isinstance(image, str) or not isinstance(given, list):
        raise InvalidRequest("An image and a list of sizes are needed.", hint="Send “imageData” and “sizes”.")
    listed = cast("list[Any]", given)
    found = tuple(_read_derivative(one) for one in listed[:_MAX_DERIVATIVES])
    source = store_image(image, studio.engine, user).hash
    return GenerationRequest(task=Task.FINISH, source=source, finish=Finish(derivatives=found))


def _read_derivative(data: Any) -> Derivative:
    if not isinstance(data, dict):
        raise InvalidRequest("A size is not an object.", hint='Send {"width": 320, "format": "webp"}.')
    values = {_to_snake(str(name)): value for name, value in cast("dict[str, Any]", data).items()}
    kind = (_get(values, str, "format") or "png").lower().replace("jpg", "jpeg")
    return Derivative(
        width=_get(values, int, "width"),
        height=_get(values, int, "height"),
        crop=bool(values.get("crop", False)),
        file=OutputOptions(format=kind, quality=_get(values, int, "quality")),
    )


def _get(values: dict[str, Any], kind: Any, *names: str) -> Any:
    """The first of `names` that is there, as `kind`.

    Raises:
        InvalidRequest: it cannot be that.
    """
    name = next((one for one in names if values.get(one) is not None), None)
    if name is None:
        return None
    value = values[name]
    try:
        if isinstance(value, bool) or (kind is int and float(value) != int(float(value))):
            raise ValueError(value)
        return kind(float(value)) if kind is int else kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"“{name}” has a wrong value.", hint="Correct it.", details={"field": name}) from error


def _read_seed(seed: int | None) -> int | None:
    return None if seed is None or seed < 0 else seed


def _to_snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _get_first(job: Job) -> Asset:
    """The job's first image.

    Raises:
        StudioError: what it failed with, or that it was stopped.
    """
    now = job.snapshot
    if now.assets:
        return now.assets[0]
    raise now.error or JobCancelled("The job was stopped.", hint="Send the request again.")


def _describe_image(asset: Asset, jobs: DialectJobs) -> dict[str, Any]:
    return {
        "imageData": base64.b64encode(jobs.read_file(asset)).decode(),
        "format": asset.path.suffix.lstrip(".").replace("jpg", "jpeg"),
        "width": asset.width,
        "height": asset.height,
        "seed": asset.seed,
        "id": asset.id,
    }


def _answer(body: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(clean_json(body), status, NO_STORE)


async def _read_object(request: Request) -> dict[str, Any]:
    try:
        found: Any = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("Invalid JSON in the request body.", hint="Send a JSON object.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The body is not a JSON object.", hint="Send a JSON object.")
    return found  # pyright: ignore[reportUnknownVariableType]
