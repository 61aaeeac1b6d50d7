"""Guidance of extensions in infotexts: self-attention guidance by the keys of Forge, dynamic thresholding by those of
sd-dynamic-thresholding and of Forge, tiled diffusion by those of the extension of that name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from studio.core.number_format import format_number
from studio.core.request import GenerationRequest

_LATENT_SCALE = 8  # px of an image for each latent pixel, in which tiles are counted there
_SAG_KEYS = ("sag_enabled", "sag_scale", "sag_blur_sigma", "sag_threshold")
_THRESHOLDING = "Dynamic thresholding enabled"
_THRESHOLDING_DEFAULTS = {
    "Separate Feature Channels": "True",
    "Scaling Startpoint": "MEAN",
    "Variability Measure": "AD",
    "Interpolate Phi": "1",
    "Mimic mode": "Constant",
    "CFG mode": "Constant",
}
_FORGE_THRESHOLDING = {  # Forge's keys without their prefix, in the extension's words
    "enabled": _THRESHOLDING,
    "mimic_scale": "Mimic scale",
    "threshold_percentile": "Threshold percentile",
    "separate_feature_channels": "Separate Feature Channels",
    "scaling_startpoint": "Scaling Startpoint",
    "variability_measure": "Variability Measure",
    "interpolate_phi": "Interpolate Phi",
    "mimic_mode": "Mimic mode",
    "cfg_mode": "CFG mode",
}
_FORGE_PREFIX = "dynthres_"
_BESIDE_MODES = {"Mimic mode": "dynthres_mimic_scale_min", "CFG mode": "dynthres_cfg_scale_min"}
"""What counts only in another mode than the constant one, by the mode's key."""
_TILES = "Tiled Diffusion"
_TILE_KEYS = {  # the words in the one value that later versions write, and the keys of earlier ones
    "Method": "Tiled Diffusion method",
    "Tile tile width": "Tiled Diffusion tile width",
    "Tile tile height": "Tiled Diffusion tile height",
    "Tile Overlap": "Tiled Diffusion overlap",
    "Tile batch size": "Tiled Diffusion batch size",
}
_TILE_DEFAULTS = {"Upscaler": "none", "Keep input size": "true"}
_TILE_ENTRY = re.compile(r"""["']([\w ]{1,40})["']\s*:\s*["']?([^,"'{}]{0,80})""")


def build_guidance_pairs(request: GenerationRequest) -> list[tuple[str, str]]:
    """The pairs that switch on what the request's own keys set, for the programs that these keys come from."""
    found = [("sag_enabled", "True"), ("sag_threshold", "1")] if request.sag_scale else []
    return [*found, *([(_THRESHOLDING, "True")] if request.mimic_scale else [])]


def convert_guidance_pairs(pairs: Mapping[str, str]) -> dict[str, str]:
    """`pairs` with what is switched on under our own keys, and without what is switched off or has no effect. What
    there is no place for is left as it is."""
    return _convert_tiles(_convert_thresholding(_convert_sag(dict(pairs))))


def _convert_sag(pairs: dict[str, str]) -> dict[str, str]:
    if pairs.get("sag_enabled") == "False":
        return {key: value for key, value in pairs.items() if key not in _SAG_KEYS}
    if pairs.get("sag_enabled") == "True":
        del pairs["sag_enabled"]
        if _is_number(pairs.get("sag_threshold", ""), 1):
            del pairs["sag_threshold"]
    return pairs


def _convert_thresholding(pairs: dict[str, str]) -> dict[str, str]:
    if f"{_FORGE_PREFIX}enabled" in pairs:
        pairs = _rename_forge_thresholding(pairs)
    if pairs.get(_THRESHOLDING) == "False":
        gone = {_THRESHOLDING, "Mimic scale", "Threshold percentile", *_THRESHOLDING_DEFAULTS}
        return {key: value for key, value in pairs.items() if key not in gone}
    if pairs.get(_THRESHOLDING) != "True":
        return pairs
    del pairs[_THRESHOLDING]
    for key, value in _THRESHOLDING_DEFAULTS.items():
        if pairs.get(key) == value or (value == "1" and _is_number(pairs.get(key, ""), 1)):
            del pairs[key]
    return pairs


def _rename_forge_thresholding(pairs: dict[str, str]) -> dict[str, str]:
    """Forge counts the percentile as a fraction, and says "enable" of the channels."""
    found = {key: value for key, value in pairs.items() if not key.startswith(_FORGE_PREFIX)}
    for key, value in pairs.items():
        name = _FORGE_THRESHOLDING.get(key.removeprefix(_FORGE_PREFIX), key)
        if key.startswith(_FORGE_PREFIX):
            found[name] = {"enable": "True", "disable": "False"}.get(value, value)
    if (percentile := _parse_number(found.get("Threshold percentile", ""))) is not None:
        found["Threshold percentile"] = format_number(percentile * 100)
    modes = [found.get(key, "Constant") for key in _BESIDE_MODES]
    for mode, key in zip(modes, _BESIDE_MODES.values(), strict=True):
        if mode == "Constant":
            found.pop(key, None)
    if modes == ["Constant", "Constant"]:
        found.pop("dynthres_sched_val", None)
    return found


def _convert_tiles(pairs: dict[str, str]) -> dict[str, str]:
    """Tiles of one side, blended as MultiDiffusion does; others are left as they are."""
    whole = pairs.get(_TILES, "")
    entries = dict(_TILE_ENTRY.findall(whole)) if whole.startswith("{") else {}
    given = {key: value.strip() for key, value in entries.items()}
    given |= {word: pairs[key] for word, key in _TILE_KEYS.items() if key in pairs}
    sides = [_parse_number(given.get(f"Tile tile {side}", "")) for side in ("width", "height")]
    overlap = _parse_number(given.get("Tile Overlap", "0"))
    if given.get("Method") != "MultiDiffusion" or not sides[0] or sides[0] != sides[1] or overlap is None:
        return pairs
    left = {
        f"{_TILES} {word.lower()}": value
        for word, value in given.items()
        if word not in _TILE_KEYS and _TILE_DEFAULTS.get(word) != value.lower()
    }
    if given.get("Upscaler", "None").lower() == "none":
        left.pop(f"{_TILES} scale factor", None)
    rest = {key: value for key, value in pairs.items() if key != _TILES and key not in _TILE_KEYS.values()}
    return {
        **rest,
        **left,
        "Tile size": format_number(sides[0] * _LATENT_SCALE),
        "Tile overlap": format_number(round(min(overlap, sides[0] - 4) / sides[0], 4)),
        **({"Tile batch size": given["Tile batch size"]} if "Tile batch size" in given else {}),
    }


def _parse_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def _is_number(text: str, wanted: float) -> bool:
    return _parse_number(text) == wanted
