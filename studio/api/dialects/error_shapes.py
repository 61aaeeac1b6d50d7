"""Errors in the shape that each API has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.api.dialects.dialect_paths import Dialect, find_dialect

_STATUS_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_OPENAI_STATUSES = {  # codes whose own status would make OpenAI's client send the request again, and what is sent
    "NOT_CONFIGURED": 400,
    "CANCELLED": 400,
    "NOT_READY": 400,
    "QUEUE_FULL": 429,
}
_OPENAI_CODES = {  # the names that OpenAI has for some of ours
    "UNKNOWN_MODEL": "model_not_found",
    "LOGIN_NEEDED": "invalid_api_key",
    "CONTENT_REFUSED": "moderation_blocked",
    "BUDGET_EXCEEDED": "billing_hard_limit_reached",
    "PAYMENT_NEEDED": "insufficient_quota",
    "RATE_LIMITED": "rate_limit_exceeded",
}
_WORTH_RETRYING = frozenset({"QUEUE_FULL", "RATE_LIMITED", "SHUTTING_DOWN", "TOO_MANY_TRIES"})
_QUEUE_RETRY_SECONDS = "5"


@dataclass(frozen=True, kw_only=True)
class ErrorFacts:
    """What is told of an error: its HTTP status, its code among the studio's, what happened and what to do. `kind` is
    the name of its class where the API tells it; `parameter` is the field of the request that is at fault."""

    status: int
    code: str
    message: str
    hint: str = ""
    kind: str = "HTTPException"
    parameter: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """Message and hint as one text."""
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True, kw_only=True)
class ShapedError:
    """The answer: status, JSON body, headers."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def shape_error(path: str, facts: ErrorFacts) -> ShapedError:
    """`facts` as the API at `path` answers them; the studio's own shape elsewhere."""
    dialect = find_dialect(path)
    if dialect is Dialect.AUTOMATIC1111:
        return _shape_automatic1111(facts)
    if dialect is Dialect.OPENAI:
        return _shape_openai(facts)
    if dialect is Dialect.COMFYUI:
        return _shape_comfyui(facts)
    headers = {"WWW-Authenticate": 'Bearer realm="Easel"'} if dialect is not None and facts.status == 401 else {}
    details = {**facts.details, **({"hint": facts.hint} if facts.hint else {})}
    return ShapedError(
        status=facts.status, body={"error": facts.message, "code": facts.code, "details": details}, headers=headers
    )


def _shape_automatic1111(facts: ErrorFacts) -> ShapedError:
    headers = {"WWW-Authenticate": 'Basic realm="Easel"'} if facts.status == 401 else {}
    detail = facts.details.get("detail", facts.text)
    return ShapedError(
        status=facts.status,
        body={
            "error": facts.kind,
            "detail": detail,
            "body": "",
            "errors": facts.message if facts.status >= 500 else "",
        },
        headers=headers,
    )


def _shape_openai(facts: ErrorFacts) -> ShapedError:
    status = _OPENAI_STATUSES.get(facts.code, facts.status)
    kind = _STATUS_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = _OPENAI_CODES.get(facts.code, facts.code.lower())
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Easel"'
    if facts.code not in _WORTH_RETRYING:
        headers["x-should-retry"] = "false"
    elif facts.code == "QUEUE_FULL":
        headers["Retry-After"] = _QUEUE_RETRY_SECONDS
    error = {"message": facts.text, "type": kind, "param": facts.parameter or None, "code": code}
    return ShapedError(status=status, body={"error": error}, headers=headers)


def _shape_comfyui(facts: ErrorFacts) -> ShapedError:
    headers = {"WWW-Authenticate": 'Bearer realm="Easel"'} if facts.status == 401 else {}
    error = {
        "type": facts.details.get("type", facts.code.lower()),
        "message": facts.message,
        "details": facts.hint,
        "extra_info": facts.details.get("extra_info", {}),
    }
    nodes = facts.details.get("node_errors", {})
    return ShapedError(status=facts.status, body={"error": error, "node_errors": nodes}, headers=headers)
