"""The Compare tab."""

from studio.tabs.compare.tab import TAB

__all__ = ["TAB"]
