"""The IPTC digital source type of an image: whether a model drew it, drew into it, or only a program worked on it
(http://cv.iptc.org/newscodes/digitalsourcetype/)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.upscale_modes import LANCZOS, NEAREST, UPSCALER_PREFIX

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{_VOCABULARY}trainedAlgorithmicMedia"
EDITED = f"{_VOCABULARY}compositeWithTrainedAlgorithmicMedia"
ENHANCED = f"{_VOCABULARY}algorithmicallyEnhanced"
MADE_BY_MODELS = frozenset({GENERATED, EDITED, f"{_VOCABULARY}compositeSynthetic", f"{_VOCABULARY}algorithmicMedia"})
_REDRAWING_TASKS = (Task.TXT2IMG, Task.SKETCH, Task.STRUCTURE, Task.STYLE_TRANSFER)
_PARTLY_DRAWING_TASKS = (
    Task.IMG2IMG,
    Task.INPAINT,
    Task.OUTPAINT,
    Task.EDIT,
    Task.ERASE,
    Task.SEARCH_REPLACE,
    Task.SEARCH_RECOLOR,
    Task.REPLACE_BACKGROUND,
    Task.RESTORE_FACES,
    Task.DETAIL,
)


def find_source_type(source: str, steps: Sequence[GenerationRequest]) -> str:
    """The type of an image of type `source` ("" for unknown, as a photograph's) after `steps` were done to it.

    What is drawn as a whole is generated. What is drawn from or into an image makes it edited, unless it was generated
    before. What a network works out without drawing (enlarging, cutting out) makes it enhanced, unless a model made it
    before. Everything else (resize, crop, text, format) leaves what the source said.
    """
    for step in steps:
        if draws_anew(step):
            source = GENERATED
        elif draws_into(step):
            source = source if source == GENERATED else EDITED
        elif enhances(step):
            source = source if source in MADE_BY_MODELS else ENHANCED
    return source


def clean_source_type(text: str) -> str:
    """`text` when it is a term of the vocabulary, else ""; so that no other file's text is written on unseen."""
    name = re.fullmatch(r"(?:https?://cv\.iptc\.org/newscodes/digitalsourcetype/|digsrctype:)(\w{1,60})", text.strip())
    return _VOCABULARY + name[1] if name is not None else ""


def draws_anew(step: GenerationRequest) -> bool:
    """Whether a model draws the whole image, its source being a guide at most."""
    return step.task in _REDRAWING_TASKS


def draws_into(step: GenerationRequest) -> bool:
    """Whether a model draws from or into the source."""
    redraws = step.task is Task.UPSCALE and not step.model.startswith(UPSCALER_PREFIX)
    return redraws or step.task in _PARTLY_DRAWING_TASKS


def enhances(step: GenerationRequest) -> bool:
    """Whether a network worked on the pixels; Lanczos and nearest neighbours are plain resizing."""
    if step.task is not Task.UPSCALE:
        return step.task is Task.REMOVE_BACKGROUND
    second = step.upscale.second if step.upscale is not None and step.upscale.second_weight > 0 else ""
    return any(name.removeprefix(UPSCALER_PREFIX) not in ("", LANCZOS, NEAREST) for name in (step.model, second))
