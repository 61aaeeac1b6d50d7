"""Every error of the HTTP side in one shape: `{"error", "code", "details"}` with the right status."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match

from studio.api.dialects.dialect_paths import Dialect, find_dialect
from studio.api.dialects.error_shapes import ErrorFacts, shape_error
from studio.core.errors import RateLimited, StudioError

_CODES = {
    400: "BAD_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_MAX_ECHO_LENGTH = 80  # characters of a wrong value that are repeated to the caller


class NotReady(StudioError):
    """The job has not got that far."""

    code: ClassVar[str] = "NOT_READY"
    status: ClassVar[int] = 409


def install_error_handlers(app: FastAPI) -> None:
    """Answer StudioErrors, FastAPI's own errors and Starlette's in the studio's shape."""
    app.add_exception_handler(StudioError, _handle_studio_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_error)


def build_error_response(error: StudioError, **details: Any) -> JSONResponse:
    """`error` as an HTTP response, with `details` beside its own."""
    shape = error.to_json()
    shape["details"] = {**shape["details"], **details}
    headers: dict[str, str] = {}
    if isinstance(error, RateLimited) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return JSONResponse(clean_json(shape), status_code=error.status, headers=headers)


def clean_json(value: Any) -> Any:
    """`value` without what JSON in UTF-8 cannot carry: not-a-number, infinities, lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {clean_json(str(key)): clean_json(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in cast("Sequence[Any]", value)]
    return value


def build_fallback_router() -> APIRouter:
    """The end of the list of routes: whatever below /api nobody else took is a 404, or a 405 when only the method is
    wrong."""
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/api/{path:path}", methods=_METHODS)
    async def reject_unknown_path(request: Request, path: str) -> JSONResponse:
        allowed = _find_allowed_methods(request)
        if allowed:
            shape = _format_error(405, f"Method {request.method} not allowed.", "Use " + " or ".join(allowed) + ".")
            return JSONResponse(shape, 405, {"Allow": ", ".join(allowed)})
        return JSONResponse(_format_error(404, "Not found.", "GET /api/docs lists what there is."), 404)

    return routes


def _find_allowed_methods(request: Request) -> list[str]:
    """The methods with which this path would have led elsewhere than to `nothing`."""
    routes = request.app.router.routes

    def find_route(method: str) -> Any:
        scope = {**request.scope, "method": method}
        return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)

    nowhere = find_route(request.method)
    return sorted(method for method in _METHODS if find_route(method) is not nowhere)


async def _handle_studio_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StudioError)
    path = request.scope["path"]
    return build_error_response(error) if find_dialect(path) is None else build_dialect_response(path, error)


def build_dialect_response(path: str, error: StudioError) -> JSONResponse:
    """`error` as the API at `path` answers it."""
    shaped = shape_error(path, describe_error(error))
    headers = dict(shaped.headers)
    if isinstance(error, RateLimited) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return JSONResponse(clean_json(shaped.body), shaped.status, headers)


def describe_error(error: StudioError) -> ErrorFacts:
    """What an API tells of `error`."""
    return ErrorFacts(
        status=error.status,
        code=error.code,
        message=error.message,
        hint=error.hint,
        kind=str(error.details.get("kind", type(error).__name__)),
        parameter=str(error.details.get("field", "")),
        details=error.details,
    )


async def _handle_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = str(error.detail) if error.status_code < 500 else HTTPStatus(error.status_code).phrase
    if find_dialect(request.scope["path"]) is not None:
        code = _CODES.get(error.status_code, f"HTTP_{error.status_code}")
        shaped = shape_error(request.scope["path"], ErrorFacts(status=error.status_code, code=code, message=message))
        return JSONResponse(clean_json(shaped.body), shaped.status, {**(error.headers or {}), **shaped.headers})
    return JSONResponse(clean_json(_format_error(error.status_code, message)), error.status_code, error.headers)


async def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Name the first field that does not fit. The value itself is shortened: it may be megabytes."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    field = ".".join(place)
    if first["type"] == "extra_forbidden":
        message, hint = f"Unknown field {field!r}.", "GET /api/docs lists the fields."
    elif first["type"] == "missing":
        message, hint = f"{field or 'A JSON body'} is missing.", "Add it and send it again."
    elif first["type"] == "json_invalid":
        field, message, hint = "", "Invalid JSON in the request body.", "Send a JSON object."
    else:
        given = _shorten_input(first.get("input", ""))
        message, hint = (
            f"{field or 'The body'} cannot be {given!r}: {first['msg'].rstrip('.')}.",
            "Correct it and send it again.",
        )
    path = request.scope["path"]
    if find_dialect(path) is Dialect.AUTOMATIC1111:  # as FastAPI says it there
        listed = [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
        return JSONResponse(clean_json({"detail": listed}), 422)
    if find_dialect(path) is not None:
        facts = ErrorFacts(status=400, code="INVALID_REQUEST", message=message, hint=hint, parameter=field[:200])
        shaped = shape_error(path, facts)
        return JSONResponse(clean_json(shaped.body), shaped.status, shaped.headers)
    shape = {"error": message, "code": "INVALID_REQUEST", "details": {"hint": hint, "field": field[:200]}}
    return JSONResponse(clean_json(shape), 400)


def _shorten_input(value: Any) -> str:
    """The beginning of a wrong value; a list or object is not followed into its depths."""
    return (value if isinstance(value, str) else reprlib.repr(value))[:_MAX_ECHO_LENGTH]


def _format_error(status: int, message: str, hint: str = "") -> dict[str, Any]:
    return {"error": message, "code": _CODES.get(status, f"HTTP_{status}"), "details": {"hint": hint} if hint else {}}
