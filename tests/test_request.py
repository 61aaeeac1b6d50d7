from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest
from studio.core.request import MAX_SEED, Axis, GenerationRequest, Hires, LoraUse, Saving, parse_aspect

letters = st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\r\t")  # what a text may hold
requests = st.builds(
    GenerationRequest,
    prompt=st.text(letters, max_size=50),
    negative_prompt=st.text(letters, max_size=50),
    width=st.none() | st.integers(8, 4096),
    count=st.integers(1, 10),
    seed=st.none() | st.integers(0, MAX_SEED),
    guidance=st.none() | st.floats(0, 30),
    loras=st.lists(st.builds(LoraUse, name=st.text(letters, min_size=1), weight=st.floats(-2, 2))).map(tuple),
    hires=st.none() | st.builds(Hires, scale=st.floats(1, 4), steps=st.none() | st.integers(1, 50)),
    saving=st.none() | st.sampled_from(Saving),
    axes=st.lists(
        st.builds(Axis, parameter=st.text(letters), values=st.lists(st.text(letters), max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
)


@given(requests)
def test_json_round_trip_keeps_every_field(request_: GenerationRequest) -> None:
    assert GenerationRequest.from_json(json.loads(json.dumps(request_.to_json()))) == request_


def test_json_drops_what_equals_the_default() -> None:
    assert GenerationRequest(prompt="a cat", steps=4).to_json() == {"prompt": "a cat", "steps": 4}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"promt": "a cat"}, "promt"),
        ({"prompt": 3}, "prompt"),
        ({"steps": "20"}, "steps"),
        ({"steps": True}, "steps"),
        ({"loras": [{"weight": 1.0}]}, "name"),
        ({"loras": {"name": "x"}}, "loras"),
        ({"task": "paint"}, "task"),
        ({"hires": {"scale": "big"}}, "hires.scale"),
        ([], "request"),
    ],
)
def test_json_refusals_name_the_field(data: object, named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.from_json(data)
    assert named in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"count": 0},
        {"guidance": float("nan")},
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"width": 7},
        {"variation_strength": 1.1},
        {"aspect": "21:1"},
        {"aspect": "wide"},
        {"aspect": "1:0"},
        {"prompt": "x" * 20_001},
        {"hires": Hires(strength=2)},
        {"hires": Hires(width=512)},
        {"loras": (LoraUse(name="x", weight=11),)},
        {"loras": (LoraUse(name="x", encoder_weight=-11),)},
        {"axes": (Axis(parameter="Steps", values=("1",)),) * 4},
    ],
)
def test_values_out_of_range_are_refused_with_a_hint(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest(prompt="a cat").replace(**changes)
    assert caught.value.hint


def test_replace_leaves_the_original_untouched() -> None:
    base = GenerationRequest(prompt="a cat", hires=Hires())
    changed = base.replace(prompt="a dog")
    assert (base.prompt, changed.prompt, changed.hires) == ("a cat", "a dog", base.hires)


def test_aspects_are_read_in_the_usual_spellings() -> None:
    assert parse_aspect("16:9") == parse_aspect("16/9") == pytest.approx(16 / 9)
    assert parse_aspect("1.91:1") == pytest.approx(1.91)
