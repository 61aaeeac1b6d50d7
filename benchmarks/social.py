"""Crops against libvips' attention crop, smartcrop.py and the centre on marked photographs, and how long formats take.

Needs `python -m benchmarks.images` once, and `pip install pyvips pyvips-binary smartcrop` for the two to compare with.
`python -m benchmarks.social` prints the table of both halves; `python -m benchmarks social` the figures that have a
bar.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.images import Corners, MarkedImage, load_marked_images
from benchmarks.report import Row
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest, Task
from studio.core.settings import Settings
from studio.core.social import SocialExport
from studio.core.social_formats import Format
from studio.engine.jobs.job_context import LaneContext
from studio.engine.metadata.embed import EmbeddedMetadata
from studio.engine.storage.image_encoding import encode_output
from studio.finishing.fonts import Fonts
from studio.social.advice import Advisor, load_detectors
from studio.social.analysis import Analysis, analyse_image
from studio.social.crop import find_best_crop, fit_window
from studio.social.export import JPEG_QUALITY, SocialBackend
from studio.social.platforms import Platforms

RATIOS = (1.0, 4 / 5, 9 / 16, 2 / 3, 1.91, 16 / 9, 3.0)
MAIN_FACE_SHARE = 0.6  # of the highest marked face makes a main face
LOST_SHARE, WHOLE_SHARE = 0.05, 0.95  # of a face inside the crop: below lost, above whole, between cut

SAVE_OPTIONS: dict[str, dict[str, Any]] = {"jpeg": {"subsampling": 0, "optimize": True, "progressive": True}, "png": {}}

Method = Callable[[Image.Image, float], Corners]


@dataclass
class Score:
    """Over all images and ratios: shares of main faces cut (of those that a window of the shape can hold, and of all)
    and lost, mean share of the subject kept, what the best place would keep, and how often it is whole."""

    cut: float
    cut_of_all: float
    lost: float
    kept: float
    possible: float
    whole: float
    milliseconds: float

    @property
    def share_of_possible(self) -> float:
        """The share of what a window of that shape could keep at best: many subjects are larger than it."""
        return self.kept / self.possible

    def line(self, name: str) -> str:
        shares = " | ".join(
            f"{100 * share:.1f} %"
            for share in (self.cut, self.cut_of_all, self.lost, self.share_of_possible, self.kept, self.whole)
        )
        return f"| {name} | {shares} | {self.milliseconds:.0f} |"


def score_method(method: Method, images: list[MarkedImage]) -> Score:
    faces: list[tuple[float, bool]] = []  # share inside, and whether the window can hold the face
    subjects: list[float] = []
    possible: list[float] = []
    spent = 0.0
    for marks in images:
        image = marks.open()
        highest = max((bottom - top for _, top, _, bottom in marks.faces), default=0)
        main = [face for face in marks.faces if face[3] - face[1] >= MAIN_FACE_SHARE * highest]
        for ratio in RATIOS:
            begin = time.perf_counter()
            crop = method(image, ratio)
            spent += time.perf_counter() - begin
            faces += [(compute_share_inside(face, crop), _can_hold(face, crop)) for face in main]
            subjects.append(compute_share_inside(marks.subject, crop))
            possible.append(
                max(compute_share_inside(marks.subject, place) for place in list_crop_windows(image, ratio))
            )
    return Score(
        cut=statistics.fmean(LOST_SHARE < share < WHOLE_SHARE for share, fits in faces if fits),
        cut_of_all=statistics.fmean(LOST_SHARE < share < WHOLE_SHARE for share, _ in faces),
        lost=statistics.fmean(share <= LOST_SHARE for share, _ in faces),
        kept=statistics.fmean(subjects),
        possible=statistics.fmean(possible),
        whole=statistics.fmean(share >= 0.98 for share in subjects),
        milliseconds=1000 * spent / len(images),
    )


def _can_hold(face: Corners, crop: Corners) -> bool:
    return face[2] - face[0] <= crop[2] - crop[0] and face[3] - face[1] <= crop[3] - crop[1]


def list_crop_windows(image: Image.Image, ratio: float) -> list[Corners]:
    """All places of the largest window of that shape."""
    frame = fit_window(image.width, image.height, ratio)
    boxes = [frame.box(float(start)) for start in np.linspace(0, 1 - frame.length, 101)]
    return [(box.left, box.top, box.right, box.bottom) for box in boxes]


def compute_share_inside(box: Corners, crop: Corners) -> float:
    """The share of `box` that lies in `crop`."""
    wide = max(0.0, min(box[2], crop[2]) - max(box[0], crop[0]))
    high = max(0.0, min(box[3], crop[3]) - max(box[1], crop[1]))
    return wide * high / ((box[2] - box[0]) * (box[3] - box[1]))


def make_studio_method() -> Method:
    eyes = load_detectors()
    last: list[tuple[Image.Image, Analysis]] = []

    def crop(image: Image.Image, ratio: float) -> Corners:
        if not last or last[0][0] is not image:
            last[:] = [(image, analyse_image(image, eyes))]
        box = find_best_crop(last[0][1], ratio)
        return box.left, box.top, box.right, box.bottom

    return crop


def crop_centre(image: Image.Image, ratio: float) -> Corners:
    frame = fit_window(image.width, image.height, ratio)
    box = frame.box((1 - frame.length) / 2)
    return box.left, box.top, box.right, box.bottom


def crop_attention(source: Image.Image, ratio: float) -> Corners:
    """libvips' own: the window of that shape around the most salient point."""
    import pyvips  # pyright: ignore[reportMissingImports]

    width, height = _compute_largest_size(source, ratio)
    image = pyvips.Image.new_from_array(np.asarray(source.convert("RGB")))
    cropped = image.smartcrop(width, height, interesting="attention")
    return _to_corners(source, -cropped.xoffset, -cropped.yoffset, width, height)


def crop_smartcrop(image: Image.Image, ratio: float) -> Corners:
    """smartcrop.py with its own prescaling; held to the largest window, which favours what it keeps."""
    import smartcrop  # pyright: ignore[reportMissingImports]

    width, height = _compute_largest_size(image, ratio)
    found = smartcrop.SmartCrop().crop(image.convert("RGB"), width, height, min_scale=1.0)["top_crop"]
    return _to_corners(image, found["x"], found["y"], found["width"], found["height"])


def _compute_largest_size(image: Image.Image, ratio: float) -> tuple[int, int]:
    frame = fit_window(image.width, image.height, ratio)
    if frame.along_x:
        return max(1, round(image.width * frame.length)), image.height
    return image.width, max(1, round(image.height * frame.length))


def _to_corners(image: Image.Image, left: float, top: float, width: float, height: float) -> Corners:
    wide, high = image.size
    return left / wide, top / high, (left + width) / wide, (top + height) / high


METHODS: dict[str, Callable[[], Method]] = {
    "Easel": make_studio_method,
    "libvips attention": lambda: crop_attention,
    "smartcrop.py": lambda: crop_smartcrop,
    "centre": lambda: crop_centre,
}


def rows() -> list[Row]:
    """The bars: quality on the half that nothing was tuned on, then times and files."""
    images = [each for each in load_marked_images() if each.is_held_out]
    if len(images) < 30:
        raise SystemExit("Run python -m benchmarks.images first: the marked images are not here.")
    scores = {name: score_method(make(), images) for name, make in METHODS.items()}
    mine, others = scores["Easel"], [score for name, score in scores.items() if name != "Easel"]
    rival = scores["libvips attention"]
    said = f"{100 * mine.share_of_possible:.1f} % (of all {100 * mine.kept:.1f} %), {len(images)} images"
    faces = (
        f"{mine.cut:.3f} / {rival.cut:.3f}; with faces larger than the crop {mine.cut_of_all:.3f} /"
        f" {rival.cut_of_all:.3f}"
    )
    return [
        Row("subject lost, of what could be kept", 100 * (1 - mine.share_of_possible), 7, " %", said),
        Row("main faces cut that fit / libvips attention", mine.cut / rival.cut, 1 / 3, note=faces),
        Row("others that keep more or cut fewer", sum(o.kept >= mine.kept or o.cut <= mine.cut for o in others), 0),
        *_measure_times(),
    ]


def _measure_times() -> list[Row]:
    """Analysis with seven crops, and all formats of the seven platforms against the same resizes and encodes alone."""
    photo = _load_photo()
    eyes = load_detectors()
    crop_times = []
    seen = analyse_image(photo, eyes)
    for _ in range(5):
        begin = time.perf_counter()
        seen = analyse_image(photo, eyes)
        for ratio in RATIOS:
            find_best_crop(seen, ratio)
        crop_times.append(time.perf_counter() - begin)
    platforms = Platforms()
    channels = {each.id for each in platforms.platforms() if each.channel}
    chosen = [each for each in platforms.formats() if each.platform in channels]
    backend = SocialBackend(platforms, Advisor(), Fonts(Path("no-fonts")))
    request = GenerationRequest(
        task=Task.SOCIAL, model="social", source="0", social=SocialExport(formats=tuple(each.id for each in chosen))
    )
    begin = time.process_time()  # others may be busy on the machine
    made = backend.render(request, [ImageSeed(seed=0)], _Context(photo))
    files = [
        encode_output(one.image, one.file, Settings(), carried=EmbeddedMetadata(tool="Easel")).data for one in made
    ]
    ours_took = time.process_time() - begin
    begin = time.process_time()
    for of in chosen:
        box = find_best_crop(seen, of.ratio)
        wide, high = photo.size
        corners = (box.left * wide, box.top * high, box.right * wide, box.bottom * high)
        plain = photo.resize((of.width, of.height), Image.Resampling.LANCZOS, box=corners)
        plain.save(io.BytesIO(), of.file_type, quality=JPEG_QUALITY, **SAVE_OPTIONS[of.file_type])
    bare = time.process_time() - begin
    wrong = sum(_is_wrong(data, of) for data, of in zip(files, chosen, strict=True))
    return [
        Row(
            "seven crops of 12 megapixels",
            1000 * min(crop_times),
            200,
            " ms",
            "fastest of five after one to warm up",
        ),
        Row(
            f"{len(chosen)} formats / bare resize and encode",
            ours_took / bare,
            1.5,
            note=f"{ours_took:.1f} s / {bare:.1f} s of CPU",
        ),
        Row("files over the limit or of the wrong size", wrong, 0),
    ]


class _Context(LaneContext):
    """A job with one image."""

    def __init__(self, photo: Image.Image) -> None:
        super().__init__(Settings())
        self._photo = photo

    def load_image(self, content_hash: str) -> Image.Image:
        return self._photo.copy()


def _load_photo() -> Image.Image:
    """A photograph with people in it, at 12 megapixels."""
    people = next(each for each in load_marked_images() if len(each.faces) > 2 and not each.is_held_out)
    return people.open().convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)


def _is_wrong(data: bytes, of: Format) -> bool:
    with Image.open(io.BytesIO(data)) as written:
        return written.size != (of.width, of.height) or (of.limit is not None and len(data) > of.limit)


def main() -> int:
    images = load_marked_images()
    halves = {True: "the half that nothing was tuned on", False: "the half that was tuned on"}
    for untouched in (True, False):
        half = [each for each in images if each.is_held_out is untouched]
        print(f"\n{len(half)} images, {halves[untouched]}, {len(RATIOS)} shapes each\n")
        print(
            "| method | main faces cut that fit | cut of all | lost | subject kept, of what is possible | of all |"
            " whole | ms for all shapes |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name, make in METHODS.items():
            print(score_method(make(), half).line(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
