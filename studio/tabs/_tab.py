"""What a tab is, and what it may ask of the page around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.engine.studio import Studio

Updates = dict[Any, Any]  # component -> its new value, or a gr.update; what handlers hand back


@dataclass(frozen=True, kw_only=True)
class Shell:
    """The page that a tab is built into: `blocks` for its load and unload events."""

    blocks: gr.Blocks


@dataclass(frozen=True, kw_only=True)
class Tab:
    """One tab: a file below studio/tabs/ defines one as TAB. Tabs stand from left to right by `order`."""

    title: str
    order: int
    build: Callable[[Studio, Shell], None]
