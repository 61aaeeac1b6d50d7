"""The user who sent an event. Hidden handlers can be called by anybody who can reach the page, so each one asks
here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from studio.core.errors import Forbidden
from studio.core.rights import Right
from studio.core.user import User

P = ParamSpec("P")
T = TypeVar("T")


def get_user(request: gr.Request) -> User:
    """The caller that the guard found and put into the request's scope.

    Raises:
        Forbidden: the request did not come through the guard.
    """
    inner = request.request
    user = inner.scope.get("user") if inner is not None else None
    if not isinstance(user, User):
        raise Forbidden("Your session has ended.", hint="Reload it and log in again.")
    return user


def requires(right: Right) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a handler, one that takes the request, run for callers with `right` alone. Stands below `show_errors`."""

    def decorate(handler: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(handler)
        def check_right(*args: P.args, **kwargs: P.kwargs) -> T:
            get_user(next(each for each in (*args, *kwargs.values()) if isinstance(each, gr.Request))).require(right)
            return handler(*args, **kwargs)

        declare_right(check_right, right)
        return check_right

    return decorate


def declare_right(handler: Callable[..., Any], right: Right) -> None:
    """Note on `handler` what its callers need; `find_right` reads it."""
    handler.__dict__["needed_right"] = right


def find_right(handler: Callable[..., Any]) -> Right | None:
    """The right that callers of `handler` need; None where none is declared."""
    return getattr(handler, "needed_right", None)
