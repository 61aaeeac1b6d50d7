from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest
from studio.core.settings import Settings


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda f: f.name)
def test_every_setting_is_documented(field: dataclasses.Field[object]) -> None:
    assert len(field.metadata["help"]) > 15
    assert field.metadata["help"].endswith(".")
    assert field.metadata["group"]


def test_text_from_file_or_environment_becomes_the_right_type() -> None:
    settings = Settings().apply_values({"port": "80", "share": "yes", "auth_file": "u.json", "memory_budget_gb": "1.5"})
    assert (settings.port, settings.share, settings.auth_file, settings.memory_budget_gb) == (
        80,
        True,
        Path("u.json"),
        1.5,
    )


def test_json_holds_what_differs_and_reads_back() -> None:
    settings = Settings(port=1, outputs_dir=Path("x"))
    assert settings.to_json() == {"port": 1, "outputs_dir": "x"}
    assert Settings().apply_values(settings.to_json()) == settings


@pytest.mark.parametrize(
    "values",
    [
        {"port": "many"},
        {"port": 70_000},
        {"port": 1.5},
        {"share": "perhaps"},
        {"output_format": "gif"},
        {"host": "a\r\nb"},
        {"outputs_dir": "a\nb"},
        {"hots": "x"},
    ],
)
def test_bad_values_are_refused_with_a_hint(values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Settings().apply_values(values)
    assert caught.value.hint


def test_only_loopback_counts_as_private() -> None:
    assert not Settings().is_shared
    assert Settings(host="0.0.0.0").is_shared
    assert Settings(share=True).is_shared
