"""Pose of the body: the joints by ViTPose (Xu et al., 2022), drawn as OpenPose draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, find_people, pixel_arrays, skeleton, weight_files

_POSE_WEIGHTS = downloadable_weights.make_repo_weights(
    "usyd-community/vitpose-base-simple", "ViTPose Base", 344_000_000
)


def _draw_body_pose(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    boxes = find_people.detect_people(image, options["person"], context)
    people = [skeleton.from_coco(joints, options["joint"]) for joints in _detect_body_joints(image, boxes, context)]
    return pixel_arrays.to_image(skeleton.draw_skeletons(people, image.size))


def _detect_body_joints(image: Image.Image, boxes: Any, context: PreprocessorContext) -> list[Any]:
    """For each person, COCO's 17 joints as (17, 3): x and y in px, and how sure."""
    import numpy as np
    import torch

    def load() -> Any:
        return weight_files.load_pretrained(
            context.get_weights_path(_POSE_WEIGHTS), "VitPoseForPoseEstimation", "AutoImageProcessor"
        )

    if not len(boxes):
        return []
    with context.use_network(_POSE_WEIGHTS.title, load) as (model, processor), torch.inference_mode():
        answer = model(**processor(image, boxes=[boxes], return_tensors="pt").to(context.device))
        results = processor.post_process_pose_estimation(answer, boxes=[boxes])[0]
    return [np.column_stack([one["keypoints"].cpu().numpy(), one["scores"].cpu().numpy()]) for one in results]


PREPROCESSOR = PreprocessorSpec(
    id="openpose",
    title="Pose (OpenPose figure, body)",
    kinds=("openpose",),
    run=_draw_body_pose,
    options=find_people.POSE_OPTIONS,
    weights=(find_people.DETECTOR_WEIGHTS, _POSE_WEIGHTS),
    network=True,
    largest=2048,
)
