"""Roles of users and what each may do: the one place that page, APIs and engine ask."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Right(StrEnum):
    """Something that a user may do or not."""

    USE = "use"  # one's own images, jobs and lists
    GENERATE = "generate"  # queue jobs
    ORGANIZE = "organize"  # change, trash or delete what one keeps: images, collections, recipes, lists
    SPEND = "spend"  # use models that cost money
    DELETE = "delete"  # remove one's files for good
    TOKENS = "tokens"  # make tokens for programs
    DOWNLOAD = "download"  # fetch model files
    SETTINGS = "settings"  # change settings, keys and models, and see the log
    RELEASE = "release"  # show images that moderation holds back
    USERS = "users"  # manage users, and see what all of them use


class Role(StrEnum):
    """What a person is in the studio."""

    ADMINISTRATOR = "administrator"
    MEMBER = "member"
    GUEST = "guest"


_GUEST = frozenset({Right.USE, Right.GENERATE, Right.ORGANIZE})
_MEMBER = _GUEST | {Right.SPEND, Right.DELETE, Right.TOKENS}
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.ADMINISTRATOR: frozenset(Right),
    Role.MEMBER: _MEMBER,
    Role.GUEST: _GUEST,
}
# Limits of a role, by the name of the setting that gives everybody's; the stricter of both holds.
ROLE_LIMITS: Mapping[Role, Mapping[str, float]] = {
    Role.GUEST: {"queue_limit_per_user": 2, "images_per_day": 50, "disk_gb_per_user": 1.0},
}
ACTIONS: Mapping[Right, str] = {  # in “… may not …”
    Right.USE: "use the studio",
    Right.GENERATE: "make images",
    Right.ORGANIZE: "change or delete what is kept",
    Right.SPEND: "use models that cost money",
    Right.DELETE: "delete files for good",
    Right.TOKENS: "create API tokens",
    Right.DOWNLOAD: "download model files",
    Right.SETTINGS: "see or change settings and models",
    Right.RELEASE: "release images that were held back",
    Right.USERS: "see or change what belongs to other users",
}
