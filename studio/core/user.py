"""Users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """One person. `admin` may change settings and models, `may_spend` may use models that cost money (a program with a
    token may not, unless the token says so). Without logins there is one, LOCAL, who may do everything."""

    name: str
    admin: bool = False
    may_spend: bool = True


LOCAL_USER = User("local", admin=True)
