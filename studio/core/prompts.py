"""Prompts that were found for a brief, and what was understood of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ParsedPrompt:
    """One prompt with a name to tell it by."""

    name: str
    prompt: str
    negative_prompt: str = ""
