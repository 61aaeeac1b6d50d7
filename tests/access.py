"""Every route and event of a served studio, read from its own tables, with the right that each declares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from studio.api.rights import NeededRight
from studio.core.rights import Right
from studio.tabs.common.current_user import find_right

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_IGNORED_METHODS = {"HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Endpoint:
    """One method of one route. `rights` are those that it declares, `body` the JSON schema of its body, `gradio` means
    that the route is Gradio's own."""

    method: str
    path: str
    rights: frozenset[Right]
    is_open: bool = False
    is_declared: bool = True
    gradio: bool = False
    body: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """As an access log would call it."""
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return _PARAMETER.findall(self.path)

    def address(self, values: Mapping[str, str]) -> str:
        """The path with `values` in it."""
        return _PARAMETER.sub(lambda found: values[found[1]], self.path)


def list_endpoints(app: FastAPI) -> list[Endpoint]:
    """Every method of every route of `app` over HTTP, of what is mounted in it too."""
    return list(_iterate_endpoints(app.routes, gradio=False))


def find_blocks(app: FastAPI) -> gr.Blocks:
    """The page that is mounted in `app`."""
    [found] = [page for route in app.routes if isinstance(route, Mount) for page in _unwrap(route.app)]
    return found.get_blocks()


def _unwrap(app: Any) -> Iterator[Any]:
    """Gradio's app, if it is `app` or within its middleware."""
    while not hasattr(app, "get_blocks") and hasattr(app, "app"):
        app = app.app
    if hasattr(app, "get_blocks"):
        yield app


def list_undeclared_events(blocks: gr.Blocks) -> list[str]:
    """The handlers of the page that declare no right; events of scripts alone have none."""
    undeclared = [one.fn for one in blocks.fns.values() if one.fn is not None and not find_right(one.fn)]
    return [f"{one.__module__} {one.__qualname__} {one.__code__.co_firstlineno}" for one in undeclared]


def make_body(schema: Mapping[str, Any], owned: Mapping[str, str]) -> Any:
    """A body that fits `schema`, with the ids of `owned` wherever a field's name speaks of one."""
    return _fill(schema, schema.get("$defs", {}), "", owned)


def _iterate_endpoints(routes: Any, *, gradio: bool) -> Iterator[Endpoint]:
    for route in iter_route_contexts(routes):
        original = route.original_route
        if isinstance(original, Mount):
            yield from _iterate_endpoints(original.routes, gradio=True)
            continue
        endpoint = route.endpoint
        ours = not gradio and not str(getattr(endpoint, "__module__", "")).startswith("gradio")
        needed = [one.dependency for one in getattr(route, "dependencies", ()) or ()]
        rights = {one.right for one in needed if isinstance(one, NeededRight)}
        if hasattr(endpoint, "right"):
            rights.add(endpoint.right)
        for method in sorted((route.methods or {"WEBSOCKET"}) - _IGNORED_METHODS):
            yield Endpoint(
                method=method,
                path=route.path or "",
                rights=frozenset(right for right in rights if right is not None),
                is_open=None in rights,
                is_declared=bool(rights),
                gradio=not ours,
                body=_read_schema(route),
            )


def _read_schema(route: Any) -> Mapping[str, Any]:
    body = getattr(route, "body_field", None)
    kind = getattr(getattr(body, "field_info", None), "annotation", None)
    if not hasattr(kind, "model_json_schema"):
        return {}
    return kind.model_json_schema()


def _fill(schema: Mapping[str, Any], known: Mapping[str, Any], name: str, owned: Mapping[str, str]) -> Any:
    if "$ref" in schema:
        return _fill(known[schema["$ref"].rpartition("/")[2]], known, name, owned)
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return _fill(next(one for one in options if one.get("type") != "null"), known, name, owned)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            wanted = [
                key for key, one in fields.items() if key in schema.get("required", ()) or _find_owned(key, one, owned)
            ]
            return {key: _fill(fields[key], known, key, owned) for key in wanted}
        case "array":
            return [_fill(schema.get("items", {}), known, name, owned)]
        case "string":
            return _find_owned(name, schema, owned) or "x" * max(1, schema.get("minLength", 1))
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return False
        case _:
            return {}


def _find_owned(name: str, schema: Mapping[str, Any], owned: Mapping[str, str]) -> str:
    """The id that a field of that name speaks of, "" for none."""
    text = json.dumps(schema)
    if '"string"' not in text:
        return ""
    return next((value for key, value in owned.items() if key.removesuffix("_id") in name.lower()), "")
