"""Parts of a prompt that a rewrite must not touch, taken out before and put back after: LoRA tags, wildcards, groups,
weighted words, BREAK and AND, and quoted text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.core.errors import ProviderError
from studio.prompting.dynamic_tree import escape_text

_PROTECTED = re.compile(
    r"""<[a-z]+:[^<>\n]{1,300}>          # LoRA and the like
    | (?<![^\W_])__[^\W_][\w\-/*]*?__    # wildcards
    | \$?\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}  # groups and variables, one level inside each other
    | \([^()\n]{1,300}:[\d.]+\)          # weighted words
    | \bBREAK\b | \bAND\b
    | "[^"\n]{1,300}" | “[^”\n]{1,300}”   # text that is to stand in the image
    """,
    re.VERBOSE,
)
_MARK = re.compile(r"[⟦\[]{1,2}\s*(\d{1,3})\s*[⟧\]]{1,2}")


@dataclass(frozen=True)
class ProtectedText:
    """A prompt with marks such as ⟦1⟧ in the places of its protected `parts`."""

    text: str
    parts: tuple[str, ...]


def protect_parts(prompt: str) -> ProtectedText:
    """Take the protected parts out of `prompt`."""
    parts: list[str] = []

    def take(found: re.Match[str]) -> str:
        parts.append(found[0])
        return f"⟦{len(parts)}⟧"

    return ProtectedText(_PROTECTED.sub(take, prompt), tuple(parts))


def restore_parts(text: str, parts: tuple[str, ...]) -> str:
    """`text`, a rewrite, with every part in the place of its mark.

    Raises:
        ProviderError: a part is missing, stands twice, or was never there.
    """
    numbers = [int(found[1]) for found in _MARK.finditer(text)] if parts else []
    if sorted(numbers) != list(range(1, len(parts) + 1)):
        lost = [part for number, part in enumerate(parts, 1) if numbers.count(number) != 1]
        named = ", ".join(lost)[:200] or "a part of the prompt"
        raise ProviderError(f"The rewritten prompt lost {named}.", hint="Try again; your prompt is unchanged.")
    pieces = _MARK.split(text) if parts else [text]
    return "".join(parts[int(piece) - 1] if at % 2 else escape_text(piece) for at, piece in enumerate(pieces))
