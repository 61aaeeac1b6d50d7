"""Lists of prompts: how a line is read, and the requests that the page makes of a list."""

from __future__ import annotations

import pytest

from studio.core.errors import InvalidRequest
from studio.core.fields import MAX_SEED
from studio.core.prompt_lines import MAX_LINES, MAX_TEXT_CHARS, apply_prompt_line, read_prompt_lines
from studio.core.request import GenerationRequest
from studio.tabs.common.prompt_list import plan_requests


def test_a_line_is_a_prompt_and_empty_lines_are_left_out() -> None:
    assert read_prompt_lines("a pear\n\n  an apple -- red  \n") == [{"prompt": "a pear"}, {"prompt": "an apple -- red"}]


def test_a_line_may_set_fields_under_their_names_in_automatic1111() -> None:
    line = (
        '--prompt "a red apple" on a table --negative_prompt blurry, dark --steps 20 --cfg_scale 6.5 --seed 7'
        " --sampler_name 'DPM++ 2M' --width 512 --height 768 --n_iter 2 --batch_size 1 --subseed -1"
        " --subseed_strength 0.5 --tiling True"
    )
    assert read_prompt_lines(line) == [
        {
            "prompt": "a red apple on a table",
            "negative_prompt": "blurry, dark",
            "steps": 20,
            "guidance": 6.5,
            "seed": 7,
            "sampler": "DPM++ 2M",
            "width": 512,
            "height": 768,
            "count": 2,
            "batch_size": 1,
            "variation_seed": None,
            "variation_strength": 0.5,
            "tiling": True,
        }
    ]


@pytest.mark.parametrize(
    "line",
    [
        "--outpath_samples /etc --prompt x",
        "--steps",
        "--prompt",
        "--steps many",
        "--steps 2.5",
        "--cfg_scale nan",
        "--tiling perhaps",
        '--prompt "open',
        "--",
        "--source 0000",
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(InvalidRequest, match="Line 2 "):
        read_prompt_lines(f"a pear\n{line}")


@pytest.mark.parametrize("text", ["", " \n ", "x\n" * (MAX_LINES + 1), "x" * (MAX_TEXT_CHARS + 1)])
def test_an_empty_list_and_one_that_is_too_long_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_prompt_lines(text)


def test_the_prompts_of_a_line_join_those_of_the_request() -> None:
    request = GenerationRequest(model="fake", prompt="oil painting", negative_prompt="")
    line = {"prompt": "a pear", "negative_prompt": "blurry", "steps": 3}
    before, behind = (apply_prompt_line(request, line, at_end=at_end) for at_end in (False, True))
    assert (before.prompt, before.negative_prompt, before.steps) == ("a pear oil painting", "blurry", 3)
    assert behind.prompt == "oil painting a pear"


def test_seeds_go_on_from_line_to_line_where_that_is_wanted() -> None:
    request = GenerationRequest(model="fake", prompt="", seed=MAX_SEED)
    text = "a\nb\n--prompt c --seed 5"
    assert [each.seed for each in plan_requests(request, text, spread=True)] == [MAX_SEED, 0, 5]
    assert [each.seed for each in plan_requests(request, text, spread=False)] == [MAX_SEED, MAX_SEED, 5]
    assert plan_requests(request.replace(seed=None), "a", spread=True)[0].seed is None
