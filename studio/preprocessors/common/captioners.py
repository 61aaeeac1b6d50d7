"""Captions of images by networks that are fetched on request: Florence-2 (Xiao et al., 2023) and BLIP (Li et al.,
2022), by transformers' own classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorContext
from studio.core.weights import DownloadableWeights
from studio.preprocessors.common import downloadable_weights, weight_files

MAX_TOKENS = 160  # of a caption
_BEAMS = 3
_MAX_SECONDS = 120.0
_MAX_SIDE = 1024  # px; the networks look at 384 and 768 px whatever they are given


@dataclass(frozen=True)
class CaptionNetwork:
    """A network that writes captions; `question` is what it is asked, "" for nothing."""

    title: str
    weights: DownloadableWeights
    model: str
    question: str = ""


FLORENCE = CaptionNetwork(
    "Florence-2",
    downloadable_weights.make_repo_weights(
        "florence-community/Florence-2-base", "Florence-2 Base (describes images)", 465_000_000, "MIT"
    ),
    "Florence2ForConditionalGeneration",
    "<DETAILED_CAPTION>",
)
BLIP = CaptionNetwork(
    "BLIP",
    downloadable_weights.make_repo_weights(
        "Salesforce/blip-image-captioning-large", "BLIP Large (describes images)", 1_880_000_000, "BSD-3-Clause"
    ),
    "BlipForConditionalGeneration",
)
CAPTIONERS = (FLORENCE, BLIP)  # the one that says more first


def write_caption(
    captioner: CaptionNetwork, image: Image.Image, context: PreprocessorContext, is_cancelled: Callable[[], bool]
) -> str:
    """A caption of `image` (RGB), one or two sentences, cut off where it is cancelled. Its weights have to be there.

    Raises:
        ModelBroken: they cannot be read.
    """
    import torch

    def should_stop(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(ids),), is_cancelled(), dtype=torch.bool, device=ids.device)

    def load() -> Any:
        return weight_files.load_pretrained(
            context.get_weights_path(captioner.weights), captioner.model, "AutoProcessor"
        )

    small = image.copy()
    small.thumbnail((_MAX_SIDE, _MAX_SIDE))
    with context.use_network(captioner.weights.title, load) as (model, processor), torch.inference_mode():
        asked = {"text": captioner.question} if captioner.question else {}
        inputs = processor(images=small, return_tensors="pt", **asked).to(context.device)
        written = model.generate(
            **inputs,
            max_new_tokens=MAX_TOKENS,
            num_beams=_BEAMS,
            do_sample=False,
            max_time=_MAX_SECONDS,
            stopping_criteria=[should_stop],
        )
        (text,) = processor.batch_decode(written, skip_special_tokens=True)
    return " ".join(text.split())
