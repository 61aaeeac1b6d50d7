"""The units of the ControlNet extension: its modules and ours, and a unit of its API as one of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from studio.api.dialects.automatic1111.errors import ScriptNotFound
from studio.api.dialects.automatic1111.images import read_image
from studio.core.errors import InvalidRequest
from studio.core.model import Model
from studio.core.model_ids import PREPROCESSOR_PREFIX, remove_hash
from studio.core.request import MAX_CONTROL_UNITS
from studio.core.request_choices import Resize
from studio.core.request_parts import ControlMode, ControlUnit, Option
from studio.core.task import Task
from studio.core.user import User
from studio.core.weights import WeightFile, WeightKind, is_same_name
from studio.engine.studio import Studio

NO_MODULE = "none"
NO_MODEL = "None"
# Names of the extension for our preprocessors; the first is the one that its lists show.
MODULES: dict[str, tuple[str, ...]] = {
    "canny": ("canny",),
    "depth": ("depth_anything_v2", "depth_anything", "depth_zoe", "depth_leres", "depth_leres++", "depth_hand_refiner"),
    "depth_midas": ("depth_midas", "depth"),
    "dwpose": ("dw_openpose_full", "openpose_full"),
    "openpose": ("openpose", "openpose_hand", "openpose_face", "openpose_faceonly", "animal_openpose", "densepose"),
    "lineart": ("lineart_realistic", "lineart_coarse", "lineart"),
    "lineart_anime": ("lineart_anime", "lineart_anime_denoise"),
    "lineart_standard": ("lineart_standard", "lineart_standard (from white bg & black line)"),
    "mlsd": ("mlsd",),
    "lines": ("lines",),
    "normal": ("normal_bae", "normal_midas", "normal_map", "normal_dsine"),
    "scribble_hed": ("scribble_hed",),
    "scribble_pidi": ("scribble_pidinet",),
    "scribble_xdog": ("scribble_xdog",),
    "seg": ("seg_ofade20k", "seg_ufade20k", "seg_ofcoco", "segmentation"),
    "shuffle": ("shuffle",),
    "softedge_hed": ("softedge_hed", "softedge_hedsafe", "hed", "softedge_teed", "softedge_anyline"),
    "softedge_pidi": ("softedge_pidinet", "softedge_pidisafe", "pidinet"),
    "threshold": ("threshold", "binary"),
    "tile": ("tile_resample", "tile_colorfix", "tile_colorfix+sharp"),
    "blur": ("blur_gaussian",),
    "inpaint": ("inpaint_only", "inpaint_global_harmonious", "inpaint_only+lama", "inpaint"),
    "grey": ("recolor_luminance", "recolor_intensity"),
    "invert": ("invert", "invert (from white bg & black line)"),
    "colour": ("t2ia_color_grid", "color"),
}
# The extension's control types, and the preprocessors and words in the names of networks that go with each.
CONTROL_TYPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Canny": (("canny",), ("canny", "edge")),
    "Depth": (("depth", "depth_midas"), ("depth",)),
    "NormalMap": (("normal",), ("normal",)),
    "OpenPose": (("openpose", "dwpose"), ("openpose", "pose")),
    "MLSD": (("mlsd", "lines"), ("mlsd",)),
    "Lineart": (("lineart_standard", "lineart", "lineart_anime", "invert"), ("lineart",)),
    "SoftEdge": (("softedge_pidi", "softedge_hed"), ("softedge", "hed")),
    "Scribble": (("scribble_pidi", "scribble_xdog", "scribble_hed"), ("scribble", "sketch")),
    "Segmentation": (("seg",), ("seg",)),
    "Shuffle": (("shuffle",), ("shuffle",)),
    "Tile": (("tile", "blur"), ("tile",)),
    "Inpaint": (("inpaint",), ("inpaint",)),
    "Recolor": (("grey",), ("recolor",)),
    "T2I-Adapter": (("colour",), ("t2i", "adapter", "color")),
}
_MODES = (ControlMode.BALANCED, ControlMode.PROMPT, ControlMode.CONTROL)
_MODE_WORDS = {"balanced": 0, "my prompt is more important": 1, "controlnet is more important": 2}
_RESIZES = (Resize.STRETCH, Resize.CROP, Resize.FILL)
_RESIZE_WORDS = {
    "just resize": 0,
    "crop and resize": 1,
    "scale to fit (inner fit)": 1,
    "inner fit (scale to fit)": 1,
    "resize and fill": 2,
    "envelope (outer fit)": 2,
    "outer fit (shrink to fit)": 2,
}
DEFAULT_RESOLUTION = 512  # px
_BOTH_PASSES = ("both", "0")  # as the extension writes hr_option: a word, a number, or the name of its choice


@dataclass(frozen=True, kw_only=True)
class BuiltUnit:
    """A unit of a request, whether its map is to be returned with the images, and whether that of the hires pass is
    too, where there is one."""

    unit: ControlUnit
    returns_map: bool
    in_both_passes: bool = True


def list_control_models(weights: Sequence[WeightFile]) -> list[WeightFile]:
    """The networks that a unit may name."""
    kinds = (WeightKind.CONTROLNET, WeightKind.T2I_ADAPTER)
    return sorted((one for one in weights if one.kind in kinds and not one.problem), key=lambda one: one.name)


def format_control_model(weight: WeightFile) -> str:
    """The network's name as the extension shows it, with a short hash where it is known."""
    return f"{weight.name} [{weight.sha256[:8]}]" if weight.sha256 else weight.name


def list_modules(models: Sequence[Model]) -> dict[str, Model]:
    """The usable preprocessors by the extension's names."""
    found: dict[str, Model] = {}
    for model in models:
        own = model.id.removeprefix(PREPROCESSOR_PREFIX)
        if model.id.startswith(PREPROCESSOR_PREFIX) and not model.problem and own != "words":
            found |= {name: model for name in MODULES.get(own, (own,))[:1]}
    return found


def find_module(name: str, models: Sequence[Model]) -> Model | None:
    """The preprocessor of that name, the extension's or ours; None for "none".

    Raises:
        ScriptNotFound: there is none; its weights are not installed, or it has no counterpart here.
    """
    wanted = name.strip().lower()
    if wanted in ("", NO_MODULE):
        return None
    own = next((own for own, names in MODULES.items() if wanted == own or wanted in names), wanted)
    model = next((model for model in models if model.id == PREPROCESSOR_PREFIX + own), None)
    if model is None or model.problem:
        raise ScriptNotFound(
            "Module not available",
            hint="" if model is None else model.problem,
            details={"kind": "HTTPException", "detail": "Module not available"},
        )
    return model


def build_options(model: Model, thresholds: Sequence[Any]) -> tuple[Option, ...]:
    """The options of a preprocessor that the extension calls threshold a and b, moved into their ranges."""
    found: list[Option] = []
    for spec, value in zip(model.options, thresholds, strict=False):
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            found.append(Option(name=spec.name, value=float(min(max(value, spec.low), spec.high))))
    return tuple(found)


def build_control_units(arguments: Any, studio: Studio, user: User) -> tuple[BuiltUnit, ...]:
    """The enabled units among the arguments of the always-on script "ControlNet".

    Raises:
        ScriptNotFound: a module or a network that is not there. InvalidRequest: an image or a value that is none.
    """
    given: list[Any] = cast("list[Any]", arguments) if isinstance(arguments, list) else [arguments]
    units = [cast("dict[str, Any]", one) for one in given if isinstance(one, dict)]
    enabled = [unit for unit in units if unit.get("enabled", True) is not False]
    if len(enabled) > MAX_CONTROL_UNITS:
        raise InvalidRequest(f"Too many control units; the limit is {MAX_CONTROL_UNITS}.", hint="Remove some of them.")
    return tuple(_build_unit(unit, studio, user) for unit in enabled)


def _build_unit(unit: dict[str, Any], studio: Studio, user: User) -> BuiltUnit:
    module = find_module(str(unit.get("module") or NO_MODULE), studio.engine.models(Task.PREPROCESS))
    image = _find_unit_image(unit)
    kept = studio.engine.keep_image(read_image(image, studio.settings.current), user).hash if image else None
    start, end = (
        _read_number(unit, name, default) for name, default in (("guidance_start", 0.0), ("guidance_end", 1.0))
    )
    resolution = int(_read_number(unit, "processor_res", DEFAULT_RESOLUTION))
    if resolution < 0:  # what is negative is the default there
        resolution = DEFAULT_RESOLUTION
    return BuiltUnit(
        unit=ControlUnit(
            model=_find_network(str(unit.get("model") or NO_MODEL), studio),
            preprocessor=NO_MODULE if module is None else module.id.removeprefix(PREPROCESSOR_PREFIX),
            image=kept,
            weight=min(max(_read_number(unit, "weight", 1.0), 0.0), 2.0),
            start=start,
            end=end,
            mode=_MODES[_read_choice(unit.get("control_mode"), _MODE_WORDS, 0)],
            resize=_RESIZES[_read_choice(unit.get("resize_mode"), _RESIZE_WORDS, 1)],
            pixel_perfect=bool(unit.get("pixel_perfect", False)),
            resolution=min(max(resolution, 64), 4096),
            options=() if module is None else build_options(module, (unit.get("threshold_a"), unit.get("threshold_b"))),
        ),
        returns_map=unit.get("save_detected_map", True) is not False,
        in_both_passes=str(unit.get("hr_option", "both")).lower().removeprefix("hiresfixoption.") in _BOTH_PASSES,
    )


def _find_unit_image(unit: dict[str, Any]) -> str:
    """The image of a unit: a text under one of its names, or within an object or a list."""
    found: Any = next((unit[name] for name in ("image", "input_image") if unit.get(name)), "")
    if isinstance(found, list) and found:
        found = cast("list[Any]", found)[0]
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("image")
    return found if isinstance(found, str) else ""


def _find_network(name: str, studio: Studio) -> str:
    wanted = remove_hash(name.strip()).strip()
    found = next(
        (one.name for one in list_control_models(studio.store.weights()) if is_same_name(one.name, wanted)), None
    )
    if found is None:
        detail = f"model not found: {name[:100]}"
        raise ScriptNotFound(detail, details={"kind": "HTTPException", "detail": detail})
    return found


def _read_number(unit: dict[str, Any], name: str, default: float) -> float:
    value = unit.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _read_choice(value: Any, words: dict[str, int], default: int) -> int:
    """A choice by its number or its words."""
    if isinstance(value, int) and 0 <= value < 3:
        return value
    return words.get(str(value).strip().lower(), default)
