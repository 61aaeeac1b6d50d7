"""Attacks on what users, tokens and other machines may reach, each as somebody would try it."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core import grid_values
from studio.core.errors import InvalidRequest
from studio.core.trust import Stage
from studio.tabs.common.form_check import MAX_TEXT, FormValues
from studio.tabs.common.form_warnings import _tidy_commas  # pyright: ignore[reportPrivateUsage]
from studio.trust.words import WordFilter

LONG = 400_000  # characters; what takes the square of it takes longer than any test may


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["@" * LONG, "a" + "!" * LONG, "naked 1" + " " * LONG + "x", "a!@" * (LONG // 3)])
def test_no_prompt_keeps_the_word_lists_busy(text: str) -> None:
    WordFilter.load(Path("no such file")).check([text], Stage.PROMPT)


@pytest.mark.timeout(60)
def test_no_list_of_a_grid_keeps_the_studio_busy() -> None:
    with pytest.raises(InvalidRequest, match="not a number"):
        grid_values.parse_floats("CFG scale", ("1-" + " " * LONG + "x", "1"))


@pytest.mark.timeout(60)
def test_no_prompt_keeps_the_check_of_a_form_busy() -> None:
    assert _tidy_commas("a" + "\n" * LONG + "b") == "a" + "\n" * LONG + "b"
    assert _tidy_commas("a ,\n, , b,c, ,") == "a, b,c"


@pytest.mark.parametrize(
    "values",
    [{"prompt": "x" * 20_001}, {"axis_x_values": "1," * MAX_TEXT}, {"width": float("inf")}, {"lora_weight_1": 10**400}],
)
def test_a_form_with_what_no_form_holds_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"too long|no number"):
        FormValues(values=values)
