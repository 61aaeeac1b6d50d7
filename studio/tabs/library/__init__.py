"""The Library tab."""

from studio.tabs.library.tab import TAB

__all__ = ["TAB"]
