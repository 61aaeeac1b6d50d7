"""Detailers in infotexts, by the keys of the extension ADetailer; the second one's end in "2nd", and so on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.detailer import MAX_DETAILERS, Detailer
from studio.core.errors import InvalidRequest
from studio.core.field_tables.detailer import FACE
from studio.core.infotext_keys import build_pairs, index_keys, parse_key

_PREFIX = "ADetailer "
_MODEL = f"{_PREFIX}model"
_CLASSES = f"{_PREFIX}model classes"
_SUFFIXES = ("", " 2nd", " 3rd", *(f" {number}th" for number in range(4, MAX_DETAILERS + 1)))
_DETECTORS = {FACE: "face_yolov8n.pt", "hands": "hand_yolov8n.pt", "person": "person_yolov8n-seg.pt"}
_TARGETS = (  # what the names of detectors begin with
    (re.compile(r"(mediapipe_)?face(?!.*eyes)"), FACE),
    (re.compile(r"mediapipe_face.*eyes|eyes?_"), "eyes"),
    (re.compile(r"hand"), "hands"),
    (re.compile(r"person"), "person"),
    (re.compile(r"deepfashion"), "clothes"),
)
_ANY_WORDS = "yolov8x-worldv2.pt"
_SWITCHES = {  # a key, and the fields that count only while it says True
    "use inpaint width height": ("width", "height"),
    "use separate steps": ("steps",),
    "use separate CFG scale": ("guidance",),
    "use separate checkpoint": ("model",),
    "use separate sampler": ("sampler", "schedule"),
}
_SAYS_NOTHING = {"inpaint only masked": "True", "mask merge invert": "None", "x offset": "0", "y offset": "0"}
_OWN_SCHEDULES = ("Automatic", "Use same scheduler")


def build_detailer_pairs(detailers: Sequence[Detailer]) -> list[tuple[str, str]]:
    """The pairs that ADetailer would write."""
    return [
        (f"{key}{suffix}", value)
        for suffix, one in zip(_SUFFIXES, detailers, strict=False)
        for key, value in _build_pairs(one)
        if value
    ]


def _build_pairs(detailer: Detailer) -> list[tuple[str, str]]:
    target = FACE if detailer.finds_faces else detailer.target.strip()
    pairs = [(_MODEL, _DETECTORS.get(target, _ANY_WORDS))]
    pairs += [] if target in _DETECTORS else [(_CLASSES, target)]
    pairs += build_pairs(detailer).items()
    pairs.append((f"{_PREFIX}inpaint only masked", "True"))
    for key, names in _SWITCHES.items():
        if any(getattr(detailer, name) is not None for name in names):
            pairs.append((f"{_PREFIX}{key}", "True"))
    return [pair for pair in pairs if pair != (f"{_PREFIX}mask only top k largest", "0")]


def split_detailer_pairs(pairs: Mapping[str, str]) -> tuple[tuple[Detailer, ...], dict[str, str]]:
    """The detailers that `pairs` describe, and the pairs that they have no place for."""
    rest = dict(pairs)
    if _MODEL not in rest:
        return (), rest
    rest.pop(f"{_PREFIX}version", None)
    found: list[Detailer] = []
    for suffix in _SUFFIXES:
        own = {
            key.removesuffix(suffix).removeprefix(_PREFIX): (key, value)
            for key, value in rest.items()
            if key.startswith(_PREFIX) and _get_suffix(key) == suffix
        }
        detailer, used = _parse_detailer(own)
        if detailer is not None:
            found.append(detailer)
            rest = {key: value for key, value in rest.items() if key not in used}
    return tuple(found), rest


def _get_suffix(key: str) -> str:
    return next((suffix for suffix in _SUFFIXES[1:] if key.endswith(suffix)), "")


def _parse_detailer(own: Mapping[str, tuple[str, str]]) -> tuple[Detailer | None, set[str]]:
    """The detailer of pairs by the name of what they set, and the keys that it took; none for a detector that is not
    known."""
    if "model" not in own:
        return None, set()
    target = _find_target(own["model"][1], own.get("model classes", ("", ""))[1])
    if not target:
        return None, set()
    detailer, used = Detailer(target=target), {own[name][0] for name in ("model", "model classes") if name in own}
    off = {name for key, names in _SWITCHES.items() if own.get(key, ("", ""))[1] != "True" for name in names}
    index = {key.removeprefix(_PREFIX): specs[0] for key, specs in index_keys(Detailer.FIELDS).items()}
    changes: dict[str, Any] = {}
    for name, (key, text) in own.items():
        if name in _SWITCHES or _SAYS_NOTHING.get(name) == text:
            used.add(key)
        elif name in index:
            spec = index[name]
            used.add(key)
            if spec.name in off or (spec.name == "schedule" and text in _OWN_SCHEDULES):
                continue
            try:
                found = parse_key([spec], text)
                dataclasses.replace(detailer, **_complete_size(found))
                changes = found | changes if spec.name == "sampler" else changes | found
            except (ValueError, KeyError, OverflowError, InvalidRequest):
                used.discard(key)
    if ("width" in changes) != ("height" in changes):
        changes = {name: value for name, value in changes.items() if name not in ("width", "height")}
    return dataclasses.replace(detailer, **changes), used


def _complete_size(change: dict[str, Any]) -> dict[str, Any]:
    """One side alone is refused; beside any other it is checked by itself."""
    sides = {"width": "height", "height": "width"}
    return change | {sides[name]: 512 for name in change if name in sides}


def _find_target(detector: str, classes: str) -> str:
    name = detector.strip().rsplit("/", 1)[-1].lower()
    if "-world" in name and classes.strip():
        return classes.strip()[:200]
    return next((target for pattern, target in _TARGETS if pattern.match(name)), "")
