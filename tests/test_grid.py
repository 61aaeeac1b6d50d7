"""Grids: what is typed, what comes of it, and in which order."""

from __future__ import annotations

import pytest

from studio.core.errors import InvalidRequest
from studio.core.grid import PARAMETERS, draw_axis_seeds, expand_cells
from studio.core.grid_values import parse_floats, parse_integers, parse_texts
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse

BASE = GenerationRequest(
    prompt="a red cat, <lora:fur:0.5>", seed=5, loras=(LoraUse(name="ink"),), hires=Hires(width=512, height=512)
)


def _grid(*axes: tuple[str, str], base: GenerationRequest = BASE) -> GenerationRequest:
    return base.replace(axes=tuple(Axis(parameter=name, values=(typed,)) for name, typed in axes))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1-5", [1, 2, 3, 4, 5]),
        ("1-9 (+2)", [1, 3, 5, 7, 9]),
        ("1-10 (+3), 50", [1, 4, 7, 10, 50]),
        ("10-5 (-3)", [10, 7]),
        ("3-1", [3, 2, 1]),
        ("1-10 [5]", [1, 3, 5, 7, 10]),
        ("-2-1", [-2, -1, 0, 1]),
        ("7", [7]),
    ],
)
def test_whole_numbers_and_ranges(typed: str, expected: list[int]) -> None:
    assert parse_integers("x", (typed,)) == expected


def test_fractions_and_lists() -> None:
    assert parse_floats("x", ("0.3-0.7 (+0.2), 1",)) == pytest.approx([0.3, 0.5, 0.7, 1])
    assert parse_floats("x", ("0-1 [5]",)) == [0, 0.25, 0.5, 0.75, 1]
    assert parse_floats("x", ("1", "2-3")) == [1, 2, 3]
    assert parse_texts("x", ('red, "green, dotted" ,blue,',)) == ["red", "green, dotted", "blue"]
    assert parse_texts("x", ("a, b", "c")) == ["a, b", "c"]


@pytest.mark.parametrize("typed", ["1.5", "x", "1-", "1-9 (+0)", "1-9 (-1)", "1-99999999", "9" * 400 + "-1", "1e3"])
def test_what_is_no_range_is_refused(typed: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_integers("Steps", (typed,))


def test_every_combination_is_one_cell_and_the_model_changes_least() -> None:
    made = expand_cells(_grid(("Steps", "10, 20"), ("Model", "a, b"), ("Prompt S/R", "red, blue")))
    assert [cell.request.model for cell in made] == ["a"] * 4 + ["b"] * 4
    assert {cell.position for cell in made} == {(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)}
    last = next(cell for cell in made if cell.position == (1, 0, 1))
    assert last.labels == ("Steps: 20", "a", "blue")
    assert last.request == BASE.replace(steps=20, model="a", prompt="a blue cat, <lora:fur:0.5>")


def test_the_cells_of_a_grid_are_built_once_for_all_that_look_at_it() -> None:
    first, again = (expand_cells(_grid(("Steps", "1-3"))) for _ in range(2))
    assert [one is other for one, other in zip(first, again, strict=True)] == [True] * 3
    first.clear()
    assert len(expand_cells(_grid(("Steps", "1-3")))) == 3


def test_a_request_without_axes_is_its_only_cell() -> None:
    (cell,) = expand_cells(BASE)
    assert (cell.request, cell.position, cell.labels) == (BASE, (0, 0, 0), ())


def test_search_and_replace_reaches_all_prompts() -> None:
    base = BASE.replace(negative_prompt="red eyes", hires=Hires(prompt="a red cat, sharp"))
    second = expand_cells(_grid(("Prompt S/R", "red, blue"), base=base))[1].request
    assert (second.prompt, second.negative_prompt) == ("a blue cat, <lora:fur:0.5>", "blue eyes")
    assert second.hires is not None
    assert second.hires.prompt == "a blue cat, sharp"


def test_the_lora_weight_reaches_tags_and_choices() -> None:
    (cell,) = expand_cells(_grid(("LoRA weight", "0.9")))
    assert cell.request.prompt == "a red cat, <lora:fur:0.9>"
    assert cell.request.loras == (LoraUse(name="ink", weight=0.9),)


def test_a_scale_wins_over_the_hires_size_it_replaces() -> None:
    (cell,) = expand_cells(_grid(("Hires scale", "1.5")))
    assert cell.request.hires == Hires(scale=1.5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_takes_its_own_example(name: str) -> None:
    base = BASE.replace(prompt="a red cat, <lora:fur:0.5>")
    made = expand_cells(_grid((name, PARAMETERS[name].example), base=base))
    assert len(made) >= 2
    assert len({str(cell.request.to_json()) for cell in made}) == len(made)
    assert len({cell.labels for cell in made}) == len(made)
    assert all(cell.request.axes == () for cell in made)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (_grid(("Colour", "1")), "Colour"),
        (_grid(("Steps", "")), "no values"),
        (_grid(("Steps", "0-5")), "Steps"),
        (_grid(("Steps", "1"), ("Steps", "2")), "same parameter"),
        (_grid(("Steps", "1-100"), ("Seed", "1-100")), "10000"),
        (_grid(("Prompt S/R", "zebra, horse")), "zebra"),
        (_grid(("Prompt S/R", '"open')), "cannot be read"),
        (_grid(("Size", "512")), "not a size"),
        (_grid(("Hires steps", "5"), base=BASE.replace(hires=None)), "hires pass"),
        (_grid(("LoRA weight", "1"), base=GenerationRequest(prompt="x")), "no LoRA"),
        (_grid(("Steps", "1, 2"), base=BASE.replace(count=2)), "one image"),
    ],
)
def test_what_cannot_be_made_is_refused(request_: GenerationRequest, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        expand_cells(request_)
    assert caught.value.hint


def test_a_seed_of_minus_one_is_a_random_one_of_its_own() -> None:
    request = GenerationRequest(prompt="a cat", axes=(Axis(parameter="Seed", values=("1, -1, 5-6, -1",)),))
    assert [cell.request.seed for cell in expand_cells(request)] == [1, None, 5, 6, None]
    drawn = iter((70, 71))
    fixed = draw_axis_seeds(request, lambda: next(drawn))
    assert [cell.request.seed for cell in expand_cells(fixed)] == [1, 70, 5, 6, 71]


@pytest.mark.parametrize("values", [("red,,blue",), ('red, "", blue',), ("red", "", "blue")])
def test_nothing_can_stand_in_place_of_a_word(values: tuple[str, ...]) -> None:
    request = GenerationRequest(prompt="a red cat", axes=(Axis(parameter="Prompt S/R", values=values),))
    assert [cell.request.prompt for cell in expand_cells(request)] == ["a red cat", "a  cat", "a blue cat"]
