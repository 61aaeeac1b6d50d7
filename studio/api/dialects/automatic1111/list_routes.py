"""What there is: checkpoints, samplers, upscalers, weights, scripts, options, memory."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

import psutil
from fastapi import APIRouter, Request

from studio.api.dialects.automatic1111 import names, options
from studio.api.dialects.automatic1111.adetailer import ADETAILER_SCRIPT
from studio.api.dialects.automatic1111.errors import make_checkpoint_error
from studio.api.dialects.automatic1111.regional_prompter import REGIONS_SCRIPT
from studio.api.dialects.automatic1111.scripts import (
    CONTROL_SCRIPT,
    IMG2IMG_SCRIPTS,
    TXT2IMG_SCRIPTS,
    describe_scripts,
)
from studio.api.error_responses import clean_json
from studio.api.rights import needs
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.model import GPU_LANE, Model
from studio.core.model_ids import RESTORER_PREFIX, UPSCALER_PREFIX
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.text_checks import check_depth
from studio.core.weights import WeightFile, WeightKind
from studio.engine.studio import Studio
from studio.prompting.styles import load_styles

_UPSCALER_SCALE = 4


def add_list_routes(routes: APIRouter, studio: Studio) -> None:
    """The lists of samplers, models and weights."""

    @routes.get("/samplers")
    def list_samplers() -> list[dict[str, Any]]:
        """The samplers of all local models."""
        found = names.list_samplers(names.list_checkpoints(studio.engine.models()))
        return [{"name": name, "aliases": [_make_alias(name)], "options": {}} for name in found]

    @routes.get("/schedulers")
    def list_schedulers() -> list[dict[str, Any]]:
        """The schedules of all samplers."""
        found = names.list_schedules(names.list_checkpoints(studio.engine.models()))
        return [
            {
                "name": names.format_schedule_name(label),
                "label": label,
                "aliases": None,
                "default_rho": -1,
                "need_inner_model": False,
            }
            for label in found
        ]

    @routes.get("/upscalers")
    def list_upscalers() -> list[dict[str, Any]]:
        """The upscalers, "None" first."""
        found = [names.NONE, *names.list_upscalers(studio.engine.models())]
        return [
            {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": _UPSCALER_SCALE}
            for name in found
        ]

    @routes.get("/latent-upscale-modes")
    def list_latent_modes() -> list[dict[str, Any]]:
        """The ways of enlarging latents for the hires pass."""
        return [{"name": name} for name in names.LATENT_MODES]

    _add_model_lists(routes, studio)
    _add_weight_lists(routes, studio)


def _add_model_lists(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/sd-models")
    def list_models() -> list[dict[str, Any]]:
        """The local checkpoints."""
        return [_describe_checkpoint(model, studio) for model in names.list_checkpoints(studio.engine.models())]

    @routes.get("/prompt-styles")
    def list_styles() -> list[dict[str, Any]]:
        """The style presets."""
        return [
            {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
            for style in load_styles().values()
        ]

    @routes.get("/face-restorers")
    def list_restorers() -> list[dict[str, Any]]:
        """The face restorers that can be used."""
        found = [model for model in studio.engine.models(Task.RESTORE_FACES) if not model.problem and not model.paid]
        return [{"name": model.id.removeprefix(RESTORER_PREFIX), "cmd_dir": None} for model in found]

    @routes.get("/realesrgan-models")
    def list_realesrgan_models() -> list[dict[str, Any]]:
        """The Real-ESRGAN upscalers."""
        found = [name for name in names.list_upscalers(studio.engine.models()) if "esrgan" in name.lower()]
        return [{"name": name, "path": f"{UPSCALER_PREFIX}{name}", "scale": _UPSCALER_SCALE} for name in found]


def _add_weight_lists(routes: APIRouter, studio: Studio) -> None:
    def find_weights(kind: WeightKind) -> list[Any]:
        return [one for one in studio.store.weights() if one.kind is kind and not one.problem]

    @routes.get("/sd-vae")
    def list_vaes() -> list[dict[str, Any]]:
        """The VAE files."""
        return [{"model_name": one.name, "filename": one.path.name} for one in find_weights(WeightKind.VAE)]

    @routes.get("/sd-modules")
    def list_modules() -> list[dict[str, Any]]:
        """The same under Forge's name."""
        return [{"model_name": one.name, "filename": one.path.name} for one in find_weights(WeightKind.VAE)]

    @routes.get("/hypernetworks")
    def list_hypernetworks() -> list[dict[str, Any]]:
        """None: hypernetworks are not supported."""
        return []

    @routes.get("/loras")
    def list_loras() -> list[dict[str, Any]]:
        """The LoRA files, with what they say of themselves."""
        return [
            {
                "name": one.name,
                "alias": one.name,
                "path": one.path.name,
                "metadata": _read_metadata(studio, one),
            }
            for one in find_weights(WeightKind.LORA)
        ]

    @routes.get("/embeddings")
    def list_embeddings() -> dict[str, Any]:
        """The textual inversions."""
        loaded = {one.name: _EMBEDDING for one in find_weights(WeightKind.EMBEDDING)}
        return {"loaded": loaded, "skipped": {}}

    for path in ("refresh-embeddings", "refresh-checkpoints", "refresh-vae", "refresh-loras"):
        _add_refresh_route(routes, studio, path)


def _read_metadata(studio: Studio, weight: WeightFile) -> dict[str, Any]:
    """What a file says of itself, its values of JSON as such; without the images that some trainers put there."""
    try:
        metadata = studio.store.read_metadata(weight)
    except ModelBroken:
        return {}
    return {name: _parse_value(text) for name, text in metadata.items() if name != "ssmd_cover_images"}


def _parse_value(text: str) -> Any:
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError, InvalidRequest):
            value = json.loads(text)
            check_depth(value, "metadata")
            return clean_json(value)
    return text


_EMBEDDING = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 768, "vectors": 1}


def _add_refresh_route(routes: APIRouter, studio: Studio, path: str) -> None:
    @routes.post(f"/{path}", name=path)
    def refresh(request: Request) -> None:
        """Look at the model folders again."""
        get_caller(request)
        studio.store.refresh()


def add_program_routes(routes: APIRouter, studio: Studio, user_options: options.UserOptions) -> None:
    """What AUTOMATIC1111 tells of itself: scripts, extensions, flags, memory; and training, which is not offered."""

    @routes.get("/scripts")
    def list_scripts() -> dict[str, list[str]]:
        """The names of the scripts."""
        always_on = (CONTROL_SCRIPT, ADETAILER_SCRIPT, REGIONS_SCRIPT)
        return {"txt2img": [*TXT2IMG_SCRIPTS, *always_on], "img2img": [*IMG2IMG_SCRIPTS, *always_on]}

    @routes.get("/script-info")
    def list_script_arguments() -> list[dict[str, Any]]:
        """The scripts with their arguments."""
        return describe_scripts()

    @routes.get("/extensions")
    def list_extensions() -> list[dict[str, Any]]:
        """None that could be listed."""
        return []

    @routes.get("/cmd-flags")
    def list_flags() -> dict[str, Any]:
        """The flags of the command line that clients look for."""
        return {"api": True, "nowebui": False, "listen": studio.settings.current.is_shared, "api_server_stop": False}

    @routes.get("/memory")
    def get_memory() -> dict[str, Any]:
        """Memory of this process and of the device, in bytes."""
        return _describe_memory(studio)

    _add_memory_routes(routes, studio, user_options)
    for path in ("create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"):
        _add_training_route(routes, path)


def _add_memory_routes(routes: APIRouter, studio: Studio, user_options: options.UserOptions) -> None:
    @routes.post("/unload-checkpoint", dependencies=[needs(Right.SETTINGS)])
    def unload_checkpoint() -> dict[str, Any]:
        """Let every checkpoint leave the memory. Administrators only."""
        for one in studio.store.get_memory_report().resident:
            studio.engine.run_in_lane(GPU_LANE, lambda _, name=one.model: studio.store.unload(name))
        return {}

    @routes.post("/reload-checkpoint", dependencies=[needs(Right.SETTINGS)])
    def reload_checkpoint(request: Request) -> dict[str, Any]:
        """Load the checkpoint of the caller's options. Administrators only."""
        model = _find_chosen_model(user_options.get(get_caller(request).name), studio)
        studio.engine.run_in_lane(GPU_LANE, lambda context: studio.store.load(model, context))
        return {}


def _find_chosen_model(found: Mapping[str, Any], studio: Studio) -> str:
    """The id of the checkpoint that some options name, of the default one where they name none that is there."""
    chosen = found[options.CHECKPOINT]
    known = names.find_checkpoint(str(chosen), studio.engine.models(), studio.store.weights()) if chosen else None
    return known or studio.engine.model("").id


def _add_training_route(routes: APIRouter, path: str) -> None:
    action, _, what = path.partition("/")

    @routes.post(f"/{path}", name=path)
    def refuse_training(request: Request) -> dict[str, str]:
        """Training is not offered, which is told as a failure is there."""
        get_caller(request)
        return {"info": f"{action} {what} error: not supported"}


def add_option_routes(routes: APIRouter, studio: Studio, user_options: options.UserOptions) -> None:
    """The caller's options."""

    @routes.get("/options")
    def get_options(request: Request) -> dict[str, Any]:
        """All options, with the checkpoint that is used and its hash."""
        found = user_options.get(get_caller(request).name)
        weights = studio.store.weights()
        model, chosen = _find_chosen_model(found, studio), str(found[options.CHECKPOINT] or "")
        weight = names.find_weight(model, weights)
        is_known = names.find_checkpoint(chosen, studio.engine.models(), weights) == model
        title = chosen if chosen and is_known else names.format_title(model, weights)
        digest = weight.sha256 if weight is not None else ""
        return {**found, options.CHECKPOINT: title, "sd_checkpoint_hash": digest}

    @routes.post("/options")
    def set_options(request: Request, body: dict[str, Any]) -> None:
        """Change some of the caller's options, or send all of them back."""
        user = get_caller(request)
        name = body.get(options.CHECKPOINT)
        if name and names.find_checkpoint(str(name), studio.engine.models(), studio.store.weights()) is None:
            raise make_checkpoint_error(str(name))
        user_options.change(user.name, {**body, "sd_checkpoint_hash": ""})


def _make_alias(name: str) -> str:
    return "k_" + name.lower().replace("++", "pp").replace(" ", "_")


def _describe_checkpoint(model: Model, studio: Studio) -> dict[str, Any]:
    weights = studio.store.weights()
    weight = names.find_weight(model.id, weights)
    digest = weight.sha256 if weight is not None else ""
    return {
        "title": names.format_title(model.id, weights),
        "model_name": model.id,
        "hash": digest[: names.SHORT_HASH] or None,
        "sha256": digest or None,
        "filename": weight.path.name if weight is not None else model.id,
        "config": None,
    }


def _describe_memory(studio: Studio) -> dict[str, Any]:
    memory, process = psutil.virtual_memory(), psutil.Process(os.getpid())
    ram = {"free": memory.available, "used": process.memory_info().rss, "total": memory.total}
    report = studio.store.get_memory_report()
    if not report.device.startswith("cuda"):
        return {"ram": ram, "cuda": {"error": "unavailable"}}
    held = sum(one.bytes for one in report.resident)
    usage = {"current": held, "peak": held}
    return {
        "ram": ram,
        "cuda": {
            "system": {"free": report.free, "used": report.total - report.free, "total": report.total},
            "active": usage,
            "allocated": usage,
            "reserved": usage,
            "inactive": {"current": 0, "peak": 0},
            "events": {"retries": 0, "oom": 0},
        },
    }
