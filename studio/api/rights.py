"""Which right a route needs, declared where the route is: `dependencies=[needs(Right.SETTINGS)]`."""

from __future__ import annotations

from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from studio.api.submit_request import get_caller
from studio.core.rights import Right


class NeededRight:
    """A dependency that refuses callers without `right`; None is for routes that are open to everybody."""

    def __init__(self, right: Right | None) -> None:
        self.right = right

    async def __call__(self, connection: HTTPConnection) -> None:
        if self.right is not None:
            get_caller(connection).require(self.right)


def needs(right: Right | None) -> Any:
    """The dependency for `right`; None declares a route that nobody has to log in for."""
    return Depends(NeededRight(right))
