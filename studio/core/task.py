"""Tasks: the kinds of work that a request names."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """One kind of work. A model lists its tasks; each takes the fields of the request that its comment names."""

    TXT2IMG = "txt2img"
    IMG2IMG = "img2img"  # source, strength
    INPAINT = "inpaint"  # source, mask, inpaint: "inpaint & fix"
    OUTPAINT = "outpaint"  # source, outpaint
    EDIT = "edit"  # source, prompt as an instruction, references; a mask where the model takes one
    ERASE = "erase"  # source, mask
    SEARCH_REPLACE = "search_replace"  # source, search, prompt; a mask that was found already, and looked at
    SEARCH_RECOLOR = "search_recolor"  # as SEARCH_REPLACE
    REMOVE_BACKGROUND = "remove_background"  # source
    REPLACE_BACKGROUND = "replace_background"  # source, prompt or background, lighting: "replace background & relight"
    DETAIL = "detail"  # source, detailers
    SKETCH = "sketch"  # source is a drawing, strength says how closely it is followed
    STRUCTURE = "structure"  # source gives the shapes, strength says how closely they are followed
    STYLE_TRANSFER = "style_transfer"  # source gives the content, references[0] the style
    UPSCALE = "upscale"  # source, upscale
    RESTORE_FACES = "restore_faces"  # source, faces
    PREPROCESS = "preprocess"  # source, control[0] without its model; search where the map is a mask of what words name
    FINISH = "finish"  # source, finish
    SOCIAL = "social"  # source, social

    @property
    def is_generative(self) -> bool:
        """Whether a model draws, at a size of its own liking. All other tasks work on the source as large as it is."""
        return self not in (
            Task.REMOVE_BACKGROUND,
            Task.UPSCALE,
            Task.RESTORE_FACES,
            Task.PREPROCESS,
            Task.FINISH,
            Task.SOCIAL,
        )

    @property
    def needs_mask(self) -> bool:
        """Whether a mask is needed."""
        return self in (Task.INPAINT, Task.ERASE)
