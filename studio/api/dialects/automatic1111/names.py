"""Names of AUTOMATIC1111 and ours: checkpoints, samplers, schedules, upscalers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from studio.api.dialects.automatic1111.errors import SamplerNotFound
from studio.core.foreign_samplers import SAMPLERS
from studio.core.infotext_keys import SCHEDULES
from studio.core.model import Model
from studio.core.model_ids import UPSCALER_PREFIX, remove_hash
from studio.core.task import Task
from studio.core.upscale_modes import LANCZOS, NEAREST
from studio.core.weights import WeightFile, WeightKind

SHORT_HASH = 10  # characters
NONE = "None"
LATENT_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
_UPSCALER_ALIASES = {
    "R-ESRGAN 4x+": "RealESRGAN_x4plus",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN_x4plus_anime_6B",
    "R-ESRGAN General 4xV3": "realesr-general-x4v3",
    "R-ESRGAN AnimeVideo": "realesr-animevideov3",
}


def list_checkpoints(models: Sequence[Model]) -> list[Model]:
    """The models that AUTOMATIC1111's lists show: local ones that draw from text and can be used."""
    return [
        model
        for model in models
        if model.is_own and Task.TXT2IMG in model.tasks and not model.paid and not model.problem
    ]


def find_weight(model_id: str, weights: Sequence[WeightFile]) -> WeightFile | None:
    """The checkpoint's file, None for a model that has none."""
    return next((one for one in weights if one.kind is WeightKind.CHECKPOINT and one.name == model_id), None)


def format_title(model_id: str, weights: Sequence[WeightFile]) -> str:
    """A checkpoint's name as AUTOMATIC1111 shows it: file name and short hash."""
    weight = find_weight(model_id, weights)
    name = weight.path.name if weight is not None and not weight.is_folder else f"{model_id}.safetensors"
    digest = weight.sha256[:SHORT_HASH] if weight is not None else ""
    return f"{name} [{digest}]" if digest else name


def find_checkpoint(name: str, models: Sequence[Model], weights: Sequence[WeightFile]) -> str | None:
    """The id of the model that `name` means: an id, a title, a file name, a name without its ending, or a hash; None
    when there is none."""
    wanted = remove_hash(name.strip()).strip()
    for model in models:
        title = remove_hash(format_title(model.id, weights))
        forms = {model.id, model.title, title, PurePath(title).stem, PurePath(model.id).name}
        if wanted in forms or wanted.removesuffix(".safetensors") in forms:
            return model.id
    digest = name.strip().lower()
    if re.fullmatch(r"[0-9a-f]{8,64}", digest):
        return next((one.name for one in weights if one.sha256 and one.sha256.startswith(digest)), None)
    return None


def list_samplers(models: Sequence[Model]) -> list[str]:
    """Every sampler of the models, in the order in which they are first seen."""
    return list(dict.fromkeys(name for model in models for name in model.sampling.combinations))


def list_schedules(models: Sequence[Model]) -> list[str]:
    """Every schedule of the models, Automatic first."""
    found = {
        schedule: None
        for model in models
        for schedules in model.sampling.combinations.values()
        for schedule in schedules
    }
    return ["Automatic", *(name for name in found if name != "Automatic")]


def format_schedule_name(label: str) -> str:
    """The name of a schedule, whose label it is shown by."""
    return label.lower().replace(" ", "_")


def parse_sampler(name: str | None, scheduler: str | None, models: Sequence[Model]) -> tuple[str, str]:
    """(sampler, schedule) that the fields of a request mean; the name may carry the schedule ("DPM++ 2M Karras").

    Raises:
        SamplerNotFound: no model has that sampler.
    """
    wanted = (name or "").strip()
    schedule = parse_schedule(scheduler, models)
    for suffix in sorted(SCHEDULES, key=len, reverse=True):
        if wanted.lower().endswith(f" {suffix.lower()}"):
            wanted = wanted[: -len(suffix) - 1].strip()
            schedule = suffix if schedule == "Automatic" else schedule
            break
    known = list_samplers(models)
    lower = {sampler.lower(): sampler for sampler in known}
    found = lower.get(wanted.lower()) or lower.get(SAMPLERS.get(wanted.lower().removeprefix("k_"), "").lower())
    if found is None and known:
        raise SamplerNotFound("Sampler not found", details={"kind": "HTTPException", "detail": "Sampler not found"})
    return found or wanted, schedule


def parse_schedule(text: str | None, models: Sequence[Model]) -> str:
    """The schedule of that name or label; Automatic for what is not known, as there."""
    wanted = (text or "").strip().lower()
    labels = list_schedules(models)
    return next(
        (one for one in labels if wanted in (one.lower(), format_schedule_name(one), _squash(one))), "Automatic"
    )


def _squash(label: str) -> str:
    return label.lower().replace(" ", "")


def list_upscalers(models: Sequence[Model]) -> list[str]:
    """The upscalers by name, those without a file first."""
    found = [
        model.id.removeprefix(UPSCALER_PREFIX)
        for model in models
        if model.id.startswith(UPSCALER_PREFIX) and not model.problem and not model.paid
    ]
    plain = [name for name in (LANCZOS, NEAREST) if name in found]
    return [*plain, *(name for name in found if name not in plain)]


def find_upscaler(name: str | None, models: Sequence[Model]) -> str | None:
    """The upscaler of that name, of ours or as AUTOMATIC1111 calls it; None when there is none."""
    wanted = (name or "").strip()
    known = {one.lower(): one for one in list_upscalers(models)}
    return known.get(wanted.lower()) or known.get(_UPSCALER_ALIASES.get(wanted, "").lower())
