"""Names of cloud models that have ended lead to models that live."""

from __future__ import annotations

import datetime

import pytest

from studio.engine.plugins import discover
from studio.providers.common.retired_models import find_successor, list_retired_models

LIVING = {one.model.id: one for spec in discover("studio.providers", "PROVIDER") for one in spec.models()}


@pytest.mark.parametrize(
    ("name", "model", "ends"),
    [
        ("dall-e-3", "openai/gpt-image-2.5-flare", "2026-05-12"),
        ("openai/dall-e-2", "openai/gpt-image-2.5-flare", "2026-05-12"),
        (" DALL-E-3 ", "openai/gpt-image-2.5-flare", "2026-05-12"),
        ("gpt-image-1", "openai/gpt-image-2", "2026-10-23"),
        ("gpt-image-1-mini", "openai/gpt-image-2.5-flare", "2026-12-01"),
        ("gpt-image-1.5", "openai/gpt-image-2", "2026-12-01"),
        ("imagen-4.0-generate-001", "gemini/gemini-nano-banana-2.1", "2026-08-17"),
        ("imagen-4.0-ultra-generate-001", "gemini/gemini-3-pro-image", "2026-08-17"),
        ("gemini-2.5-flash-image-preview", "gemini/gemini-nano-banana-2.1", "2026-06-25"),
        ("gemini/gemini-3-pro-image-preview", "gemini/gemini-3-pro-image", "2026-06-25"),
        ("gemini-3.1-flash-image", "gemini/gemini-nano-banana-2.1", "2026-10-29"),
        ("sd3-large", "stability/sd3.5-large", "2025-04-17"),
        ("sd3-medium", "stability/sd3.5-medium", "2025-04-17"),
        ("sd3-large-turbo", "stability/sd3.5-large-turbo", "2025-04-17"),
    ],
)
def test_a_retired_name_leads_to_its_successor(name: str, model: str, ends: str) -> None:
    found = find_successor(name)
    assert found is not None
    assert (found.name, found.model, found.ends.isoformat()) == (name, model, ends)


@pytest.mark.parametrize(
    "name", [*LIVING, *(one.name for one in LIVING.values()), "", "sd3", "bfl/dall-e-3", "my-imagen-4"]
)
def test_a_name_that_never_ended_has_none(name: str) -> None:
    assert find_successor(name) is None


@pytest.mark.parametrize("entry", list_retired_models(), ids=lambda entry: entry.name)
def test_every_successor_lives_and_every_end_has_a_source(entry: object) -> None:
    found = find_successor(entry.name)  # type: ignore[attr-defined]
    assert found is not None
    assert found.model in LIVING
    assert find_successor(found.model) is None
    assert type(found.ends) is datetime.date
    assert found.source.startswith("https://")
