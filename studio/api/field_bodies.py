"""The fields of HTTP bodies, built from the field tables: names, types, ranges and descriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, create_model

from studio.core.errors import InvalidRequest
from studio.core.field_spec import FieldSpec
from studio.core.text_checks import check_name, check_text


def _make_text_validator(check: Callable[[str, str], str]) -> AfterValidator:
    """A validator that refuses what `check` refuses."""

    def validate(text: str) -> str:
        try:
            return check(text, "It")
        except InvalidRequest as error:
            raise ValueError(f"{error.message} {error.hint}") from error

    return AfterValidator(validate)


Text = Annotated[str, Field(max_length=20_000), _make_text_validator(check_text)]
Name = Annotated[str, Field(max_length=512), _make_text_validator(check_name)]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


def build_body(name: str, fields: Iterable[FieldSpec]) -> type[StrictModel]:
    """A model called `name` that has each of `fields` under its API name, unset where it is left out."""
    definitions: dict[str, Any] = {spec.api_name: (_build_annotation(spec), describe_field(spec)) for spec in fields}
    return create_model(name, __base__=StrictModel, **definitions)


def describe_field(spec: FieldSpec) -> Any:
    """The default and the description of a field in a body, for one whose type is written out there."""
    return Field(default=spec.unset, description=spec.api_help or spec.help)


def read_body(body: BaseModel, fields: Iterable[FieldSpec]) -> dict[str, Any]:
    """The values of `fields` in `body`, by their names in the request."""
    return {spec.name: getattr(body, spec.api_name) for spec in fields}


def _build_annotation(spec: FieldSpec) -> Any:
    kind: Any = spec.kind
    if issubclass(spec.kind, StrEnum):
        kind = Annotated[kind, Field(strict=False)]
    elif spec.kind is str:
        kind = Text if spec.max_length is not None else Name
    elif spec.kind is float:
        kind = FiniteFloat
    if spec.limits is not None:
        low, high = spec.kind(spec.limits.low), spec.kind(spec.limits.high)
        kind = Annotated[kind, Field(ge=low, le=high)]
    return kind | None if spec.unset is None else kind
