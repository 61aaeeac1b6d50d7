"""People in an image, by RT-DETR (Zhao et al., 2024), for the pose annotators."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext
from studio.preprocessors.common import downloadable_weights, weight_files

DETECTOR_WEIGHTS = downloadable_weights.make_repo_weights(
    "PekingU/rtdetr_r18vd_coco_o365", "RT-DETR R18 (finds people)", 80_900_000
)
POSE_OPTIONS = (
    OptionSpec(
        name="person",
        label="Person threshold",
        low=0.05,
        high=0.95,
        default=0.4,
        step=0.05,
        help="Minimum confidence for a person. Lower finds more.",
    ),
    OptionSpec(
        name="joint",
        label="Joint threshold",
        low=0.05,
        high=0.95,
        default=0.3,
        step=0.05,
        help="Minimum confidence for a joint.",
    ),
)
_PERSON = 0  # COCO's first class


def detect_people(image: Image.Image, sure: float, context: PreprocessorContext) -> np.ndarray[Any, Any]:
    """(people, 4) in px: left, top, width, height."""
    import torch

    def load() -> Any:
        return weight_files.load_pretrained(
            context.get_weights_path(DETECTOR_WEIGHTS), "AutoModelForObjectDetection", "AutoImageProcessor"
        )

    with context.use_network(DETECTOR_WEIGHTS.title, load) as (model, processor), torch.inference_mode():
        answer = model(**processor(images=image, return_tensors="pt").to(context.device))
        size = torch.tensor([(image.height, image.width)])
        found = processor.post_process_object_detection(answer, target_sizes=size, threshold=sure)[0]
        corners = found["boxes"][found["labels"] == _PERSON].cpu().numpy()
    return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
