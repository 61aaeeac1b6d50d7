"""Describe what a crop keeps and loses, and suggest alternatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from studio.core.finish import Box
from studio.core.social import CropNote, CropResult, ExtendMode, NoteKind, Verdict
from studio.core.social_formats import Format
from studio.social.analysis import Analysis, AnalysisCache, Detectors
from studio.social.crop import find_best_crop, find_shared_crop, find_subject, measure_kept_mass, measure_share_inside
from studio.social.fit_format import reshape_box
from studio.vision.saliency import Region

GOOD_SHARE, LOW_SHARE = 0.90, 0.70  # kept share of the map: above crop silently, below offer to extend
MIN_CROP_AREA = 0.40  # a crop that keeps less of the image's area is to be looked at
WHOLE_FACE_SHARE, LOST_FACE_SHARE = 0.96, 0.04  # of a face inside the crop
MIN_DRAWING_SHARE = 0.97  # of the map: a drawing that loses more than this is not cropped
MIN_SAFE_SHARE = 0.95  # of the subject inside the safe area


def load_detectors() -> Detectors:
    """The networks that ship."""
    from studio.vision.faces import find_faces
    from studio.vision.subject import estimate_subject

    return Detectors(faces=find_faces, subject=estimate_subject)


class Advisor:
    """Finds the crops of formats (CropAdvice of studio.core.social): one look at an image serves all of its formats."""

    def __init__(self, eyes: Callable[[], Detectors] = load_detectors) -> None:
        self.analyses = AnalysisCache(eyes)

    def suggest_crops(
        self,
        image: Image.Image,
        formats: Sequence[Format],
        focus: Box | None = None,
        same: bool = False,
        own: Mapping[str, Box] = {},
    ) -> list[CropResult]:
        """One result per format, in their order; `own` are the user's crops by format."""
        return plan_crops(self.analyses.of(image), formats, focus, own, same=same)


def find_crops(
    seen: Analysis, formats: Sequence[Format], focus: Box | None = None, *, same: bool = False
) -> list[CropResult]:
    """The crop of each format: each its own, or with `same` all around one subject."""
    subject = find_subject(seen, focus)
    found: list[CropResult] = []
    for each in formats:
        if same:
            box = find_shared_crop(seen, each.ratio, each.safe_box, subject)
        else:
            box = find_best_crop(seen, each.ratio, each.safe_box, focus)
        found.append(judge_crop(seen, each, box, focus, same=same))
    return found


def plan_crops(
    seen: Analysis, formats: Sequence[Format], focus: Box | None, own: Mapping[str, Box], *, same: bool = False
) -> list[CropResult]:
    """The crop of each format: the user's own where there is one, brought to the format's shape, else what is found."""
    found = {
        each.format: each
        for each in find_crops(seen, [each for each in formats if each.id not in own], focus, same=same)
    }
    for each in formats:
        if each.id in own:
            box = reshape_box(own[each.id], each.ratio, seen.width, seen.height)
            found[each.id] = judge_crop(seen, each, box, focus, same=same, own=True)
    return [found[each.id] for each in formats]


def judge_crop(
    seen: Analysis, of: Format, box: Box, focus: Box | None = None, *, same: bool = False, own: bool = False
) -> CropResult:
    """Judge the crop `box` for that format; `own` means that the user chose it."""
    if seen.blank:
        blank = CropNote("The image is fully transparent.", short="Transparent")
        return CropResult(format=of.id, box=box, kept=1.0, notes=(blank,), verdict=Verdict.CHECK)
    kept = measure_share_inside(focus, box) if focus is not None else measure_kept_mass(seen, box)
    whole, cut, gone = _count_faces(seen.faces, box)
    keeps, loses, notes = _describe_crop(seen, kept, (whole, cut, gone), focus is not None)
    loses += _describe_unsafe_area(seen, of, box, focus) if same else []
    remarks = [*notes, *_describe_enlargement(seen, of, box)]
    verdict = Verdict.GOOD if own else _decide_verdict(seen, box, kept, cut + gone)
    return CropResult(
        format=of.id,
        box=box,
        kept=round(kept, 3),
        keeps=tuple(keeps),
        loses=tuple(loses),
        notes=tuple(remarks),
        verdict=verdict,
        advice=_choose_extend(seen, of) if verdict is Verdict.EXTEND else ExtendMode.CROP,
        faces=len(seen.faces),
        faces_whole=whole,
    )


def _decide_verdict(seen: Analysis, box: Box, kept: float, faces_missing: int) -> Verdict:
    area = (box.right - box.left) * (box.bottom - box.top)
    if kept < LOW_SHARE or faces_missing or (seen.graphic and kept < MIN_DRAWING_SHARE):
        return Verdict.EXTEND
    return Verdict.CHECK if kept < GOOD_SHARE or area < MIN_CROP_AREA or not seen.seen else Verdict.GOOD


def _choose_extend(seen: Analysis, of: Format) -> ExtendMode:
    """A drawing or a product on a plain ground gets its own colour around it, everything else a blurred border."""
    return ExtendMode.COLOUR if seen.graphic else ExtendMode.BLUR


def _count_faces(faces: Sequence[Region], box: Box) -> tuple[int, int, int]:
    """(whole, cut, gone)."""
    shares = [measure_share_inside(face, box) for face in faces]
    whole, gone = sum(share > WHOLE_FACE_SHARE for share in shares), sum(share < LOST_FACE_SHARE for share in shares)
    return whole, len(shares) - whole - gone, gone


def _describe_crop(
    seen: Analysis, kept: float, faces: tuple[int, int, int], focused: bool
) -> tuple[list[str], list[str], list[CropNote]]:
    whole, cut, gone = faces
    count = whole + cut + gone
    what = "the marked area" if focused else "the subject"
    keeps = [f"{kept:.0%} of {what}"]
    loses = [f"{1 - kept:.0%} of {what}"] if kept < GOOD_SHARE else []
    notes: list[CropNote] = []
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
        text = f"{whole} of {count} faces fit. Move the crop to choose faces, or add a border to keep all of them."
        notes.append(CropNote(text, short=f"{whole} of {count} faces"))
    elif cut:
        text = "The face is larger than this format shows. Add a border to keep all of it."
        notes.append(CropNote(text, short="Face too large"))
    if not seen.seen:
        text = "Faces were not detected because the network for it is not installed."
        notes.append(CropNote(text, short="Faces not checked"))
    return keeps, loses, notes


def _describe_unsafe_area(seen: Analysis, of: Format, box: Box, focus: Box | None) -> list[str]:
    """Describe the parts of the subject under the interface."""
    safe, wide, high = of.safe_box, box.right - box.left, box.bottom - box.top
    area = Box(
        left=box.left + safe.left * wide,
        right=box.left + safe.right * wide,
        top=box.top + safe.top * high,
        bottom=box.top + safe.bottom * high,
    )
    share = measure_share_inside(find_subject(seen, focus), area)
    return [] if share >= MIN_SAFE_SHARE else [f"{1 - share:.0%} of the subject lies outside the safe area"]


def _describe_enlargement(seen: Analysis, of: Format, box: Box) -> list[CropNote]:
    width = round((box.right - box.left) * seen.width)
    if width >= of.width:
        return []
    times = of.width / max(1, width)
    text = f"The crop is {width} px wide and the format {of.width} px: it is enlarged {times:.1f} times."
    return [CropNote(text, NoteKind.ENLARGED, short=f"{times:.1f}× enlarged")]
