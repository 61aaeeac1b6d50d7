"""Pose of the whole body: joints, hands and face by DWPose (Yang et al., 2023), drawn as OpenPose draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.core.weights import Offer
from studio.preprocessors.common import downloadable_weights, find_people, pixel_arrays, skeleton, wholebody

_OFFER = Offer(
    id="preprocessors/dw-ll_ucoco_384.onnx", title="DWPose large", folder=downloadable_weights.FOLDER,
    filename="dw-ll_ucoco_384.onnx", source="yzd-v/DWPose:dw-ll_ucoco_384.onnx", bytes=134_000_000, sha256="",
    licence="Apache-2.0",
)  # fmt: skip


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    def load() -> Any:
        return wholebody.load(bench.path(_OFFER))

    boxes = find_people.boxes(image, options["person"], bench)
    everybody = [wholebody.joints(image, box, bench.kept(_OFFER.title, load)) for box in boxes]
    canvas = skeleton.drawn([skeleton.from_coco(joints, options["joint"]) for joints in everybody], image.size)
    for joints in everybody:
        wholebody.draw_hands_and_face(canvas, joints, options["joint"])
    return pixel_arrays.picture(canvas)


PREPROCESSOR = PreprocessorSpec(
    id="dwpose", title="Pose (OpenPose figure, body, hands and face)", kinds=("openpose",), run=_run,
    options=find_people.OPTIONS, offers=(find_people.OFFER, _OFFER), network=True, largest=2048,
)  # fmt: skip
