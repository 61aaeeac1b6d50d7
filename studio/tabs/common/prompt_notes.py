"""What the form says of a dynamic prompt before Generate: how many combinations it has, or why it cannot be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from studio.core.errors import StudioError
from studio.prompting.dynamic import MAX_COMBINATIONS, count_combinations, expand_template
from studio.prompting.dynamic_tree import is_dynamic
from studio.prompting.wildcards import Wildcards


def draw_prompts(texts: Sequence[str], wildcards: Wildcards) -> Sequence[str]:
    """One prompt drawn from each of `texts`; those that are not dynamic are as they were.

    Raises:
        StudioError: a text that cannot be drawn from.
    """
    if not any(is_dynamic(text) for text in texts):
        return texts
    lists = wildcards.open()
    return [expand_template(text, 0, lists) if is_dynamic(text) else text for text in texts]


def describe_combinations(texts: Sequence[str], wildcards: Wildcards) -> tuple[Sequence[str], str]:
    """One prompt drawn from each of `texts`, and a note of all of them together as HTML, "" where none is dynamic."""
    try:
        if not any(is_dynamic(text) for text in texts):
            return texts, ""
        total = math.prod(count_combinations(text, wildcards.open()) for text in texts)
        drawn = draw_prompts(texts, wildcards)
    except StudioError as error:
        return texts, f'<span class="note note-bad" role="status">{escape(f"{error.message} {error.hint}")}</span>'
    number = "more than 10¹⁸" if total >= MAX_COMBINATIONS else f"{total:,}"
    noun = "combination" if total == 1 else "combinations"
    return drawn, f'<span class="count" title="Prompts that can be drawn"><b>{number}</b><i> {noun}</i></span>'
