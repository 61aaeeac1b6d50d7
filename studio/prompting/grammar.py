"""AUTOMATIC1111's prompt grammar as one thing: a prompt and a number of steps go in, the conditions of every step come
out.

First `AND` divides the prompt, then editing and alternation choose each condition's text at each step, then emphasis
weighs its words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.prompting import editing, emphasis
from studio.prompting.emphasis import Part, Segment

__all__ = ["Condition", "Part", "PromptStage", "Segment", "schedule_prompt"]

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


@dataclass(frozen=True)
class Condition:
    """One of the prompts that AND joins: its weight against the others, and its segments, divided at BREAK."""

    weight: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class PromptStage:
    """The conditions until `end` steps are done: steps from the end of the stage before, counted from 0, up to `end` -
    1."""

    end: int
    conditions: tuple[Condition, ...]


def schedule_prompt(
    text: str, steps: int, *, first_pass: int | None = None, conjunction: bool = True
) -> tuple[PromptStage, ...]:
    """The stages of a prompt over `steps` steps. The last one ends at `steps`; all have the same number of conditions.

    `first_pass` is the number of steps of the pass before when this is a hires pass counted as A1111 does (see
    `editing`). Without `conjunction`, AND is a word like any other, as in negative prompts. Never fails, whatever the
    text is.
    """
    weighed = _split_conjunction(text) if conjunction else [(text, 1.0)]
    timelines = [editing.schedule_texts(prompt, steps, first_pass) for prompt, _ in weighed]
    ends = sorted({end for timeline in timelines for end, _ in timeline})
    return tuple(
        PromptStage(
            end,
            tuple(
                Condition(weight, emphasis.parse_emphasis(_find_text(timeline, end)))
                for timeline, (_, weight) in zip(timelines, weighed, strict=True)
            ),
        )
        for end in ends
    )


def _find_text(timeline: list[tuple[int, str]], end: int) -> str:
    return next(text for until, text in timeline if end <= until)


def _split_conjunction(text: str) -> list[tuple[str, float]]:
    """The prompts between ANDs, each with the weight behind its last colon. A lone prompt keeps its colon: it is text
    there."""
    prompts = _AND.split(text)
    if len(prompts) == 1:
        return [(text, 1.0)]
    return [_split_weight(prompt.rstrip()) for prompt in prompts]


def _split_weight(prompt: str) -> tuple[str, float]:
    head, colon, tail = prompt.rpartition(":")
    if colon and _WEIGHT.fullmatch(tail.strip()):
        return head.rstrip(), max(-1000.0, min(1000.0, float(tail)))
    return prompt, 1.0
