"""The fixtures of the page tests."""

from opening import browser, launched, opener, shared, stack

__all__ = ["browser", "launched", "opener", "shared", "stack"]
