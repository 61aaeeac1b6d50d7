"""Bodies as multipart forms with files, for whoever finds that easier than base64 in JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.types import Message

from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_json_depth

MAX_FILES = 200


class MultipartRoute(APIRoute):
    """A route whose JSON body may also come as a multipart form. A file stands under the name of the field that it
    fills, a list takes the name several times; a field "request" may hold the rest as JSON, and single values may be
    fields of their own."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        body = next((param.field_info.annotation for param in self.dependant.body_params), None)

        async def handle_form(request: Request) -> Response:
            if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
                async with request.form(max_files=MAX_FILES, max_fields=200, max_part_size=4 * 2**20) as form:
                    request = _to_json_request(request, await _read_fields(form, body))
            return await handle(request)

        return handle_form


async def _read_fields(form: FormData, body: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    shape = body.model_fields if isinstance(body, type) and issubclass(body, BaseModel) else {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            found: Any = base64.b64encode(await value.read()).decode()
        elif name == "request":
            fields |= _parse_object(value)
            continue
        else:
            found = value if name in shape and shape[name].annotation is str else _parse_value(value)
        if name in shape and "list" in str(shape[name].annotation) and not isinstance(found, list):
            fields.setdefault(name, []).append(found)
        else:
            fields[name] = found
    return fields


def _parse_object(text: str) -> dict[str, Any]:
    try:
        found = _load_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The form field “request” is not valid JSON.", hint="Send a JSON object there.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The form field “request” is not a JSON object.", hint="Send a JSON object there.")
    return found  # pyright: ignore[reportUnknownVariableType]


def _parse_value(text: str) -> Any:
    """Numbers, true, false, null, objects and lists as JSON has them; every other text as it is."""
    try:
        return _load_json(text)
    except (ValueError, RecursionError):
        return text


def _load_json(text: str) -> Any:
    """JSON of a field; raises InvalidRequest where it is nested too deep."""
    check_json_depth(text.encode("utf-8", "surrogatepass"), "form")
    return json.loads(text)


def _to_json_request(request: Request, fields: dict[str, Any]) -> Request:
    body = json.dumps(fields).encode()
    kept = [
        (name, value)
        for name, value in Headers(scope=request.scope).raw
        if name not in (b"content-type", b"content-length")
    ]
    headers = [*kept, (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return await request.receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({**request.scope, "headers": headers}, receive)
