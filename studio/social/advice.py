"""What a crop keeps and loses, in words, and what is better than cropping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from studio.core.finish import Box
from studio.core.social import CropResult, Extend, Verdict
from studio.core.social_formats import Format, PlatformData
from studio.social.analysis import Analyses, Analysis, Eyes
from studio.social.crop import best_crop, kept_mass, same_crop, share_inside, subject_of
from studio.social.fit_format import shaped
from studio.vision.saliency import Region

GOOD, LOW = 0.90, 0.70  # kept share of the map: above crop silently, below offer to extend
MOST_CUT = 0.40  # a crop that keeps less of the picture's area is to be looked at
WHOLE, GONE = 0.96, 0.04  # of a face inside the crop
WHOLE_DRAWING = 0.97  # of the map: a drawing that loses more than this is not cropped
SAFE = 0.95  # of the subject inside the safe area


def open_eyes() -> Eyes:
    """The networks that ship."""
    from studio.vision.faces import find_faces
    from studio.vision.subject import subject

    return Eyes(faces=find_faces, subject=subject)


class Advisor:
    """Finds the crops of formats (CropAdvice of studio.core.social): one look at a picture serves all of its formats."""

    def __init__(self, platforms: PlatformData, eyes: Callable[[], Eyes] = open_eyes) -> None:
        self._platforms = platforms
        self.analyses = Analyses(eyes)

    def advise(
        self, picture: Image.Image, formats: Sequence[str], focus: Box | None = None, same: bool = False,
        own: Mapping[str, Box] = {},
    ) -> list[CropResult]:  # fmt: skip
        """One result per format, in their order; `own` are the user's crops by format. Raises NotFound for a format that is
        not there."""
        chosen = [self._platforms.format(each) for each in formats]
        return planned(self.analyses.of(picture), chosen, focus, own, same=same)


def crops(
    seen: Analysis, formats: Sequence[Format], focus: Box | None = None, *, same: bool = False
) -> list[CropResult]:
    """The crop of each format: each its own, or with `same` all around one subject."""
    subject = subject_of(seen, focus)
    found: list[CropResult] = []
    for each in formats:
        if same:
            box = same_crop(seen, each.ratio, each.safe_box, subject)
        else:
            box = best_crop(seen, each.ratio, each.safe_box, focus)
        found.append(judged(seen, each, box, focus, same=same))
    return found


def planned(
    seen: Analysis, formats: Sequence[Format], focus: Box | None, own: Mapping[str, Box], *, same: bool = False
) -> list[CropResult]:
    """The crop of each format: the user's own where there is one, brought to the format's shape, else what is found."""
    found = {
        each.format: each for each in crops(seen, [each for each in formats if each.id not in own], focus, same=same)
    }
    for each in formats:
        if each.id in own:
            box = shaped(own[each.id], each.ratio, seen.width, seen.height)
            found[each.id] = judged(seen, each, box, focus, same=same, own=True)
    return [found[each.id] for each in formats]


def judged(
    seen: Analysis, of: Format, box: Box, focus: Box | None = None, *, same: bool = False, own: bool = False
) -> CropResult:
    """What `box` keeps of the picture for that format; `own` tells that the user chose it."""
    if seen.blank:
        return CropResult(
            format=of.id, box=box, kept=1.0, notes=("The picture is fully transparent.",), verdict=Verdict.CHECK
        )
    kept = share_inside(focus, box) if focus is not None else kept_mass(seen, box)
    whole, cut, gone = _faces_in(seen.faces, box)
    keeps, loses, notes = _words(seen, kept, (whole, cut, gone), focus is not None)
    loses += _unsafe(seen, of, box, focus) if same else []
    notes += _smaller(seen, of, box)
    verdict = Verdict.GOOD if own else _verdict(seen, box, kept, cut + gone)
    return CropResult(
        format=of.id, box=box, kept=round(kept, 3), keeps=tuple(keeps), loses=tuple(loses), notes=tuple(notes),
        verdict=verdict, advice=_advice(seen, of) if verdict is Verdict.EXTEND else Extend.CROP,
        faces=len(seen.faces), faces_whole=whole,
    )  # fmt: skip


def _verdict(seen: Analysis, box: Box, kept: float, faces_missing: int) -> Verdict:
    area = (box.right - box.left) * (box.bottom - box.top)
    if kept < LOW or faces_missing or (seen.graphic and kept < WHOLE_DRAWING):
        return Verdict.EXTEND
    return Verdict.CHECK if kept < GOOD or area < MOST_CUT or not seen.seen else Verdict.GOOD


def _advice(seen: Analysis, of: Format) -> Extend:
    """A drawing or a product on a plain ground gets its own colour around it, everything else a blurred border."""
    return Extend.COLOUR if seen.graphic else Extend.BLUR


def _faces_in(faces: Sequence[Region], box: Box) -> tuple[int, int, int]:
    """(whole, cut, gone)."""
    shares = [share_inside(face, box) for face in faces]
    whole, gone = sum(share > WHOLE for share in shares), sum(share < GONE for share in shares)
    return whole, len(shares) - whole - gone, gone


def _words(
    seen: Analysis, kept: float, faces: tuple[int, int, int], focused: bool
) -> tuple[list[str], list[str], list[str]]:
    whole, cut, gone = faces
    count = whole + cut + gone
    what = "what you marked" if focused else "the subject"
    keeps = [f"{kept:.0%} of {what}"]
    loses = [f"{1 - kept:.0%} of {what}"] if kept < GOOD else []
    notes: list[str] = []
    if count:
        keeps.append(
            "all faces"
            if whole == count and count > 1
            else "the face"
            if whole == count
            else f"{whole} of {count} faces"
        )
    if cut:
        loses.append(f"part of {cut} {'face' if cut == 1 else 'faces'}")
    if gone:
        loses.append(f"{gone} {'face' if gone == 1 else 'faces'}")
    if count > 1 and cut + gone:
        notes.append(
            f"{whole} of {count} faces fit. Move the crop to choose, or extend the picture to keep all of them."
        )
    elif cut:
        notes.append("The face is larger than this format shows. Extend the picture to keep all of it.")
    if not seen.seen:
        notes.append("Nobody looked for faces: the network for it is not installed.")
    return keeps, loses, notes


def _unsafe(seen: Analysis, of: Format, box: Box, focus: Box | None) -> list[str]:
    """What of the subject lies under the interface, in words."""
    safe, wide, high = of.safe_box, box.right - box.left, box.bottom - box.top
    area = Box(
        left=box.left + safe.left * wide, right=box.left + safe.right * wide,
        top=box.top + safe.top * high, bottom=box.top + safe.bottom * high,
    )  # fmt: skip
    share = share_inside(subject_of(seen, focus), area)
    return [] if share >= SAFE else [f"{1 - share:.0%} of the subject lies outside the safe area"]


def _smaller(seen: Analysis, of: Format, box: Box) -> list[str]:
    width = round((box.right - box.left) * seen.width)
    if width >= of.width:
        return []
    return [
        f"The crop is {width} px wide and the format {of.width} px: it is enlarged {of.width / max(1, width):.1f} times."
    ]
