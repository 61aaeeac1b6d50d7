from __future__ import annotations

import pytest

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.model import Feature, Model, Sampling, Sizes, find_used_features
from studio.core.request import GenerationRequest, Hires, LoraUse

MODEL = Model(
    id="m",
    title="M",
    family="sd15",
    features=frozenset(Feature) - {Feature.LORA, Feature.NEGATIVE_PROMPT},
    sampling=Sampling(combinations={"Euler": ("Automatic", "Karras"), "DDIM": ("Automatic",)}),
    sizes=Sizes(liked=((512, 512),), multiple=8, smallest=64, largest=1024, max_pixels=1024 * 768),
    max_count=4,
)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (GenerationRequest(loras=(LoraUse(name="x"),)), "LoRA"),
        (GenerationRequest(negative_prompt="blurry"), "negative prompt"),
        (GenerationRequest(width=100, height=100), "multiple of 8"),
        (GenerationRequest(width=1032, height=64), "outside"),
        (GenerationRequest(width=1025, height=1025), "Sides from 64 to 1024 px"),
        (GenerationRequest(width=1024, height=1024), "outside"),
        (GenerationRequest(hires=Hires(scale=4)), "hires size"),
        (GenerationRequest(count=5), "at most 4"),
        (GenerationRequest(sampler="Magic"), "Euler, DDIM"),
        (GenerationRequest(sampler="DDIM", schedule="Karras"), "Automatic"),
    ],
)
def test_refusals_say_what_is_missing_and_what_there_is(request_: GenerationRequest, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        MODEL.check(request_)
    assert said in caught.value.message + caught.value.hint


def test_a_plain_request_passes() -> None:
    MODEL.check(GenerationRequest(prompt="a cat", steps=3, sampler="Euler", schedule="Karras", hires=Hires(scale=1.5)))


def test_a_model_with_a_problem_refuses_everything() -> None:
    with pytest.raises(ModelBroken, match="truncated"):
        Model(id="b", title="B", family="", problem="the file is truncated").check(GenerationRequest())


def test_aspect_keeps_the_area_and_the_multiple() -> None:
    width, height = MODEL.sizes.fit_size(None, None, "16:9")
    assert (width % 8, height % 8) == (0, 0)
    assert width / height == pytest.approx(16 / 9, rel=0.03)
    assert width * height == pytest.approx(512 * 512, rel=0.03)


def test_given_sides_win_over_the_aspect() -> None:
    assert MODEL.sizes.fit_size(640, None, "16:9") == (640, 512)


def test_defaults_use_no_feature() -> None:
    assert find_used_features(GenerationRequest(prompt="a cat")) == frozenset()
