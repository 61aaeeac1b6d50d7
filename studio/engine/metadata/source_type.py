"""The IPTC digital source type of an image: whether a model drew it, drew into it, or only a program worked on it
(http://cv.iptc.org/newscodes/digitalsourcetype/)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.upscale_modes import UPSCALER_PREFIX

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{_VOCABULARY}trainedAlgorithmicMedia"
EDITED = f"{_VOCABULARY}compositeWithTrainedAlgorithmicMedia"
_REDRAWING_TASKS = (Task.TXT2IMG, Task.IMG2IMG, Task.SKETCH, Task.STRUCTURE, Task.STYLE_TRANSFER)
_PARTLY_DRAWING_TASKS = (
    Task.INPAINT,
    Task.OUTPAINT,
    Task.EDIT,
    Task.ERASE,
    Task.SEARCH_REPLACE,
    Task.SEARCH_RECOLOR,
    Task.REPLACE_BACKGROUND,
    Task.RESTORE_FACES,
)


def find_source_type(source: str, steps: Sequence[GenerationRequest]) -> str:
    """The type of an image of type `source` ("" for unknown, as a photograph's) after `steps` were done to it.

    What is drawn as a whole is generated; what is drawn into an image makes it edited, unless it was generated before.
    Everything else (resize, crop, text, cutting out, enlarging with an upscaler) leaves what the source said.
    """
    for step in steps:
        if step.task in _REDRAWING_TASKS:
            source = GENERATED
        elif source != GENERATED and _draws_into(step):
            source = EDITED
    return source


def clean_source_type(text: str) -> str:
    """`text` when it is a term of the vocabulary, else ""; so that no other file's text is written on unseen."""
    name = re.fullmatch(r"(?:https?://cv\.iptc\.org/newscodes/digitalsourcetype/|digsrctype:)(\w{1,60})", text.strip())
    return _VOCABULARY + name[1] if name is not None else ""


def _draws_into(step: GenerationRequest) -> bool:
    redraws = step.task is Task.UPSCALE and not step.model.startswith(UPSCALER_PREFIX)
    return redraws or step.task in _PARTLY_DRAWING_TASKS
