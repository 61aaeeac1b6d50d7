"""The Prompts tab: from a brief to images, personas, descriptions of images, recipes and wildcards; the page's own
script shows them over the HTTP API."""

from __future__ import annotations

from studio.engine.studio import Studio
from studio.tabs.common.image_fields import build_scripted_field
from studio.tabs.common.tab import PageContext, Tab


def build_prompts_tab(studio: Studio, page_context: PageContext) -> None:
    """Build the tab."""
    build_scripted_field("promptsView", "prompts-view")


TAB = Tab(title="Prompts", order=50, build=build_prompts_tab)
