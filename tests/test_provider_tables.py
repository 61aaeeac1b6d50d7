"""docs/providers.md against the data that the studio goes by."""

from __future__ import annotations

import pytest

from studio.engine.plugins import discover
from studio.providers.common.retired_models import list_retired_models
from tools.provider_tables import PAGE, fill_tables


def test_the_page_says_what_the_data_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert fill_tables(text) == text, "run python -m tools.provider_tables"


def test_every_model_and_every_ended_name_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    specs = list(discover("studio.providers", "PROVIDER"))
    for spec in specs:
        assert all(f"`{key}`" in text for key in spec.keys)
        for one in spec.models():
            assert f"| `{one.model.id}` |" in text
            assert not one.model.paid or (one.source in text and one.date in text)
    assert all(f"| `{found.name}` | {found.ends} | `{found.model}` |" in text for found in list_retired_models())


def test_what_was_changed_by_hand_is_written_anew() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert fill_tables(text.replace("| `stability/core` |", "| `stability/crow` |")) == text
    with pytest.raises(KeyError):
        fill_tables("<!-- table: nobody -->\n<!-- end -->")
