"""Tabs, and the page context that they use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from fastapi import APIRouter

from studio.engine.studio import Studio
from studio.tabs.common.deferred_tabs import DeferringBlocks
from studio.tabs.common.events import UNQUEUED, Updates
from studio.tabs.common.send_images import SendRegistry


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """The page that a tab is built into: `blocks` for its load and unload events, `store` for what the browser keeps,
    `send` for images from tab to tab, `forms`, the names of those that the page puts back when it loads, and `lists`,
    the handlers that bring each tab's lists of models up to date, with their inputs and outputs."""

    blocks: DeferringBlocks
    store: gr.Column
    send: SendRegistry
    forms: list[str] = field(default_factory=list[str])
    lists: list[tuple[Callable[..., Updates], Any, Any]] = field(default_factory=list[Any])

    def refresh_lists_after(self, event: Any) -> None:
        """Bring all lists of models up to date whenever `event` has succeeded."""
        for handler, inputs, outputs in self.lists:
            event.success(handler, inputs, outputs, **UNQUEUED)


@dataclass(frozen=True, kw_only=True)
class Tab:
    """One tab: a file or package below studio/tabs/ defines one as TAB. Tabs stand from left to right by `order`.

    `build_router` gives the routes that the tab's scripts call, None where this studio has not what they need.
    """

    title: str
    order: int
    build: Callable[[Studio, PageContext], None]
    build_router: Callable[[Studio], APIRouter | None] | None = None
