"""What the library keeps of another program's image."""

from __future__ import annotations

import json
from pathlib import Path

from studio.core.request import GenerationRequest
from studio.core.result import find_last_drawn
from studio.engine.metadata.image_info import read_image_head
from studio.library.folder_scan import ForeignImage

_MAX_INFOTEXT = 100_000  # characters


def read_foreign_image(path: Path) -> ForeignImage:
    """What the head of the file tells; raises BadImage for what is no image."""
    info = read_image_head(path)
    request = info.request or GenerationRequest()
    drawn = find_last_drawn((*info.history, request)) or request
    return ForeignImage(
        width=info.width,
        height=info.height,
        program=info.program.partition(" ")[0] if info.program.startswith("Easel") else info.program,
        prompt=drawn.prompt,
        negative=drawn.negative_prompt,
        model=drawn.model,
        seed=drawn.seed or 0,
        task=request.task.value if info.request is not None else "",
        loras=tuple(lora.name for lora in drawn.loras),
        request=json.dumps(info.request.to_json()) if info.request is not None else "{}",
        infotext=info.infotext[:_MAX_INFOTEXT],
    )
