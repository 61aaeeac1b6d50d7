"""Frozen dataclasses to JSON and back, driven by their own fields, so that a new field travels by itself."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_depth, check_text


def encode_json(value: Any) -> Any:
    """`value` JSON-ready: frozen dataclasses become dicts without the fields that equal their default, tuples and sets
    lists."""
    if dataclasses.is_dataclass(value):
        return {
            f.name: encode_json(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if getattr(value, f.name) != _get_default(f)
        }
    if isinstance(value, tuple):
        return [encode_json(item) for item in cast(tuple[Any, ...], value)]
    if isinstance(value, frozenset):
        return sorted(encode_json(item) for item in cast(frozenset[Any], value))
    if isinstance(value, Mapping):
        return {name: encode_json(item) for name, item in cast(Mapping[str, Any], value).items()}
    return value


def _get_default(f: dataclasses.Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default


def decode_json(kind: Any, data: Any, where: str) -> Any:
    """`data` as an instance of the annotation `kind`: a dataclass, tuple, frozenset, Mapping from text, StrEnum, str,
    int, float, bool, or one of them or None.

    Raises:
        InvalidRequest: an unknown or missing field, a wrong type, a text with a control character or half a character,
            or data nested deeper than anything here is; `where` and the field's name give the place.
    """
    check_depth(data, where)
    return _decode(kind, data, where)


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        if data is None:
            return None
        return _decode(next(arg for arg in typing.get_args(kind) if arg is not types.NoneType), data, where)
    if origin in (tuple, frozenset):
        if not isinstance(data, list | tuple):
            raise _make_type_error(where, "a list", data)
        item = typing.get_args(kind)[0]
        made: list[Any] = [_decode(item, entry, f"{where}[{i}]") for i, entry in enumerate(cast(list[Any], data))]
        return tuple(made) if origin is tuple else frozenset(made)
    if origin is Mapping:
        if not isinstance(data, dict):
            raise _make_type_error(where, "an object", data)
        item = typing.get_args(kind)[1]
        table = cast(dict[str, Any], data)
        return {check_text(name, where): _decode(item, entry, f"{where}.{name}") for name, entry in table.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if data not in list(kind):
            raise _make_type_error(where, "one of " + ", ".join(kind), data)
        return kind(data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool) and abs(data) <= sys.float_info.max:
        return float(data)
    if not isinstance(data, kind) or isinstance(data, bool) != (kind is bool):
        raise _make_type_error(
            where,
            {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind],
            data,
        )
    return check_text(cast(str, data), where) if kind is str else data


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _make_type_error(where, "an object", data)
    fields = _rename_old_fields(kind, cast(dict[str, Any], data))
    hints = _get_hints(kind)
    unknown = sorted(set(fields) - set(hints))
    if unknown:
        raise InvalidRequest(
            f"The {where} has no field {unknown[0]!r}.",
            hint="Known fields: " + ", ".join(hints) + ".",
            details={"field": unknown[0]},
        )
    missing = [name for name in _list_required(kind) if name not in fields]
    if missing:
        raise InvalidRequest(
            f"The field {missing[0]!r} is missing in the {where}.",
            hint="Add it and send it again.",
            details={"field": missing[0]},
        )
    return kind(
        **{
            name: _decode(hints[name], value, name if where == "request" else f"{where}.{name}")
            for name, value in fields.items()
        }
    )


def _rename_old_fields(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    """`data` with the field names of earlier versions replaced by those of today; both at once are refused below."""
    renamed = {old: name for old, name in _list_old_names(kind).items() if name not in data}
    return {renamed.get(name, name): value for name, value in data.items()}


# A list of jobs decodes hundreds of requests; what is asked of their classes is worked out once for each class.
@functools.cache
def _get_hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _list_required(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind) if _get_default(f) is dataclasses.MISSING)


@functools.cache
def _list_old_names(kind: Any) -> dict[str, str]:
    """Today's field names by those of earlier versions."""
    return {old: f.name for f in dataclasses.fields(kind) if (old := f.metadata.get("old_name"))}


def _make_type_error(where: str, wanted: str, got: Any) -> InvalidRequest:
    return InvalidRequest(
        f"{where} should be {wanted}, not {str(got)[:80]!r}.",
        hint="Correct it and send it again.",
        details={"field": where},
    )
