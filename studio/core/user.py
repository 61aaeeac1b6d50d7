"""Users."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from studio.core.errors import Forbidden
from studio.core.rights import ACTIONS, RIGHTS, ROLE_LIMITS, Right, Role
from studio.core.settings import Settings


@dataclass(frozen=True)
class User:
    """One person, or a program with a token of theirs. Without logins there is one, LOCAL_USER, who may do everything.

    `denied` is what the role allows and this caller may not do all the same: a token has fewer rights than its user.
    `limits` are settings that hold for this user instead of everybody's, by name.
    """

    name: str
    role: Role = Role.MEMBER
    denied: frozenset[Right] = frozenset()
    limits: tuple[tuple[str, Any], ...] = ()
    by_token: bool = False

    def may(self, right: Right) -> bool:
        """Whether the user has the right."""
        return right in RIGHTS[self.role] and right not in self.denied

    def require(self, right: Right) -> None:
        """Raises Forbidden, with what to do, when the user has not the right."""
        if self.may(right):
            return
        if self.by_token and right in RIGHTS[self.role]:
            hint = _TOKEN_HINTS.get(right, "Do it on the studio's page.")
            raise Forbidden(f"This token may not {ACTIONS[right]}.", hint=hint)
        whose = "This token" if self.by_token else "Your account"
        raise Forbidden(f"{whose} may not {ACTIONS[right]}.", hint="Ask an administrator of this studio.")

    def without(self, *rights: Right) -> Self:
        """The same user with fewer rights."""
        return dataclasses.replace(self, denied=self.denied | set(rights))

    def adjust_settings(self, settings: Settings) -> Settings:
        """`settings` as they hold for this user: with the limits of the role where these are stricter, and the user's
        own instead of everybody's."""
        values: dict[str, Any] = {}
        for name, limit in ROLE_LIMITS.get(self.role, {}).items():
            values[name] = min(getattr(settings, name) or limit, limit)
        values |= dict(self.limits)
        return settings.apply_values(values) if values else settings


_TOKEN_HINTS = {
    Right.ORGANIZE: "Create a token that may organise.",
    Right.SPEND: "Create a token that may spend.",
}
LOCAL_USER = User("local", Role.ADMINISTRATOR)
OPENID_PREFIX = "openid-"  # of the names of those whom an OpenID provider vouches for
GUEST_PREFIX = "guest-"  # of the names of those who come without a login, where they may
