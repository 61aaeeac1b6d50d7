"""Choose the part of an image that becomes a format: the largest window of its shape, at the place that keeps what
matters.

A window of the largest size can move along one side only, so all of its places are tried. Faces come first: a window
that cuts a face is taken only where the face is larger than the window. Among the rest, what counts is how much of the
map lies inside, how much of that inside the safe area, and how little of it is cut by the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.core.finish import Box
from studio.social.analysis import Analysis
from studio.vision.saliency import Region

POSITION_COUNT = 241  # tried along the side
CORE_SHARE = 0.8  # of the map's mass makes the subject
HEAD_MARGINS = (0.25, 0.45, 0.25, 0.25)  # hair and chin around a face: left, top, right, bottom, in faces
HEAD_LEVELS = (1.0, 0.4, 0.0)  # of HEAD, the largest that fits is protected
EYE_BAND = (0.3, 0.55)  # of the face, from its top: what is kept when not even the face fits
CUT_TOLERANCE = 0.04  # a face may stick out this much and counts as whole
WEIGHT_KEPT, WEIGHT_SAFE, WEIGHT_EDGE, WEIGHT_CENTRE, WEIGHT_TEXT = 0.6, 0.4, 0.5, 0.15, 0.3
EDGE_WIDTH = 0.03  # of the image's side, at the window's ends
WHOLE_FACE_SCORE, CUT_FACE_SCORE = 2.0, -20.0
WHOLE_BOX = Box()

Profile = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CropWindow:
    """A crop as fractions of the image, and whether it moves along x. `length` is its share of that side."""

    along_x: bool
    length: float

    def box(self, start: float) -> Box:
        begin = min(max(start, 0.0), 1 - self.length)
        end = min(1.0, begin + self.length)
        return Box(left=begin, right=end) if self.along_x else Box(top=begin, bottom=end)


def fit_window(width: int, height: int, ratio: float) -> CropWindow:
    """The largest window of `ratio` (width over height) in an image of `width` × `height` px."""
    own = width / height
    return CropWindow(True, min(1.0, ratio / own)) if ratio <= own else CropWindow(False, min(1.0, own / ratio))


def find_best_crop(seen: Analysis, ratio: float, safe: Box = WHOLE_BOX, focus: Box | None = None) -> Box:
    """The crop of `ratio` that keeps most of what matters, `safe` being the safe area as fractions of the crop. `focus`
    is what the user wants kept; it wins over faces."""
    frame = fit_window(seen.width, seen.height, ratio)
    starts = np.linspace(0, 1 - frame.length, POSITION_COUNT)
    score = _score_faces(seen, frame, safe, starts)
    if can_fit_faces(seen, frame):
        score += _score_mass(seen, frame, safe, starts) + _score_text(seen, frame, starts)
    if focus is not None:
        score += 10 * _measure_inside(starts, frame, _get_side(focus, frame))
        score -= _measure_off_centre(starts, frame, safe, _get_middle(_get_side(focus, frame)))
    # Of equal places the one nearest the middle: neither side of the image is preferred.
    score -= 1e-4 * np.abs(starts - (1 - frame.length) / 2)
    return frame.box(float(starts[int(np.argmax(score))]))


def can_fit_faces(seen: Analysis, frame: CropWindow) -> bool:
    """Whether one place shows all faces whole. Where none does, the map has no say: what is lighter, sharper or nearer
    to what a network learnt must not choose between people."""
    sides = [_get_side(face, frame) for face in seen.faces]
    return not sides or max(side[1] for side in sides) - min(side[0] for side in sides) <= frame.length


def find_shared_crop(seen: Analysis, ratio: float, safe: Box, subject: Box) -> Box:
    """The crop of `ratio` whose safe area has the middle of `subject` in its own middle, as far as the image
    reaches."""
    frame = fit_window(seen.width, seen.height, ratio)
    low, high = _get_side(safe, frame)
    return frame.box(_get_middle(_get_side(subject, frame)) - frame.length * (low + high) / 2)


def find_subject(seen: Analysis, focus: Box | None = None) -> Box:
    """The area to keep: the user's `focus`, or the faces that count with the core of the map."""
    if focus is not None:
        return focus
    core = _find_core(seen.map)
    if seen.faces:
        regions = [*seen.faces]
        middle = [region for region in (core,) if _measure_face_share(region, seen.faces) > 0.5]
        return _unite_regions([*regions, *middle])
    return Box(left=core.left, top=core.top, right=core.right, bottom=core.bottom)


def measure_kept_mass(seen: Analysis, box: Box) -> float:
    """The share of the map inside `box`, 0 to 1."""
    rows, columns = seen.map.shape
    y, x = _measure_coverage(rows, box.top, box.bottom), _measure_coverage(columns, box.left, box.right)
    return float(min(1.0, y @ seen.map @ x))


def measure_share_inside(region: Region | Box, box: Box) -> float:
    """How much of `region`'s area lies inside `box`, 0 to 1."""
    wide = max(0.0, min(region.right, box.right) - max(region.left, box.left))
    high = max(0.0, min(region.bottom, box.bottom) - max(region.top, box.top))
    area = (region.right - region.left) * (region.bottom - region.top)
    return wide * high / area if area > 0 else 0.0


def _measure_coverage(count: int, low: float, high: float) -> Profile:
    """How much of each of `count` cells lies between `low` and `high`."""
    edges = np.arange(count + 1) / count
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * count


def _get_side(box: Box | Region, frame: CropWindow) -> tuple[float, float]:
    return (box.left, box.right) if frame.along_x else (box.top, box.bottom)


def _get_middle(side: tuple[float, float]) -> float:
    return (side[0] + side[1]) / 2


def _measure_inside(starts: Profile, frame: CropWindow, side: tuple[float, float]) -> Profile:
    """For each place the share of the interval `side` that lies inside."""
    low, high = side
    inside = np.minimum(high, starts + frame.length) - np.maximum(low, starts)
    return np.clip(inside, 0, None) / max(high - low, 1e-6)


def _measure_off_centre(starts: Profile, frame: CropWindow, safe: Box, place: float) -> Profile:
    low, high = _get_side(safe, frame)
    return np.abs((place - starts) / frame.length - (low + high) / 2)


def _score_mass(seen: Analysis, frame: CropWindow, safe: Box, starts: Profile) -> Profile:
    """Kept mass, mass in the safe area, mass at the cut edges, and how far the mass lies from the middle."""
    line = seen.map.sum(axis=0 if frame.along_x else 1, dtype=np.float64)
    across = (safe.top, safe.bottom) if frame.along_x else (safe.left, safe.right)
    rows = seen.map.shape[0 if frame.along_x else 1]
    inner = _measure_coverage(rows, *across) @ (seen.map if frame.along_x else seen.map.T)
    low, high = _get_side(safe, frame)
    ends = starts + frame.length
    kept = _sum_between(line, starts, ends)
    safely = _sum_between(inner, starts + low * frame.length, starts + high * frame.length)
    cut = _sum_between(line, starts - EDGE_WIDTH, starts + EDGE_WIDTH) * (starts > 0)
    cut = cut + _sum_between(line, ends - EDGE_WIDTH, ends + EDGE_WIDTH) * (ends < 1 - 1e-9)
    places = (np.arange(line.size) + 0.5) / line.size
    middle = float((line * places).sum() / max(line.sum(), 1e-9))
    return (
        WEIGHT_KEPT * kept
        + WEIGHT_SAFE * safely
        - WEIGHT_EDGE * cut
        - WEIGHT_CENTRE * _measure_off_centre(starts, frame, safe, middle)
    )


def _sum_between(line: Profile, low: Profile, high: Profile) -> Profile:
    """The sum of `line` between the fractions `low` and `high`."""
    total = np.concatenate([[0.0], np.cumsum(line)])
    edges = np.arange(line.size + 1) / line.size
    return np.interp(high, edges, total) - np.interp(low, edges, total)


def _score_text(seen: Analysis, frame: CropWindow, starts: Profile) -> Profile:
    """A line of text is whole or not there; half a line is worse than either."""
    score = np.zeros_like(starts)
    for text in seen.texts:
        held = _measure_inside(starts, frame, _get_side(text, frame))
        score += np.where(held > 0.99, 1.0, np.where(held < 0.01, 0.0, -0.5)) / len(seen.texts)
    return WEIGHT_TEXT * score


def _score_faces(seen: Analysis, frame: CropWindow, safe: Box, starts: Profile) -> Profile:
    """Whole faces, with the hair and chin that fit; a cut face costs more than any face gains."""
    score = np.zeros_like(starts)
    if not seen.faces:
        return score
    level = _choose_head_level(seen.faces, frame)
    inner = (starts + _get_side(safe, frame)[0] * frame.length, starts + _get_side(safe, frame)[1] * frame.length)
    for face in seen.faces:
        side = _get_head_span(face, frame, level)
        held = _measure_inside(starts, frame, side)
        bare = _measure_inside(starts, frame, _get_face_span(face, frame))
        whole = bare > 1 - CUT_TOLERANCE
        score += np.where(whole, WHOLE_FACE_SCORE, np.where(bare < CUT_TOLERANCE, 0.0, CUT_FACE_SCORE + bare))
        score += 0.8 * np.where(whole, held, 0.0)
        safely = np.minimum(side[1], inner[1]) - np.maximum(side[0], inner[0])
        score += 0.4 * np.clip(safely / max(side[1] - side[0], 1e-6), 0, 1)
    crowd = (
        min(_get_side(face, frame)[0] for face in seen.faces),
        max(_get_side(face, frame)[1] for face in seen.faces),
    )
    return score - 0.1 * _measure_off_centre(starts, frame, safe, _get_middle(crowd))


def _choose_head_level(faces: Sequence[Region], frame: CropWindow) -> float:
    """The most of HEAD with which all faces fit at once; 0 where they do not even without."""
    for level in HEAD_LEVELS:
        sides = [_get_head_span(face, frame, level) for face in faces]
        if max(side[1] for side in sides) - min(side[0] for side in sides) <= frame.length:
            return level
    single = [
        level
        for level in HEAD_LEVELS
        if all(_get_length(_get_head_span(f, frame, level)) <= frame.length for f in faces)
    ]
    return single[0] if single else 0.0


def _get_head_span(face: Region, frame: CropWindow, level: float) -> tuple[float, float]:
    """The interval of the face with `level` of its head, inside the image."""
    wide, high = face.right - face.left, face.bottom - face.top
    if frame.along_x:
        return max(0.0, face.left - level * HEAD_MARGINS[0] * wide), min(
            1.0, face.right + level * HEAD_MARGINS[2] * wide
        )
    return max(0.0, face.top - level * HEAD_MARGINS[1] * high), min(1.0, face.bottom + level * HEAD_MARGINS[3] * high)


def _get_face_span(face: Region, frame: CropWindow) -> tuple[float, float]:
    """The interval that must not be cut: the face, or its eyes where the face is larger than the window."""
    low, high = _get_side(face, frame)
    if high - low <= frame.length or frame.along_x:
        return low, high
    return low + EYE_BAND[0] * (high - low), low + EYE_BAND[1] * (high - low)


def _get_length(side: tuple[float, float]) -> float:
    return side[1] - side[0]


def _find_core(mass: np.ndarray[Any, Any]) -> Region:
    """The rectangle around CORE of the mass: what is left when both ends of either side lose the same share."""
    tail = (1 - CORE_SHARE) / 4
    edges: list[float] = []
    for axis in (0, 1):
        total = np.concatenate([[0.0], np.cumsum(mass.sum(axis=axis, dtype=np.float64))])
        places = np.arange(total.size) / (total.size - 1)
        edges += [
            float(np.interp(tail, total / total[-1], places)),
            float(np.interp(1 - tail, total / total[-1], places)),
        ]
    return Region(
        left=edges[0], top=edges[2], right=max(edges[1], edges[0] + 0.01), bottom=max(edges[3], edges[2] + 0.01)
    )


def _measure_face_share(region: Region, faces: Sequence[Region]) -> float:
    whole = Box(left=region.left, top=region.top, right=region.right, bottom=region.bottom)
    return sum(measure_share_inside(face, whole) for face in faces) / len(faces)


def _unite_regions(regions: Sequence[Region]) -> Box:
    return Box(
        left=min(region.left for region in regions),
        top=min(region.top for region in regions),
        right=max(region.right for region in regions),
        bottom=max(region.bottom for region in regions),
    )
