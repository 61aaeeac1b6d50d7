"""The routes of the ControlNet extension: what there is, and maps of images."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import base64
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from PIL import Image, ImageChops

from studio.api.dialects.automatic1111 import control_units as units
from studio.api.dialects.automatic1111.bodies import DetectBody
from studio.api.dialects.automatic1111.errors import ScriptNotFound
from studio.api.dialects.automatic1111.images import encode_png, prepare_mask, read_image
from studio.api.dialects.dialect_jobs import DialectJobs
from studio.api.submit_request import get_caller
from studio.core.errors import NotFound
from studio.core.model import Model
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.core.request import MAX_CONTROL_UNITS, GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio

API_VERSION = 3
_ALL = "All"
_INPAINT_MODULE = PREPROCESSOR_PREFIX + "inpaint"


def add_controlnet_routes(routes: APIRouter, studio: Studio, jobs: DialectJobs) -> None:
    """Put the routes below /controlnet among `routes`."""

    @routes.get("/version")
    def get_version() -> dict[str, int]:
        """The version of the extension's API."""
        return {"version": API_VERSION}

    @routes.get("/settings")
    def get_settings() -> dict[str, int]:
        """How many units a request may have."""
        return {"control_net_unit_count": MAX_CONTROL_UNITS}

    @routes.get("/model_list")
    def list_models(update: bool = True) -> dict[str, list[str]]:
        """The networks."""
        found = units.list_control_models(studio.store.weights())
        return {"model_list": [units.format_control_model(one) for one in found]}

    @routes.get("/module_list")
    def list_modules(alias_names: bool = False) -> dict[str, Any]:
        """The preprocessors that can be used, with their sliders."""
        found = units.list_modules(studio.engine.models(Task.PREPROCESS))
        detail = {name: _describe_module(model) for name, model in found.items()}
        plain: dict[str, Any] = {units.NO_MODULE: {"model_free": False, "sliders": []}}
        return {"module_list": [*plain, *found], "module_detail": {**plain, **detail}}

    @routes.get("/control_types")
    def list_control_types() -> dict[str, Any]:
        """The kinds of control, with the preprocessors and networks that go with each."""
        return {"control_types": _describe_control_types(studio)}

    @routes.post("/detect")
    async def detect(request: Request, body: DetectBody) -> dict[str, Any]:
        """The maps of images."""
        given = body.controlnet_input_images or body.controlnet_images
        module = units.find_module(body.controlnet_module, studio.engine.models(Task.PREPROCESS))
        if not given:
            raise _make_detect_error("No image selected")
        if body.controlnet_masks and len(body.controlnet_masks) != len(given):
            raise _make_detect_error("The number of masks does not match the number of images")
        if module is not None and module.id == _INPAINT_MODULE and not body.controlnet_masks:
            raise _make_detect_error("No mask selected")
        masks = body.controlnet_masks or [""] * len(given)
        found = [
            await _detect_one(request, jobs, body, module, (text, mask))
            for text, mask in zip(given, masks, strict=True)
        ]
        return {"info": "Success", "images": found, "poses": [], "tensor": []}

    @routes.post("/render_openpose_json")
    def render_pose(request: Request) -> dict[str, Any]:
        """Drawing a pose from its points is not offered."""
        get_caller(request)
        raise _make_detect_error("Rendering a pose from JSON is not supported")


def _read_masked(given: tuple[str, str], settings: Settings) -> Image.Image:
    """The image, transparent outside of its mask where there is one."""
    image = read_image(given[0], settings)
    if given[1]:
        mask = prepare_mask(read_image(given[1], settings), image.size, 0)
        image = image.convert("RGB")
        image.putalpha(ImageChops.invert(mask))
    return image


async def _detect_one(
    request: Request, jobs: DialectJobs, body: DetectBody, module: Model | None, given: tuple[str, str]
) -> str:
    """The map of an image, whose masked parts are transparent where there is a mask."""
    settings = jobs.studio.settings.current
    image = await anyio.to_thread.run_sync(_read_masked, given, settings)
    if module is None:
        return await anyio.to_thread.run_sync(encode_png, image)
    resolution = body.controlnet_processor_res if body.controlnet_processor_res > 0 else units.DEFAULT_RESOLUTION
    options = units.build_options(module, (body.controlnet_threshold_a, body.controlnet_threshold_b))
    unit = ControlUnit(
        preprocessor=module.id.removeprefix(PREPROCESSOR_PREFIX),
        pixel_perfect=False,
        resolution=min(max(resolution, 64), 4096),
        options=options,
    )

    def build(user: User) -> GenerationRequest:
        kept = jobs.studio.engine.keep_image(image, user)
        return GenerationRequest(task=Task.PREPROCESS, model=module.id, source=kept.hash, control=(unit,))

    job = await jobs.run(request, build)
    if not job.snapshot.assets:
        raise NotFound("The control map was not made.", hint="The job was stopped.")
    return base64.b64encode(jobs.read_file(job.snapshot.assets[0])).decode()


def _make_detect_error(detail: str) -> ScriptNotFound:
    return ScriptNotFound(detail, details={"kind": "HTTPException", "detail": detail})


def _describe_module(model: Model) -> dict[str, Any]:
    resolution = {"name": "Resolution", "value": 512, "min": 64, "max": 2048, "step": 8}
    sliders = [
        {"name": one.label, "value": one.default, "min": one.low, "max": one.high, "step": one.step}
        for one in model.options
    ]
    return {"model_free": False, "sliders": [resolution, *sliders]}


def _describe_control_types(studio: Studio) -> dict[str, Any]:
    modules = units.list_modules(studio.engine.models(Task.PREPROCESS))
    networks = [units.format_control_model(one) for one in units.list_control_models(studio.store.weights())]
    found: dict[str, Any] = {
        _ALL: {
            "module_list": [units.NO_MODULE, *modules],
            "model_list": [units.NO_MODEL, *networks],
            "default_option": units.NO_MODULE,
            "default_model": units.NO_MODEL,
        }
    }
    for title, (own, words) in units.CONTROL_TYPES.items():
        fitting = [name for name, model in modules.items() if model.id.removeprefix(PREPROCESSOR_PREFIX) in own]
        named = [name for name in networks if any(word in name.lower() for word in words)]
        found[title] = {
            "module_list": [units.NO_MODULE, *fitting],
            "model_list": [units.NO_MODEL, *named],
            "default_option": fitting[0] if fitting else units.NO_MODULE,
            "default_model": named[0] if named else units.NO_MODEL,
        }
    return found
