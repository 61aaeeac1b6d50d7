"""The Prompts tab."""

from studio.tabs.prompts.tab import TAB

__all__ = ["TAB"]
