"""Find objects by words: boxes by Grounding DINO (Liu et al., 2023), their outlines by SAM 2.1 (Ravi et al.,
2024)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import PreprocessorContext
from studio.core.errors import InvalidRequest, NothingFound
from studio.preprocessors.common import downloadable_weights, weight_files

BOX_WEIGHTS = downloadable_weights.make_repo_weights(
    "IDEA-Research/grounding-dino-tiny", "Grounding DINO Tiny (finds by words)", 690_000_000
)
OUTLINE_WEIGHTS = downloadable_weights.make_repo_weights(
    "facebook/sam2.1-hiera-tiny", "SAM 2.1 Hiera Tiny (outlines)", 156_000_000
)
SEARCH_WEIGHTS = (BOX_WEIGHTS, OUTLINE_WEIGHTS)
SEARCH_MAX_SIDE = 2048  # px; the networks look at 800 to 1024 px whatever they are given
BOX_THRESHOLD = 0.35  # of a box; Grounding DINO's own default
_MAX_BOXES = 32


def find_mask(words: str, image: Image.Image, context: PreprocessorContext) -> Image.Image:
    """A mask (L, the size of `image`, which is RGB) of everything that `words` name; several things are parted by
    commas.

    Raises:
        InvalidRequest: no words, or nothing found.
    """
    phrases = [
        phrase
        for phrase in (re.sub(r"\s+", " ", part).strip(" .").lower() for part in re.split(r"[,.;\n]", words))
        if phrase
    ]
    if not phrases:
        raise InvalidRequest("Nothing to search for was given.", hint="Enter an object, for example “a red car”.")
    boxes = _find_boxes(phrases, image, context)
    if not boxes:
        raise NothingFound(
            f"“{', '.join(phrases)}” was not found in the image.",
            hint="Use simpler words, or paint the mask by hand.",
        )
    return _outline_boxes(boxes, image, context)


def _find_boxes(phrases: list[str], image: Image.Image, context: PreprocessorContext) -> list[list[float]]:
    """The boxes (left, top, right, bottom in px) of what is found, the surest first."""
    import torch

    def load() -> Any:
        return weight_files.load_pretrained(
            context.get_weights_path(BOX_WEIGHTS), "GroundingDinoForObjectDetection", "AutoProcessor"
        )

    text = "".join(f"{phrase}. " for phrase in phrases).strip()
    with context.use_network(BOX_WEIGHTS.title, load) as (model, processor), torch.inference_mode():
        most = model.config.max_text_len
        inputs = processor(images=image, text=text, return_tensors="pt", truncation=True, max_length=most)
        inputs = inputs.to(context.device)
        found = processor.post_process_grounded_object_detection(
            model(**inputs),
            inputs.input_ids,
            threshold=BOX_THRESHOLD,
            text_threshold=0.0,
            target_sizes=[(image.height, image.width)],
        )[0]
        order = found["scores"].argsort(descending=True)[:_MAX_BOXES]
        return found["boxes"][order].float().cpu().tolist()


def _outline_boxes(boxes: list[list[float]], image: Image.Image, context: PreprocessorContext) -> Image.Image:
    import torch

    def load() -> Any:
        return weight_files.load_pretrained(context.get_weights_path(OUTLINE_WEIGHTS), "Sam2Model", "Sam2Processor")

    with context.use_network(OUTLINE_WEIGHTS.title, load) as (model, processor), torch.inference_mode():
        inputs = processor(images=image, input_boxes=[boxes], return_tensors="pt").to(context.device)
        answer = model(**inputs, multimask_output=False)
        masks = processor.post_process_masks(answer.pred_masks.cpu(), inputs["original_sizes"].cpu())[0]
    inside = masks.reshape(-1, image.height, image.width).numpy().astype(bool).any(axis=0)
    return Image.fromarray(inside.astype(np.uint8) * 255)
