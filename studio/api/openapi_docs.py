"""GET /api/openapi.json, and GET /api/docs: the same as a page that needs no script and no other server."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from studio.api.rights import needs
from studio.core.rights import Right

_STYLE = """
:root {
  color-scheme: light dark;
  --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 65%, transparent);
}
body { max-width: 960px; margin: 0 auto; padding: 32px 20px 80px; font: 16px/1.55 system-ui, sans-serif; }
h1 { margin-bottom: 0; }
section { border-top: 1px solid var(--line); padding: 18px 0; }
h2 { font-size: 18px; margin: 0; overflow-wrap: anywhere; }
.method { display: inline-block; min-width: 4.5em; font: 700 14px ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: 14px; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } code { font: 14px ui-monospace, monospace; } p { margin: 6px 0; }
"""


def build_docs_router(app: FastAPI, root_path: str = "") -> APIRouter:
    """The two routes, describing `app`, which a proxy may serve below `root_path`."""
    server = root_path.rstrip("/")
    routes = APIRouter(include_in_schema=False, dependencies=[needs(Right.USE)])

    @routes.get("/api/openapi.json")
    def get_openapi() -> dict[str, Any]:
        return {**app.openapi(), **({"servers": [{"url": server}]} if server else {})}

    @routes.get("/api/docs", response_class=HTMLResponse)
    def show_docs() -> str:
        return render_docs_page(app.openapi())

    return routes


def render_docs_page(schema: dict[str, Any]) -> str:
    """`schema` (OpenAPI 3.1) as HTML: each operation with its parameters, its body and its answers."""
    info = schema["info"]
    title = f"{info['title']} {info['version']} · HTTP API"
    operations = [
        _render_operation(method, path, operation, schema)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = [
        _render_schema(name, shape) for name, shape in sorted(schema.get("components", {}).get("schemas", {}).items())
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f' initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        '<p>The machine-readable form is <a href="openapi.json">openapi.json</a>. Every error has the shape '
        "<code>{&quot;error&quot;, &quot;code&quot;, &quot;details&quot;}</code>.</p>"
        f"{''.join(operations)}<h1>Shapes</h1>{''.join(shapes)}</main></body></html>"
    )


def _render_operation(method: str, path: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    parts = [f'<section><h2><span class="method">{escape(method.upper())}</span> {escape(path)}</h2>']
    parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
    parameters = operation.get("parameters", [])
    if parameters:
        rows = [
            (f"{found['name']} ({found['in']})", found.get("schema", {}), found.get("required", False))
            for found in parameters
        ]
        parts.append(_render_table(rows))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        parts.append(f"<p>Body: {_render_type(body)}</p>")
    answers = ", ".join(
        f"{escape(status)} {_render_response(found)}"
        for status, found in operation.get("responses", {}).items()
        if status != "422"
    )
    return "".join((*parts, f"<p>Answers: {answers}</p></section>"))


def _render_response(found: dict[str, Any]) -> str:
    shape = found.get("content", {}).get("application/json", {}).get("schema")
    return _render_type(shape) if shape else "<code>file or stream</code>"


def _render_schema(name: str, shape: dict[str, Any]) -> str:
    required = shape.get("required", [])
    rows = [(field, found, field in required) for field, found in shape.get("properties", {}).items()]
    return (
        f'<section id="{escape(name)}"><h2>{escape(name)}</h2>'
        f"<p>{escape(shape.get('description', ''))}</p>{_render_table(rows)}</section>"
    )


def _render_table(rows: list[tuple[str, dict[str, Any], bool]]) -> str:
    lines = [
        f"<tr><td><code>{escape(name)}</code>{' *' if required else ''}</td>"
        f"<td>{_render_type(kind)}</td><td>{_render_notes(kind)}</td></tr>"
        for name, kind, required in rows
    ]
    return (
        f"<table><tr><th>field (* required)</th><th>type</th><th>notes</th></tr>{''.join(lines)}</table>"
        if lines
        else ""
    )


def _render_type(kind: dict[str, Any]) -> str:
    if "$ref" in kind:
        name = escape(kind["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in kind:
        return " or ".join(_render_type(option) for option in kind["anyOf"])
    if "enum" in kind:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in kind["enum"])
    if kind.get("type") == "array":
        return f"list of {_render_type(kind.get('items', {}))}"
    return escape(str(kind.get("type", "any")))


def _render_notes(kind: dict[str, Any]) -> str:
    options = [kind, *kind.get("anyOf", [])]
    low, high = (next((option[key] for option in options if key in option), None) for key in ("minimum", "maximum"))
    notes = [escape(kind.get("description", ""))]
    if low is not None and high is not None:
        notes.append(f"{low} to {high}")
    if kind.get("default") not in (None, "", [], {}):
        notes.append(f"default {escape(json.dumps(kind['default']))}")
    return "; ".join(note for note in notes if note)
