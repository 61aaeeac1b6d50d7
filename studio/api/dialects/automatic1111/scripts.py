"""AUTOMATIC1111's scripts that have a counterpart here, and their arguments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from studio.api.dialects.automatic1111.adetailer import ADETAILER_SCRIPT
from studio.api.dialects.automatic1111.errors import ScriptNotFound
from studio.api.dialects.automatic1111.requests import BuiltRequest
from studio.core.errors import InvalidRequest
from studio.core.finish import Upscale
from studio.core.prompt_lines import apply_prompt_line, read_prompt_lines
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_parts import Axis, Outpaint
from studio.core.task import Task
from studio.core.upscale_modes import LANCZOS

XYZ_PLOT = "x/y/z plot"
PROMPT_MATRIX = "prompt matrix"
PROMPT_LINES = "prompts from file or textbox"
LOOPBACK = "loopback"
CONTROL_SCRIPT = "controlnet"
TXT2IMG_SCRIPTS = (PROMPT_MATRIX, PROMPT_LINES, XYZ_PLOT)
SD_UPSCALE = "sd upscale"
OUTPAINTING = "outpainting mk2"
SIMPLE_OUTPAINTING = "poor man's outpainting"
IMG2IMG_SCRIPTS = (LOOPBACK, OUTPAINTING, SIMPLE_OUTPAINTING, *TXT2IMG_SCRIPTS, SD_UPSCALE)
_MAX_MATRIX_PARTS = 6  # parts of a prompt, of which every combination is made
_NOTHING = "Nothing"
_LEFT_OUT: dict[str, Any] = {  # where a script makes another task of an Img2Img request
    "width": None,
    "height": None,
    "mask": None,
    "enlarge": False,
    "enlarged_size": "",
    "compose": False,
}

# The axes in AUTOMATIC1111's order, by which a number names them, and what they are called here. "" has no counterpart.
_AXES: tuple[tuple[str, str, str], ...] = (  # (its label, ours, "txt2img" or "img2img" where only that has it)
    (_NOTHING, "", ""),
    ("Seed", "Seed", ""),
    ("Var. seed", "Variation seed", ""),
    ("Var. strength", "Variation strength", ""),
    ("Steps", "Steps", ""),
    ("Hires steps", "Hires steps", "txt2img"),
    ("CFG Scale", "CFG scale", ""),
    ("Image CFG Scale", "", "img2img"),
    ("Prompt S/R", "Prompt S/R", ""),
    ("Prompt order", "", ""),
    ("Sampler", "Sampler", ""),
    ("Hires sampler", "Hires sampler", "txt2img"),
    ("Checkpoint name", "Model", ""),
    ("Negative Guidance minimum sigma", "", ""),
    ("Sigma Churn", "", ""),
    ("Sigma min", "", ""),
    ("Sigma max", "", ""),
    ("Sigma noise", "", ""),
    ("Schedule type", "Schedule type", ""),
    ("Schedule min sigma", "", ""),
    ("Schedule max sigma", "", ""),
    ("Schedule rho", "", ""),
    ("Eta", "", ""),
    ("Clip skip", "Clip skip", ""),
    ("Denoising", "Denoising strength", ""),
    ("Initial noise multiplier", "", ""),
    ("Extra noise", "", ""),
    ("Hires upscaler", "Hires upscaler", "txt2img"),
    ("Cond. Image Mask Weight", "", "img2img"),
    ("VAE", "VAE", ""),
    ("Styles", "", ""),
    ("UniPC Order", "", ""),
    ("Face restore", "", ""),
    ("Token merging ratio", "Token merging ratio", ""),
    ("Token merging ratio high-res", "Hires token merging", "txt2img"),
    ("Always discard next-to-last sigma", "", ""),
    ("SGM noise multiplier", "", ""),
    ("Refiner checkpoint", "Refiner", ""),
    ("Refiner switch at", "Refiner switch at", ""),
    ("RNG source", "Noise source", ""),
    ("FP8 mode", "", ""),
    ("Size", "Size", ""),
)


@dataclass(frozen=True, kw_only=True)
class ScriptPlan:
    """The requests that are carried out one after the other. `grid` tells whether a sheet of all images comes first,
    `sub_grids` whether one of each of its pages follows, `images` whether the images themselves do. With `loops` above
    1 the only request is repeated, each time on the image before it, its strength moving towards `final_strength`."""

    requests: tuple[GenerationRequest, ...]
    grid: bool = False
    images: bool = True
    sub_grids: bool = False
    loops: int = 1
    final_strength: float = 0.0


def plan_script(built: BuiltRequest, upscalers: Sequence[str], *, is_img2img: bool) -> ScriptPlan:
    """What the script that the body names makes of the request; without a script the request alone. `upscalers` are the
    names by which a script may choose one, or by their number behind "None".

    Raises:
        ScriptNotFound: there is no such script, or it has an argument without a counterpart here.
    """
    name = (built.body.script_name or "").strip().lower()
    if not name:
        return ScriptPlan(requests=(built.request,))
    if name not in (IMG2IMG_SCRIPTS if is_img2img else TXT2IMG_SCRIPTS):
        detail = f"Script '{built.body.script_name}' not found"
        raise ScriptNotFound(detail[:200], details={"kind": "HTTPException", "detail": detail[:200]})
    arguments = built.body.script_args
    if name == XYZ_PLOT:
        return _plan_xyz(built.request, arguments, is_img2img=is_img2img)
    if name == PROMPT_MATRIX:
        return _plan_matrix(built.request, arguments)
    if name == PROMPT_LINES:
        return _plan_lines(built.request, arguments)
    if name == SD_UPSCALE:
        return _plan_upscale(built.request, arguments, upscalers)
    if name in (OUTPAINTING, SIMPLE_OUTPAINTING):
        return _plan_outpainting(built.request, arguments, pixels_at=1 if name == OUTPAINTING else 0)
    return _plan_loopback(built.request, arguments)


def list_axis_labels(*, is_img2img: bool) -> list[str]:
    """The axes of the X/Y/Z plot by number."""
    other = "txt2img" if is_img2img else "img2img"
    return [label for label, _, only in _AXES if only != other]


def _plan_xyz(request: GenerationRequest, arguments: Sequence[Any], *, is_img2img: bool) -> ScriptPlan:
    axes: list[Axis] = []
    for place in (0, 3, 6):
        label = _read_axis_label(_get(arguments, place, 0), is_img2img=is_img2img)
        if label == _NOTHING:
            continue
        own = next(own for name, own, _ in _AXES if name == label)
        if not own:
            detail = f"The axis {label} is not supported"
            raise ScriptNotFound(detail, details={"kind": "HTTPException", "detail": detail})
        chosen = _get(arguments, place + 2, None)
        listed = cast("list[Any]", chosen) if isinstance(chosen, list) else []
        typed = listed or [_get(arguments, place + 1, "")]
        values = tuple(str(one) for one in typed)
        axes.append(Axis(parameter=own, values=values))
    if not axes:
        return ScriptPlan(requests=(request,), grid=True)
    plotted = request.replace(axes=tuple(axes), count=1, batch_size=1)
    return ScriptPlan(
        requests=(plotted,),
        grid=True,
        images=bool(_get(arguments, 10, False)),
        sub_grids=bool(_get(arguments, 11, False)),
    )


def _read_axis_label(value: Any, *, is_img2img: bool) -> str:
    labels = list_axis_labels(is_img2img=is_img2img)
    if isinstance(value, int) and 0 <= value < len(labels):
        return labels[value]
    found = next((label for label in labels if label.lower() == str(value).strip().lower()), None)
    if found is None:
        detail = f"Unknown axis {str(value)[:60]!r}"
        raise ScriptNotFound(detail, details={"kind": "HTTPException", "detail": detail})
    return found


def _plan_matrix(request: GenerationRequest, arguments: Sequence[Any]) -> ScriptPlan:
    """Every combination of the parts that follow the first, divided by "|"."""
    negative = str(_get(arguments, 2, "positive")) == "negative"
    divider = ", " if str(_get(arguments, 3, "comma")) == "comma" else " "
    first, *parts = [part.strip() for part in (request.negative_prompt if negative else request.prompt).split("|")]
    if len(parts) > _MAX_MATRIX_PARTS:
        raise InvalidRequest(
            f"The prompt matrix has {2 ** len(parts)} combinations.", hint=f"Use up to {_MAX_MATRIX_PARTS} parts."
        )
    at_start = bool(_get(arguments, 0, False))
    texts: list[str] = []
    for chosen in itertools.product((False, True), repeat=len(parts)):
        picked = [part for part, used in zip(parts, reversed(chosen), strict=True) if used]
        ordered = [*picked, first] if at_start else [first, *picked]
        texts.append(divider.join(text for text in ordered if text))
    spread = bool(_get(arguments, 1, False))
    field = "negative_prompt" if negative else "prompt"
    seed = request.seed or 0
    base = request.replace(count=1, batch_size=1)
    return ScriptPlan(
        requests=tuple(
            base.replace(**{field: text}, seed=(seed + number) % (MAX_SEED + 1) if spread else seed)
            for number, text in enumerate(texts)
        ),
        grid=True,
    )


def _plan_lines(request: GenerationRequest, arguments: Sequence[Any]) -> ScriptPlan:
    """A prompt on every line, or fields of its own; with the first argument each takes the seed after that of the one
    before."""
    iterates = bool(_get(arguments, 0, False))
    where = str(_get(arguments, 2, "start"))
    text = next((one for one in reversed(arguments) if isinstance(one, str) and one not in ("start", "end")), "")
    seed = request.seed or 0
    return ScriptPlan(
        requests=tuple(
            apply_prompt_line(
                request.replace(seed=(seed + number) % (MAX_SEED + 1) if iterates else seed),
                values,
                at_end=where == "end",
            )
            for number, values in enumerate(read_prompt_lines(text))
        )
    )


def _plan_loopback(request: GenerationRequest, arguments: Sequence[Any]) -> ScriptPlan:
    loops = _get(arguments, 0, 2)
    final = _get(arguments, 1, request.strength)
    if not isinstance(loops, int | float) or not 1 <= loops <= 32:
        raise InvalidRequest("The number of loops is not from 1 to 32.", hint="Use 1 to 32.")
    strength = float(final) if isinstance(final, int | float) else request.strength or 0.75
    return ScriptPlan(
        requests=(request.replace(count=1, batch_size=1),),
        grid=True,
        loops=int(loops),
        final_strength=min(max(strength, 0.0), 1.0),
    )


def _plan_upscale(request: GenerationRequest, arguments: Sequence[Any], upscalers: Sequence[str]) -> ScriptPlan:
    """The image enlarged by an upscaler and redrawn tile by tile, as far as its denoising strength lets it change."""
    scale, chosen = _get(arguments, 3, 2.0), _get(arguments, 2, 0)
    named = ["None", *upscalers]
    if isinstance(chosen, int) and 0 <= chosen < len(named):
        chosen = named[chosen]
    base = next((name for name in upscalers if name.lower() == str(chosen).lower()), LANCZOS)
    if not isinstance(scale, int | float):
        raise InvalidRequest("The scale factor is not a number.", hint="Use 1 to 8.")
    overlap = _get(arguments, 1, 64)
    has_overlap = isinstance(overlap, int | float) and math.isfinite(overlap)
    upscale = Upscale(
        scale=float(scale),
        creativity=request.strength,
        base=base,
        overlap=min(max(int(overlap), 0), 512) if has_overlap else None,
    )
    drawn = request.replace(task=Task.UPSCALE, strength=None, upscale=upscale, **_LEFT_OUT)
    return ScriptPlan(requests=(drawn,))


def _plan_outpainting(request: GenerationRequest, arguments: Sequence[Any], *, pixels_at: int) -> ScriptPlan:
    """The canvas enlarged on the sides that the script names."""
    pixels, sides = _get(arguments, pixels_at, 128), _get(arguments, 3, ["left", "right", "up", "down"])
    if not isinstance(pixels, int | float) or not isinstance(sides, list):
        raise InvalidRequest("The pixels to expand are not a number.", hint="Use 8 to 256.")
    wanted = {str(side).lower() for side in cast("list[Any]", sides)}
    width = max(8, int(pixels) // 8 * 8)
    margins: dict[str, Any] = {own: width for name, own in _SIDES.items() if name in wanted}
    outpaint = Outpaint(**margins)
    drawn = request.replace(task=Task.OUTPAINT, outpaint=outpaint, **_LEFT_OUT)
    return ScriptPlan(requests=(drawn,))


_SIDES = {"left": "left", "right": "right", "up": "top", "down": "bottom"}


def _get(arguments: Sequence[Any], place: int, default: Any) -> Any:
    return arguments[place] if place < len(arguments) and arguments[place] is not None else default


def describe_scripts() -> list[dict[str, Any]]:
    """What GET script-info tells: each script with its arguments."""
    found: list[dict[str, Any]] = []
    for is_img2img in (False, True):
        for name in IMG2IMG_SCRIPTS if is_img2img else TXT2IMG_SCRIPTS:
            arguments = [_describe_argument(label, value) for label, value in _ARGUMENTS[name]]
            if name == XYZ_PLOT:
                for place in (0, 3, 6):
                    arguments[place]["choices"] = list_axis_labels(is_img2img=is_img2img)
            found.append({"name": name, "is_alwayson": False, "is_img2img": is_img2img, "args": arguments})
        found += [
            {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": arguments}
            for name, arguments in (
                (CONTROL_SCRIPT, [_describe_argument(f"ControlNet Unit {number}", None) for number in range(3)]),
                (ADETAILER_SCRIPT, _describe_detailers()),
            )
        ]
    return found


def _describe_detailers() -> list[dict[str, Any]]:
    """On, skip img2img, and the detailers that ADetailer's own form has."""
    switches = [_describe_argument("Enable ADetailer", False), _describe_argument("Skip img2img", False)]
    return [*switches, *(_describe_argument(f"ADetailer {number}", None) for number in (1, 2))]


def _describe_argument(label: str, value: Any) -> dict[str, Any]:
    return {"label": label, "value": value, "minimum": None, "maximum": None, "step": None, "choices": None}


_ARGUMENTS: dict[str, tuple[tuple[str, Any], ...]] = {
    XYZ_PLOT: (
        ("X type", 1),
        ("X values", ""),
        ("X values", []),
        ("Y type", 0),
        ("Y values", ""),
        ("Y values", []),
        ("Z type", 0),
        ("Z values", ""),
        ("Z values", []),
        ("Draw legend", True),
        ("Include Sub Images", False),
        ("Include Sub Grids", False),
        ("Keep -1 for seeds", False),
        ("Vary seeds for X", False),
        ("Vary seeds for Y", False),
        ("Vary seeds for Z", False),
        ("Grid margins (px)", 0),
        ("Use text inputs instead of dropdowns", False),
    ),
    PROMPT_MATRIX: (
        ("Put variable parts at start of prompt", False),
        ("Use different seed for each picture", False),
        ("Select prompt", "positive"),
        ("Select joining char", "comma"),
        ("Grid margins (px)", 0),
    ),
    PROMPT_LINES: (
        ("Iterate seed every line", False),
        ("Use same random seed for all lines", False),
        ("Insert prompts at the", "start"),
        ("List of prompt inputs", ""),
    ),
    SD_UPSCALE: (("Tile overlap", ""), ("Tile overlap", 64), ("Upscaler", "None"), ("Scale Factor", 2.0)),
    OUTPAINTING: (
        ("", ""),
        ("Pixels to expand", 128),
        ("Mask blur", 8),
        ("Outpainting direction", ["left", "right", "up", "down"]),
        ("Fall-off exponent (lower=higher detail)", 1.0),
        ("Color variation", 0.05),
    ),
    SIMPLE_OUTPAINTING: (
        ("Pixels to expand", 128),
        ("Mask blur", 4),
        ("Masked content", "fill"),
        ("Outpainting direction", ["left", "right", "up", "down"]),
    ),
    LOOPBACK: (
        ("Loops", 2),
        ("Final denoising strength", 0.5),
        ("Denoising strength curve", "Linear"),
        ("Append interrogated prompt at each iteration", "None"),
    ),
}
