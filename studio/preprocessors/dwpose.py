"""Pose of the whole body: joints, hands and face by DWPose (Yang et al., 2023), drawn as OpenPose draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.core.weights import DownloadableWeights
from studio.preprocessors.common import downloadable_weights, find_people, pixel_arrays, skeleton, wholebody

_WEIGHTS = DownloadableWeights(
    id="preprocessors/dw-ll_ucoco_384.onnx",
    title="DWPose large",
    folder=downloadable_weights.FOLDER,
    filename="dw-ll_ucoco_384.onnx",
    source="yzd-v/DWPose:dw-ll_ucoco_384.onnx",
    bytes=134_000_000,
    sha256="",
    licence="Apache-2.0",
)


def _draw_wholebody_pose(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    def load() -> Any:
        return wholebody.load_wholebody_network(context.get_weights_path(_WEIGHTS))

    boxes = find_people.detect_people(image, options["person"], context)
    everybody = [wholebody.detect_joints(image, box, context.load_once(_WEIGHTS.title, load)) for box in boxes]
    canvas = skeleton.draw_skeletons([skeleton.from_coco(joints, options["joint"]) for joints in everybody], image.size)
    for joints in everybody:
        wholebody.draw_hands_and_face(canvas, joints, options["joint"])
    return pixel_arrays.to_image(canvas)


PREPROCESSOR = PreprocessorSpec(
    id="dwpose",
    title="Pose (OpenPose figure, body, hands and face)",
    kinds=("openpose",),
    run=_draw_wholebody_pose,
    options=find_people.POSE_OPTIONS,
    weights=(find_people.DETECTOR_WEIGHTS, _WEIGHTS),
    network=True,
    largest=2048,
)
