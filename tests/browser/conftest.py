"""The fixtures of the page tests."""

from opening import browser, opener, shared, stack

__all__ = ["browser", "opener", "shared", "stack"]
