"""The tables of docs/api.md, written from the field tables that the API itself is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from studio.api.schemas import CREATE_FIELDS, EDIT_FIELDS
from studio.core.field_spec import FieldSpec
from studio.core.field_tables.detailer import DETAILER_FIELDS
from studio.core.fields import HIRES_FIELDS, INPAINT_FIELDS
from tools.provider_tables import replace_tables

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
_TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def fill_tables(text: str) -> str:
    """`text` with its tables of fields written anew; raises KeyError for a name that no table has."""
    tables: Mapping[str, Callable[[], str]] = {
        "create-fields": lambda: _render_fields(CREATE_FIELDS),
        "edit-fields": lambda: _render_fields(EDIT_FIELDS),
        "detailer-fields": lambda: _render_fields(DETAILER_FIELDS),
        "hires-fields": lambda: _render_fields(HIRES_FIELDS),
        "inpaint-fields": lambda: _render_fields(INPAINT_FIELDS),
    }
    return replace_tables(text, tables)


def main() -> None:
    PAGE.write_text(fill_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _render_fields(fields: Iterable[FieldSpec]) -> str:
    rows = ["| field | value | left out | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{spec.api_name}` | {_describe_value(spec)} | {_describe_unset(spec)} | {spec.label}. "
        f"{spec.api_help or spec.help} |"
        for spec in fields
    ]
    return "\n".join(rows)


def _describe_value(spec: FieldSpec) -> str:
    if issubclass(spec.kind, StrEnum):
        return ", ".join(f'`"{value}"`' for value in spec.kind)
    kind = _TYPES[spec.kind]
    if spec.limits is not None:
        return f"{kind}, {spec.limits.low:g} to {spec.limits.high:.10g}"
    return f"{kind}, up to {spec.max_length:,} characters" if spec.max_length is not None else kind


def _describe_unset(spec: FieldSpec) -> str:
    if spec.from_model and spec.unset is None:
        return "the model's own"
    if spec.unset in (None, ""):
        return "not set"
    return f"`{str(spec.unset).lower() if isinstance(spec.unset, bool) else spec.unset}`"


if __name__ == "__main__":
    main()
