"""What calls to a language model use and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from studio.core.settings import Settings

MAX_ANSWER_TOKENS = 4096  # that any call asks for
_CHARS_PER_TOKEN = 2  # of a message, on the safe side: English has four, other scripts two and fewer
_IMAGE_TOKENS = 1500  # on the safe side for the small copy that is sent
_ANSWER_CHARS_PER_TOKEN = 3  # of an answer that came, where the server does not count
_MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class TokenUse:
    """Tokens that were sent and that came, as the server counts them."""

    sent: int
    received: int


@dataclass(frozen=True, kw_only=True)
class TokenPrice:
    """US dollars of a million tokens that are sent and that come."""

    sent: float
    received: float

    def compute_cost(self, use: TokenUse) -> float:
        """US dollars."""
        return (use.sent * self.sent + use.received * self.received) / _MILLION


def read_token_price(settings: Settings) -> TokenPrice | None:
    """The price that the settings state, None where one of both is unknown."""
    if min(settings.chat_price_sent, settings.chat_price_received) < 0:
        return None
    return TokenPrice(sent=settings.chat_price_sent, received=settings.chat_price_received)


def estimate_use(messages: Sequence[Mapping[str, Any]], answer_chars: int | None = None) -> TokenUse:
    """The tokens that a call may use at most, or, with the length of its answer, those that it has used by a rough
    count."""
    sent = sum(_count_tokens(message.get("content")) for message in messages)
    received = MAX_ANSWER_TOKENS if answer_chars is None else answer_chars // _ANSWER_CHARS_PER_TOKEN + 1
    return TokenUse(sent=sent, received=received)


def _count_tokens(content: Any) -> int:
    if isinstance(content, str):
        return len(content) // _CHARS_PER_TOKEN + 1
    parts = cast("list[dict[str, Any]]", content) if isinstance(content, list) else []
    return sum(_count_tokens(part["text"]) if "text" in part else _IMAGE_TOKENS for part in parts)
