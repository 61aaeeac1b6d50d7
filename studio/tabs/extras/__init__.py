"""The Extras tab."""

from studio.tabs.extras.tab import TAB

__all__ = ["TAB"]
