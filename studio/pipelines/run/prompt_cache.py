"""Encoded prompts of a resident pipeline, kept for the next job with the same words."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

LIMIT = 64  # texts; one of Stable Diffusion takes a quarter of a megabyte, one of a T5 up to four


class PromptCache:
    """The most recently used texts as what the text encoders made of them. Not for two threads at a time."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._state: Hashable = None
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def keep_for(self, state: Hashable) -> None:
        """Forget everything that was made in another `state` of the encoders: with other LoRAs or embeddings."""
        if state != self._state:
            self._kept.clear()
            self._state = state

    def get(self, key: Hashable, encode: Callable[[], Any]) -> Any:
        """What `encode` made for `key`, called only the first time."""
        if key not in self._kept:
            self._kept[key] = encode()
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return self._kept[key]


def cache_encoding(pipe: Any, cache: PromptCache) -> None:
    """Let `pipe`, a view of one run alone, encode each prompt only once, whatever its text encoders are."""
    encode = getattr(pipe, "encode_prompt", None)
    if encode is None:
        return

    @functools.wraps(encode)  # pipelines look at the signature
    def encode_once(*arguments: Any, **named: Any) -> Any:
        if any(hasattr(value, "shape") for value in (*arguments, *named.values())):
            return encode(*arguments, **named)  # given as tensors already
        key = type(pipe).__name__, repr((arguments, sorted(named.items())))
        return cache.get(key, lambda: encode(*arguments, **named))

    pipe.encode_prompt = encode_once
