"""Which part of a picture becomes a format: the largest window of its shape, at the place that keeps what matters.

A window of the largest size can move along one side only, so all of its places are tried. Faces come first: a window that
cuts a face is taken only where the face is larger than the window. Among the rest, what counts is how much of the map lies
inside, how much of that inside the safe area, and how little of it is cut by the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.core.finish import Box
from studio.social.analysis import Analysis
from studio.vision.saliency import Region

PLACES = 241  # tried along the side
CORE = 0.8  # of the map's mass makes the subject
HEAD = (0.25, 0.45, 0.25, 0.25)  # hair and chin around a face: left, top, right, bottom, in faces
LEVELS = (1.0, 0.4, 0.0)  # of HEAD, the largest that fits is protected
EYES = (0.3, 0.55)  # of the face, from its top: what is kept when not even the face fits
CUT = 0.04  # a face may stick out this much and counts as whole
W_KEPT, W_SAFE, W_EDGE, W_CENTRE, W_TEXT = 0.6, 0.4, 0.5, 0.15, 0.3
EDGE = 0.03  # of the picture's side, at the window's ends
FACE_WHOLE, FACE_CUT = 2.0, -20.0
WHOLE_BOX = Box()

Line = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """A crop as fractions of the picture, and whether it moves along x. `length` is its share of that side."""

    along_x: bool
    length: float

    def box(self, start: float) -> Box:
        begin = min(max(start, 0.0), 1 - self.length)
        end = min(1.0, begin + self.length)
        return Box(left=begin, right=end) if self.along_x else Box(top=begin, bottom=end)


def window(width: int, height: int, ratio: float) -> Window:
    """The largest window of `ratio` (width over height) in a picture of `width` × `height` px."""
    own = width / height
    return Window(True, min(1.0, ratio / own)) if ratio <= own else Window(False, min(1.0, own / ratio))


def best_crop(seen: Analysis, ratio: float, safe: Box = WHOLE_BOX, focus: Box | None = None) -> Box:
    """The crop of `ratio` that keeps most of what matters, `safe` being the safe area as fractions of the crop. `focus` is
    what the user wants kept; it wins over faces."""
    frame = window(seen.width, seen.height, ratio)
    starts = np.linspace(0, 1 - frame.length, PLACES)
    score = _face_score(seen, frame, safe, starts)
    if faces_fit(seen, frame):
        score += _mass_score(seen, frame, safe, starts) + _text_score(seen, frame, starts)
    if focus is not None:
        score += 10 * _held(starts, frame, _side(focus, frame))
        score -= _off_centre(starts, frame, safe, _middle(_side(focus, frame)))
    # Of equal places the one nearest the middle: neither side of the picture is preferred.
    score -= 1e-4 * np.abs(starts - (1 - frame.length) / 2)
    return frame.box(float(starts[int(np.argmax(score))]))


def faces_fit(seen: Analysis, frame: Window) -> bool:
    """Whether one place shows all faces whole. Where none does, the map has no say: what is lighter, sharper or nearer to
    what a network learnt must not choose between people."""
    sides = [_side(face, frame) for face in seen.faces]
    return not sides or max(side[1] for side in sides) - min(side[0] for side in sides) <= frame.length


def same_crop(seen: Analysis, ratio: float, safe: Box, subject: Box) -> Box:
    """The crop of `ratio` whose safe area has the middle of `subject` in its own middle, as far as the picture reaches."""
    frame = window(seen.width, seen.height, ratio)
    low, high = _side(safe, frame)
    return frame.box(_middle(_side(subject, frame)) - frame.length * (low + high) / 2)


def subject_of(seen: Analysis, focus: Box | None = None) -> Box:
    """What must be kept: the user's `focus`, or the faces that count with the core of the map."""
    if focus is not None:
        return focus
    core = _core(seen.map)
    if seen.faces:
        regions = [*seen.faces]
        middle = [region for region in (core,) if _share(region, seen.faces) > 0.5]
        return _union([*regions, *middle])
    return Box(left=core.left, top=core.top, right=core.right, bottom=core.bottom)


def kept_mass(seen: Analysis, box: Box) -> float:
    """The share of the map inside `box`, 0 to 1."""
    rows, columns = seen.map.shape
    y, x = _cover(rows, box.top, box.bottom), _cover(columns, box.left, box.right)
    return float(min(1.0, y @ seen.map @ x))


def share_inside(region: Region | Box, box: Box) -> float:
    """How much of `region`'s area lies inside `box`, 0 to 1."""
    wide = max(0.0, min(region.right, box.right) - max(region.left, box.left))
    high = max(0.0, min(region.bottom, box.bottom) - max(region.top, box.top))
    area = (region.right - region.left) * (region.bottom - region.top)
    return wide * high / area if area > 0 else 0.0


def _cover(count: int, low: float, high: float) -> Line:
    """How much of each of `count` cells lies between `low` and `high`."""
    edges = np.arange(count + 1) / count
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * count


def _side(box: Box | Region, frame: Window) -> tuple[float, float]:
    return (box.left, box.right) if frame.along_x else (box.top, box.bottom)


def _middle(side: tuple[float, float]) -> float:
    return (side[0] + side[1]) / 2


def _held(starts: Line, frame: Window, side: tuple[float, float]) -> Line:
    """For each place the share of the interval `side` that lies inside."""
    low, high = side
    inside = np.minimum(high, starts + frame.length) - np.maximum(low, starts)
    return np.clip(inside, 0, None) / max(high - low, 1e-6)


def _off_centre(starts: Line, frame: Window, safe: Box, place: float) -> Line:
    low, high = _side(safe, frame)
    return np.abs((place - starts) / frame.length - (low + high) / 2)


def _mass_score(seen: Analysis, frame: Window, safe: Box, starts: Line) -> Line:
    """Kept mass, mass in the safe area, mass at the cut edges, and how far the mass lies from the middle."""
    line = seen.map.sum(axis=0 if frame.along_x else 1, dtype=np.float64)
    across = (safe.top, safe.bottom) if frame.along_x else (safe.left, safe.right)
    rows = seen.map.shape[0 if frame.along_x else 1]
    inner = _cover(rows, *across) @ (seen.map if frame.along_x else seen.map.T)
    low, high = _side(safe, frame)
    ends = starts + frame.length
    kept = _between(line, starts, ends)
    safely = _between(inner, starts + low * frame.length, starts + high * frame.length)
    cut = _between(line, starts - EDGE, starts + EDGE) * (starts > 0)
    cut = cut + _between(line, ends - EDGE, ends + EDGE) * (ends < 1 - 1e-9)
    places = (np.arange(line.size) + 0.5) / line.size
    middle = float((line * places).sum() / max(line.sum(), 1e-9))
    return W_KEPT * kept + W_SAFE * safely - W_EDGE * cut - W_CENTRE * _off_centre(starts, frame, safe, middle)


def _between(line: Line, low: Line, high: Line) -> Line:
    """The sum of `line` between the fractions `low` and `high`."""
    total = np.concatenate([[0.0], np.cumsum(line)])
    edges = np.arange(line.size + 1) / line.size
    return np.interp(high, edges, total) - np.interp(low, edges, total)


def _text_score(seen: Analysis, frame: Window, starts: Line) -> Line:
    """A line of text is whole or not there; half a line is worse than either."""
    score = np.zeros_like(starts)
    for text in seen.texts:
        held = _held(starts, frame, _side(text, frame))
        score += np.where(held > 0.99, 1.0, np.where(held < 0.01, 0.0, -0.5)) / len(seen.texts)
    return W_TEXT * score


def _face_score(seen: Analysis, frame: Window, safe: Box, starts: Line) -> Line:
    """Whole faces, with the hair and chin that fit; a cut face costs more than any face gains."""
    score = np.zeros_like(starts)
    if not seen.faces:
        return score
    level = _level(seen.faces, frame)
    inner = (starts + _side(safe, frame)[0] * frame.length, starts + _side(safe, frame)[1] * frame.length)
    for face in seen.faces:
        side = _protected(face, frame, level)
        held = _held(starts, frame, side)
        bare = _held(starts, frame, _bare(face, frame))
        whole = bare > 1 - CUT
        score += np.where(whole, FACE_WHOLE, np.where(bare < CUT, 0.0, FACE_CUT + bare))
        score += 0.8 * np.where(whole, held, 0.0)
        safely = np.minimum(side[1], inner[1]) - np.maximum(side[0], inner[0])
        score += 0.4 * np.clip(safely / max(side[1] - side[0], 1e-6), 0, 1)
    crowd = (min(_side(face, frame)[0] for face in seen.faces), max(_side(face, frame)[1] for face in seen.faces))
    return score - 0.1 * _off_centre(starts, frame, safe, _middle(crowd))


def _level(faces: Sequence[Region], frame: Window) -> float:
    """The most of HEAD with which all faces fit at once; 0 where they do not even without."""
    for level in LEVELS:
        sides = [_protected(face, frame, level) for face in faces]
        if max(side[1] for side in sides) - min(side[0] for side in sides) <= frame.length:
            return level
    single = [level for level in LEVELS if all(_length(_protected(f, frame, level)) <= frame.length for f in faces)]
    return single[0] if single else 0.0


def _protected(face: Region, frame: Window, level: float) -> tuple[float, float]:
    """The interval of the face with `level` of its head, inside the picture."""
    wide, high = face.right - face.left, face.bottom - face.top
    if frame.along_x:
        return max(0.0, face.left - level * HEAD[0] * wide), min(1.0, face.right + level * HEAD[2] * wide)
    return max(0.0, face.top - level * HEAD[1] * high), min(1.0, face.bottom + level * HEAD[3] * high)


def _bare(face: Region, frame: Window) -> tuple[float, float]:
    """The interval that must not be cut: the face, or its eyes where the face is larger than the window."""
    low, high = _side(face, frame)
    if high - low <= frame.length or frame.along_x:
        return low, high
    return low + EYES[0] * (high - low), low + EYES[1] * (high - low)


def _length(side: tuple[float, float]) -> float:
    return side[1] - side[0]


def _core(mass: np.ndarray[Any, Any]) -> Region:
    """The rectangle around CORE of the mass: what is left when both ends of either side lose the same share."""
    tail = (1 - CORE) / 4
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


def _share(region: Region, faces: Sequence[Region]) -> float:
    whole = Box(left=region.left, top=region.top, right=region.right, bottom=region.bottom)
    return sum(share_inside(face, whole) for face in faces) / len(faces)


def _union(regions: Sequence[Region]) -> Box:
    return Box(
        left=min(region.left for region in regions), top=min(region.top for region in regions),
        right=max(region.right for region in regions), bottom=max(region.bottom for region in regions),
    )  # fmt: skip
