"""The user who sent an event. Hidden handlers can be called by anybody who can reach the page, so each one asks
here."""

from __future__ import annotations

import gradio as gr

from studio.core.errors import Forbidden
from studio.core.user import User


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


def require_admin(request: gr.Request) -> User:
    """`user_of`, for handlers that change settings or models.

    Raises:
        Forbidden: the caller is no administrator.
    """
    user = get_user(request)
    if not user.admin:
        raise Forbidden("Only an administrator can do this.", hint="Ask the person who runs this studio.")
    return user
