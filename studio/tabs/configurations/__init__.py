"""The Configurations tab."""

from studio.tabs.configurations.tab import TAB

__all__ = ["TAB"]
