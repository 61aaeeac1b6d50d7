"""The Social Optimizer tab."""

from studio.tabs.social.tab import TAB

__all__ = ["TAB"]
