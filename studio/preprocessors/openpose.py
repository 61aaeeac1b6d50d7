"""Pose of the body: the joints by ViTPose (Xu et al., 2022), drawn as OpenPose draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import downloadable_weights, find_people, pixel_arrays, skeleton, weight_files

_POSE = downloadable_weights.repo("usyd-community/vitpose-base-simple", "ViTPose Base", 344_000_000)


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    boxes = find_people.boxes(image, options["person"], bench)
    people = [skeleton.from_coco(joints, options["joint"]) for joints in _joints(image, boxes, bench)]
    return pixel_arrays.picture(skeleton.drawn(people, image.size))


def _joints(image: Image.Image, boxes: Any, bench: Workbench) -> list[Any]:
    """For each person, COCO's 17 joints as (17, 3): x and y in px, and how sure."""
    import numpy as np
    import torch

    def load() -> Any:
        return weight_files.pretrained(bench.path(_POSE), "VitPoseForPoseEstimation", "AutoImageProcessor")

    if not len(boxes):
        return []
    with bench.network(_POSE.title, load) as (model, processor), torch.inference_mode():
        answer = model(**processor(image, boxes=[boxes], return_tensors="pt").to(bench.device))
        results = processor.post_process_pose_estimation(answer, boxes=[boxes])[0]
    return [np.column_stack([one["keypoints"].cpu().numpy(), one["scores"].cpu().numpy()]) for one in results]


PREPROCESSOR = PreprocessorSpec(
    id="openpose",
    title="Pose (OpenPose figure, body)",
    kinds=("openpose",),
    run=_run,
    options=find_people.OPTIONS,
    offers=(find_people.OFFER, _POSE),
    network=True,
    largest=2048,
)  # fmt: skip
