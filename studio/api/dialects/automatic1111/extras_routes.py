"""Upscaling and face restoration of finished images, and what an image tells of its making."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import base64
from html import escape
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request

from studio.api.dialects.automatic1111 import names
from studio.api.dialects.automatic1111.bodies import (
    ExtrasBatchBody,
    ExtrasFields,
    ExtrasSingleBody,
    InterrogateBody,
    PngInfoBody,
)
from studio.api.dialects.automatic1111.images import encode_png, read_image, read_image_bytes
from studio.api.dialects.dialect_jobs import DialectJobs
from studio.api.error_responses import clean_json
from studio.api.interrogate_routes import describe_by_captioner
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest, NotFound
from studio.core.finish import Box, FaceRestoration, Finish, OutputOptions, Upscale
from studio.core.infotext import split_infotext
from studio.core.model_ids import RESTORER_PREFIX, UPSCALER_PREFIX
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.metadata.image_info import read_image_info
from studio.engine.studio import Studio

_CAPTION_MODELS = ("clip", "")  # of /interrogate


def add_extras_routes(routes: APIRouter, jobs: DialectJobs) -> None:
    """The routes of the extras tab."""

    @routes.post("/extra-single-image")
    async def process_image(request: Request, body: ExtrasSingleBody) -> dict[str, Any]:
        """One image enlarged and restored."""
        image, text = await _process_image(request, jobs, body, body.image)
        return {"html_info": f"<p>{escape(text)}</p>" if text else "", "image": image}

    @routes.post("/extra-batch-images")
    async def process_images(request: Request, body: ExtrasBatchBody) -> dict[str, Any]:
        """Several images, in their order."""
        found = [await _process_image(request, jobs, body, file.data) for file in body.imageList]
        texts = "".join(f"<p>{escape(text)}</p>" for _, text in found if text)
        return {"html_info": texts, "images": [image for image, _ in found]}


async def _process_image(request: Request, jobs: DialectJobs, body: ExtrasFields, encoded: str) -> tuple[str, str]:
    """(the image as PNG in base64, its infotext); as it is when there is nothing to do."""
    user, studio = get_caller(request), jobs.studio
    image = await anyio.to_thread.run_sync(read_image, encoded, studio.settings.current)
    steps = plan_extras(body, image.size, studio)
    if not steps:
        return await anyio.to_thread.run_sync(encode_png, image), ""

    def build(_: User) -> GenerationRequest:
        kept = studio.engine.keep_image(read_image_bytes(encoded, studio.settings.current), user)
        first, *rest = steps
        return first.replace(source=kept.hash, then=tuple(rest), file=OutputOptions(format="png"))

    job = await jobs.run(request, build)
    if not job.snapshot.assets:
        raise NotFound("The image was not made.", hint="The job was stopped.")
    asset = job.snapshot.assets[0]
    data = await anyio.to_thread.run_sync(jobs.read_file, asset)
    return base64.b64encode(data).decode(), asset.infotext


def plan_extras(body: ExtrasFields, size: tuple[int, int], studio: Studio) -> list[GenerationRequest]:
    """The steps that the fields ask for, for an image of `size` px.

    Raises:
        InvalidRequest: an upscaler that is not there, or a size beyond the limits.
    """
    faces = _plan_faces(body, studio)
    enlarge = _plan_upscale(body, size, studio)
    return [*enlarge, *faces] if body.upscale_first else [*faces, *enlarge]


def _plan_faces(body: ExtrasFields, studio: Studio) -> list[GenerationRequest]:
    usable = {model.id for model in studio.engine.models(Task.RESTORE_FACES) if not model.problem}
    wanted = (
        ("GFPGANv1.4", body.gfpgan_visibility, 0.5),
        ("codeformer", body.codeformer_visibility, body.codeformer_weight),
    )
    found: list[GenerationRequest] = []
    for name, visibility, fidelity in wanted:
        if visibility and RESTORER_PREFIX + name in usable:
            faces = FaceRestoration(visibility=visibility, fidelity=fidelity)
            found.append(GenerationRequest(task=Task.RESTORE_FACES, model=RESTORER_PREFIX + name, faces=faces))
    return found


def _plan_upscale(body: ExtrasFields, size: tuple[int, int], studio: Studio) -> list[GenerationRequest]:
    first = _find_upscaler(body.upscaler_1, studio)
    second = _find_upscaler(body.upscaler_2, studio)
    if first is None:
        return []
    width, height = size
    exact = body.resize_mode == 1
    factor = body.upscaling_resize
    if exact:
        factor = max(body.upscaling_resize_w / width, body.upscaling_resize_h / height)
    steps: list[GenerationRequest] = []
    if factor > 1:
        wish = Upscale(
            scale=factor, second=second or "", second_weight=body.extras_upscaler_2_visibility if second else 0.0
        )
        steps.append(GenerationRequest(task=Task.UPSCALE, model=UPSCALER_PREFIX + first, upscale=wish))
    if exact and body.upscaling_crop:
        steps.append(_plan_crop(size, (body.upscaling_resize_w, body.upscaling_resize_h)))
    elif factor < 1:
        finish = Finish(width=max(1, round(width * factor)), height=max(1, round(height * factor)))
        steps.append(GenerationRequest(task=Task.FINISH, finish=finish))
    return steps


def _plan_crop(size: tuple[int, int], wanted: tuple[int, int]) -> GenerationRequest:
    """The middle of the image in the shape of `wanted`, in that size."""
    ratio = (wanted[0] / wanted[1]) / (size[0] / size[1])
    wide, high = min(1.0, ratio), min(1.0, 1 / ratio)
    box = Box(left=(1 - wide) / 2, right=(1 + wide) / 2, top=(1 - high) / 2, bottom=(1 + high) / 2)
    return GenerationRequest(task=Task.FINISH, finish=Finish(crop=box, width=wanted[0], height=wanted[1]))


def _find_upscaler(name: str, studio: Studio) -> str | None:
    if name in ("", names.NONE):
        return None
    found = names.find_upscaler(name, studio.engine.models(Task.UPSCALE))
    if found is None:
        text = f"could not find upscaler named {name[:100]}"
        error = InvalidRequest(text, hint="GET /sdapi/v1/upscalers lists them.", details={"kind": "AssertionError"})
        raise error
    return found


def add_reading_routes(routes: APIRouter, studio: Studio) -> None:
    """What an image tells of itself."""

    @routes.post("/png-info")
    def read_png_info(request: Request, body: PngInfoBody) -> dict[str, Any]:
        """The infotext of an image, everything else that stands in its file, and the infotext's values."""
        get_caller(request)
        if not body.image.strip():
            return {"info": "", "items": {}, "parameters": {}}
        data = read_image_bytes(body.image.strip(), studio.settings.current)
        read_image(body.image.strip(), studio.settings.current)
        info = read_image_info(data, studio.settings.current)
        items = {name: text for name, text in info.raw.items() if name != "parameters"}
        return clean_json({"info": info.infotext, "items": items, "parameters": parse_parameters(info.infotext)})

    @routes.post("/interrogate")
    def interrogate(request: Request, body: InterrogateBody) -> dict[str, Any]:
        """A caption of the image. Without a captioner the model is told to be unknown, and so are networks for tags."""
        user = get_caller(request)
        if not body.image:
            raise _make_interrogate_error("Image not found")
        captioner = studio.captioner
        if captioner is None or captioner.caption_problem or body.model not in _CAPTION_MODELS:
            raise _make_interrogate_error("Model not found")
        image = read_image(body.image.strip(), studio.settings.current)
        return {"caption": describe_by_captioner(studio, image, user).prompt}


def _make_interrogate_error(detail: str) -> NotFound:
    return NotFound(detail, details={"kind": "HTTPException", "detail": detail})


def parse_parameters(infotext: str) -> dict[str, Any]:
    """The values of an infotext by AUTOMATIC1111's names."""
    if not infotext:
        return {}
    prompt, negative, pairs, _ = split_infotext(infotext)
    found: dict[str, Any] = {"Prompt": prompt, "Negative prompt": negative}
    for key, value in pairs.items():
        width, divider, height = value.partition("x")
        if divider and width.isdigit() and height.isdigit():
            found |= {f"{key}-1": width, f"{key}-2": height}
        else:
            found[key] = value
    for key, value in _PARAMETER_DEFAULTS.items():
        found.setdefault(key, value)
    return found


_PARAMETER_DEFAULTS = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Cache FP16 weight for LoRA": False,
    "Emphasis": "Original",
    "Refiner switch by sampling steps": False,
}
