"""A persona as a visible style of a prompt."""

from __future__ import annotations

import dataclasses

from studio.core.prompts import ParsedPrompt, Persona
from studio.prompting.dialects import Dialect
from studio.prompting.enhance import Addition, join_additions


def apply_persona(prompt: ParsedPrompt, persona: Persona, dialect: Dialect, *, negative: bool) -> ParsedPrompt:
    """`prompt` with the persona's look and palette behind it, and with what it avoids in the negative prompt where that
    counts."""
    additions = list_persona_additions(persona)
    avoided = ", ".join(part for part in (prompt.negative_prompt, persona.avoid.strip()) if part)
    return dataclasses.replace(
        prompt,
        prompt=join_additions(prompt.prompt, additions, dialect),
        negative_prompt=avoided if negative else "",
    )


def list_persona_additions(persona: Persona) -> tuple[Addition, ...]:
    """What stands behind a prompt in the persona's style."""
    parts = {"look": persona.look, "palette": persona.palette}
    return tuple(Addition(slot, text.strip()) for slot, text in parts.items() if text.strip())
