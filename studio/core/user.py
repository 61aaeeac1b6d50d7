"""Users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """One person. `admin` may change settings and models. Without logins there is one, LOCAL, who may do everything."""

    name: str
    admin: bool = False


LOCAL_USER = User("local", admin=True)
