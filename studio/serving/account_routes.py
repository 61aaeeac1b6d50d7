"""Users, their logins and the audit log over HTTP: one's own for everybody, all of them for those who manage users."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from studio.api import schemas
from studio.api.responses import PREFIX
from studio.api.rights import needs
from studio.api.submit_request import NO_STORE, get_caller
from studio.core.errors import Forbidden, InvalidRequest, NotConfigured, RateLimited
from studio.core.rights import Right, Role
from studio.core.user import User
from studio.engine.audit import AuditEvent
from studio.engine.engine import Engine
from studio.engine.studio import Studio
from studio.serving.login import Authenticator, get_cookie
from studio.serving.users import MAX_PASSWORD_LENGTH, UserEntry, Users

_PASSWORD_BYTES = 12  # of a password that is made up


def _refuse_tokens(request: Request) -> None:
    """For what concerns the account itself: a token that was stolen must not lock its user out or tell of them."""
    if get_caller(request).by_token:
        raise Forbidden("A token may not do this.", hint="Do it on the studio's page, or send a name and password.")


_PERSON = Depends(_refuse_tokens)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUserBody(_Body):
    """A user to add; without a password one is generated and shown once."""

    name: str
    password: str | None = Field(None, max_length=MAX_PASSWORD_LENGTH)
    role: Role = Role.MEMBER
    limits: dict[str, Any] = Field(default_factory=dict, description="Settings that hold for this user instead.")


class UserChangeBody(_Body):
    """What is to change of a user; what is left out stays."""

    password: str | None = Field(None, max_length=MAX_PASSWORD_LENGTH)
    # names on the wire are camelCase
    newPassword: bool = Field(False, description="Make up a password and tell it once.")  # noqa: N815
    role: Role | None = None
    limits: dict[str, Any] | None = Field(None, description="All limits of the user; others are taken away.")
    disabled: bool | None = None


class PasswordBody(_Body):
    """One's own password, old and new."""

    old: str = Field(max_length=MAX_PASSWORD_LENGTH)
    new: str = Field(max_length=MAX_PASSWORD_LENGTH)


class UsageBody(BaseModel):
    """What a user takes: images made today, bytes on disk, unfinished jobs, US dollars of this day and month."""

    imagesToday: int  # noqa: N815
    diskBytes: int  # noqa: N815
    jobs: int
    spentDay: float  # noqa: N815
    spentMonth: float  # noqa: N815


class UserBody(BaseModel):
    """A user. `limits` are the user's own, `applied` those that hold, everybody's included; 0 is none. Without
    `accounts` there is one user and no login."""

    name: str
    role: Role
    rights: list[Right]
    disabled: bool = False
    limits: dict[str, Any]
    applied: dict[str, Any]
    usage: UsageBody
    accounts: bool
    password: str | None = Field(None, description="The generated password, shown only this once.")


class UserList(BaseModel):
    users: list[UserBody]


class SessionBody(BaseModel):
    """A login; times in seconds since the epoch. `own` is the one that asks."""

    id: str
    user: str
    begun: float
    seen: float
    ends: float
    client: str
    address: str
    own: bool


class SessionList(BaseModel):
    sessions: list[SessionBody]


class EndedSessions(BaseModel):
    ended: int


class ConfirmBody(_Body):
    """The name of the user whose data are to be removed, typed again."""

    confirm: str


class DeletedData(BaseModel):
    """How many of what was removed."""

    deleted: dict[str, int]


class AuditList(BaseModel):
    """Entries of the audit log, the newest first."""

    entries: list[dict[str, Any]]


class AccountRoutes:
    """What the routes share. Without user accounts those that need them answer 409."""

    def __init__(self, studio: Studio, authenticator: Authenticator | None) -> None:
        self._studio = studio
        self._authenticator = authenticator

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self._studio.engine

    @property
    def accounts(self) -> Authenticator:
        """Users and logins; raises NotConfigured where the studio has none."""
        if self._authenticator is None:
            raise NotConfigured("This studio has no user accounts.", hint="Add one with: python run.py --add-user NAME")
        return self._authenticator

    @property
    def users(self) -> Users:
        """The users with passwords; raises NotConfigured where the studio has none."""
        found = self.accounts.file
        if found is None:
            raise NotConfigured("This studio has no users with passwords.", hint="Start it with --auth-file FILE.")
        return found

    def describe(self, entry: UserEntry, password: str | None = None) -> UserBody:
        """A user as the routes tell it."""
        user, engine = entry.user, self.engine
        settings = user.adjust_settings(self._studio.settings.current)
        spent = {period: amount for period, amount, _ in engine.ledger.list_spending(user.name, settings)}
        return UserBody(
            name=user.name,
            role=user.role,
            rights=[right for right in Right if user.may(right)],
            disabled=entry.disabled,
            limits=dict(user.limits),
            applied={field.name: getattr(settings, field.name) for field in settings.list_user_limits()},
            usage=UsageBody(
                imagesToday=engine.usage.count_images_today(user.name),
                diskBytes=engine.usage.sum_disk(user.name),
                jobs=engine.count_unfinished(user),
                spentDay=spent["day"],
                spentMonth=spent["month"],
            ),
            accounts=self._authenticator is not None,
            password=password,
        )

    def end_sessions(self, user: str, by: str, *, but: str = "") -> int:
        """End the logins of `user` but one, and note it."""
        ended = self.accounts.cookies.end_sessions(user, but=but)
        self.engine.audit.record(AuditEvent.SESSION_ENDED, by, of=user, sessions=ended)
        return ended


def build_account_router(studio: Studio, authenticator: Authenticator | None) -> APIRouter:
    """All routes."""
    routes = APIRouter(
        prefix=PREFIX,
        tags=["users"],
        dependencies=[needs(Right.USE)],
        responses={"4XX": {"model": schemas.ErrorBody, "description": "What went wrong and what to do."}},
    )
    parts = AccountRoutes(studio, authenticator)
    _add_own_routes(routes, parts)
    _add_data_routes(routes, parts)
    _add_user_routes(routes, parts)
    _add_session_routes(routes, parts)
    _add_audit_route(routes, parts)
    return routes


def _add_own_routes(routes: APIRouter, parts: AccountRoutes) -> None:
    @routes.get("/me")
    def get_own_account(request: Request) -> UserBody:
        """Who calls, what they may do, their limits and what they have used."""
        return parts.describe(UserEntry(get_caller(request), ""))

    @routes.put("/me/password", status_code=204, dependencies=[_PERSON])
    async def change_own_password(request: Request, body: PasswordBody) -> None:
        """Change one's own password; all other logins of the user end."""
        user = get_caller(request)
        found, wait = await parts.accounts.check_password(request.scope, user.name, body.old)
        if wait:
            raise RateLimited("Too many wrong passwords.", retry_after=wait, hint="Wait a few minutes.")
        if found is None:
            raise Forbidden("The old password is wrong.", hint="Ask an administrator for a new one.")
        await asyncio.to_thread(parts.users.change, user.name, password=body.new)
        parts.engine.audit.record(AuditEvent.PASSWORD_CHANGED, user.name, of=user.name)


def _add_data_routes(routes: APIRouter, parts: AccountRoutes) -> None:
    def delete_data(request: Request, name: str, body: ConfirmBody) -> DeletedData:
        if body.confirm != name:
            raise InvalidRequest("Nothing was deleted.", hint=f"Send the name “{name}” as “confirm”.")
        return DeletedData(deleted=parts.engine.delete_data(name, get_caller(request)))

    @routes.get(
        "/me/export",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/zip": {}}}},
        dependencies=[_PERSON],
    )
    def export_own_data(request: Request) -> StreamingResponse:
        """Everything that is kept of the caller, as a zip: images, images they brought, lists, and the rest as JSON."""
        head = {"Content-Disposition": 'attachment; filename="easel-data.zip"', **NO_STORE}
        stream = parts.engine.export_data(get_caller(request))
        return StreamingResponse(stream, media_type="application/zip", headers=head)

    @routes.post("/me/data/delete", dependencies=[needs(Right.DELETE), _PERSON])
    def delete_own_data(request: Request, body: ConfirmBody) -> DeletedData:
        """Remove everything of the caller for good, but the account itself. What was paid stays without the name."""
        return delete_data(request, get_caller(request).name, body)

    @routes.post("/users/{name}/data/delete", dependencies=[needs(Right.USERS)])
    def delete_data_of_user(request: Request, name: str, body: ConfirmBody) -> DeletedData:
        """Remove everything of a user for good, one who was removed too; as for one's own."""
        return delete_data(request, name, body)


def _add_user_routes(routes: APIRouter, parts: AccountRoutes) -> None:
    administrators = [needs(Right.USERS)]

    @routes.get("/users", dependencies=administrators)
    def list_users() -> UserList:
        """All users with their limits and what they have used."""
        return UserList(users=[parts.describe(entry) for entry in parts.users.list_entries()])

    @routes.post("/users", status_code=201, dependencies=administrators)
    def add_user(request: Request, body: NewUserBody) -> UserBody:
        """Add a user."""
        made_up = secrets.token_urlsafe(_PASSWORD_BYTES) if body.password is None else None
        entry = parts.users.add(body.name, body.password or made_up or "", body.role, body.limits)
        facts = {"of": body.name, "role": body.role.value, "limits": body.limits}
        parts.engine.audit.record(AuditEvent.USER_ADDED, get_caller(request).name, **facts)
        return parts.describe(entry, made_up)

    @routes.get("/users/{name}", dependencies=administrators)
    def get_user(name: str) -> UserBody:
        """One user."""
        return parts.describe(parts.users.find_entry(name))

    @routes.patch("/users/{name}", dependencies=administrators)
    def change_user(request: Request, name: str, body: UserChangeBody) -> UserBody:
        """Change role, limits or password of a user, or let them log in no more. A new password, and disabling, end all
        their logins."""
        if body.password is not None and body.newPassword:
            raise InvalidRequest("Two new passwords.", hint="Send “password” or “newPassword”.")
        made_up = secrets.token_urlsafe(_PASSWORD_BYTES) if body.newPassword else None
        password = body.password if body.password is not None else made_up
        entry = parts.users.change(name, password=password, role=body.role, limits=body.limits, disabled=body.disabled)
        by = get_caller(request).name
        facts = body.model_dump(exclude_none=True, include={"role", "limits", "disabled"})
        if facts:
            parts.engine.audit.record(AuditEvent.USER_CHANGED, by, of=name, **facts)
        if password is not None:
            parts.engine.audit.record(AuditEvent.PASSWORD_CHANGED, by, of=name)
        if password is not None or body.disabled:
            parts.end_sessions(name, by)
        return parts.describe(entry, made_up)

    @routes.delete("/users/{name}", status_code=204, dependencies=administrators)
    def remove_user(request: Request, name: str) -> None:
        """Remove a user and their tokens. Their images stay on the disk; a user of that name finds them again."""
        by = get_caller(request).name
        parts.users.remove(name)
        parts.accounts.cookies.end_sessions(name)
        parts.engine.tokens.revoke_all(name)
        parts.engine.cancel_all(User(name))
        parts.engine.audit.record(AuditEvent.USER_REMOVED, by, of=name)


def _add_session_routes(routes: APIRouter, parts: AccountRoutes) -> None:
    @routes.get("/sessions", dependencies=[_PERSON])
    def list_sessions(request: Request, everybody: bool = False) -> SessionList:
        """The caller's logins, or with `everybody` those of all users."""
        user = get_caller(request)
        if everybody:
            user.require(Right.USERS)
        cookies = parts.accounts.cookies
        own = cookies.find_session_id(get_cookie(request.headers))
        return SessionList(
            sessions=[
                SessionBody(
                    id=session_id,
                    user=one.user,
                    begun=one.begun,
                    seen=one.seen,
                    ends=one.ends,
                    client=one.client,
                    address=one.address,
                    own=session_id == own,
                )
                for session_id, one in cookies.list_sessions(None if everybody else user.name).items()
            ]
        )

    @routes.delete("/sessions/{session_id}", status_code=204, dependencies=[_PERSON])
    def end_session(request: Request, session_id: str) -> None:
        """End a login: one's own, or for those who manage users anybody's."""
        user = get_caller(request)
        ended = parts.accounts.cookies.end_session(session_id, None if user.may(Right.USERS) else user.name)
        parts.engine.audit.record(AuditEvent.SESSION_ENDED, user.name, of=ended, sessions=1)

    @routes.post("/sessions/end", dependencies=[_PERSON])
    def end_other_sessions(request: Request) -> EndedSessions:
        """End all logins of the caller but the one that asks."""
        user = get_caller(request)
        own = parts.accounts.cookies.find_session_id(get_cookie(request.headers))
        return EndedSessions(ended=parts.end_sessions(user.name, user.name, but=own))

    @routes.post("/users/{name}/sessions/end", dependencies=[needs(Right.USERS)])
    def end_sessions_of_user(request: Request, name: str) -> EndedSessions:
        """End all logins of a user."""
        parts.users.find_entry(name)
        return EndedSessions(ended=parts.end_sessions(name, get_caller(request).name))


def _add_audit_route(routes: APIRouter, parts: AccountRoutes) -> None:
    @routes.get("/audit", dependencies=[needs(Right.USERS)])
    def list_audit_entries(
        limit: Annotated[int, Query(ge=1, le=5000)] = 200, event: AuditEvent | None = None, user: str = ""
    ) -> AuditList:
        """The latest entries of the audit log."""
        chosen = event.value if event is not None else ""
        return AuditList(entries=parts.engine.audit.list_latest(limit, event=chosen, user=user))
