"""Comments in prompts: from `#` to the end of the line, as AUTOMATIC1111 leaves them out."""

from __future__ import annotations

import dataclasses
import re

from studio.core.request import GenerationRequest

_COMMENT = re.compile(r"#[^\n]*")


def strip_comments(text: str) -> str:
    """`text` without comments; a line that was nothing else is gone."""
    if "#" not in text:
        return text
    lines = ((line, _COMMENT.sub("", line)) for line in text.split("\n"))
    return "\n".join(kept.rstrip() if kept != line else line for line, kept in lines if kept.strip() or kept == line)


def strip_request_comments(request: GenerationRequest) -> GenerationRequest:
    """`request` with comments left out of every prompt and template, also of hires pass, areas and steps."""
    hires = request.hires
    changes: dict[str, object] = {
        name: strip_comments(getattr(request, name))
        for name in ("prompt", "negative_prompt", "template", "negative_template")
    }
    if hires is not None:
        prompt, negative = strip_comments(hires.prompt), strip_comments(hires.negative_prompt)
        changes["hires"] = dataclasses.replace(hires, prompt=prompt, negative_prompt=negative)
    changes["detailers"] = tuple(
        dataclasses.replace(one, prompt=strip_comments(one.prompt), negative_prompt=strip_comments(one.negative_prompt))
        for one in request.detailers
    )
    changes["areas"] = tuple(dataclasses.replace(one, prompt=strip_comments(one.prompt)) for one in request.areas)
    changes["then"] = tuple(map(strip_request_comments, request.then))
    return request.replace(**changes)
