"""The fixtures of the page tests."""

from opening import browser, opener, stack

__all__ = ["browser", "opener", "stack"]
