"""The start page."""

from studio.tabs.home.tab import TAB

__all__ = ["TAB"]
