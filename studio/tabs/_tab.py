"""What a tab is, and what it may ask of the page around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import gradio as gr

from studio.engine.studio import Studio
from studio.tabs._send import Send


@dataclass(frozen=True, kw_only=True)
class Shell:
    """The page that a tab is built into: `blocks` for its load and unload events, `store` for what the browser keeps, `send` for
    pictures from tab to tab, and `forms`, the names of those that the page puts back when it loads."""

    blocks: gr.Blocks
    store: gr.Column
    send: Send
    forms: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class Tab:
    """One tab: a file below studio/tabs/ defines one as TAB. Tabs stand from left to right by `order`."""

    title: str
    order: int
    build: Callable[[Studio, Shell], None]
