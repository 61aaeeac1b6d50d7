"""Regions with prompts of their own: where they lie, how infotexts name them, and what a real UNet makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from studio.api.dialects.automatic1111.regional_prompter import read_regional_prompter
from studio.core.errors import InvalidRequest
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model
from studio.core.regions import Region, list_regions
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionMode, RegionSplit
from studio.core.task import Task
from tests.editing_studio import EditingStudio, compute_difference
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

COLUMNS, ROWS = RegionSplit.COLUMNS, RegionSplit.ROWS


def lay_out(prompt: str, **fields: Any) -> list[tuple[str, tuple[float, ...], float]]:
    found = list_regions(GenerationRequest(prompt=prompt, **fields))
    return [(one.prompt, (one.left, one.top, one.right, one.bottom), one.weight) for one in found]


def test_a_prompt_is_divided_among_columns_and_rows() -> None:
    assert lay_out("a BREAK b") == []
    assert lay_out("a BREAK b", regions=COLUMNS, region_ratios="1,3") == [
        ("a", (0, 0, 0.25, 1), 1),
        ("b", (0.25, 0, 1, 1), 1),
    ]
    assert lay_out("a\nBREAK\nb", regions=ROWS) == [("a", (0, 0, 1, 0.5), 1), ("b", (0, 0.5, 1, 1), 1)]
    assert lay_out("a BREAK b BREAK c", regions=COLUMNS, region_ratios="1,1;3,1,1") == [
        ("a", (0, 0, 1, 0.25), 1),
        ("b", (0, 0.25, 0.5, 1), 1),
        ("c", (0.5, 0.25, 1, 1), 1),
    ]
    assert [box for _, box, _ in lay_out("a BREAK b", regions=ROWS, region_ratios="1,1;1,1")] == [
        (0, 0, 0.5, 1),
        (0.5, 0, 1, 1),
    ]


def test_base_and_common_part_come_first() -> None:
    fields: dict[str, Any] = {"regions": COLUMNS, "region_base": 0.2, "region_common": True}
    assert lay_out("photo BREAK street BREAK a cat BREAK a dog", **fields) == [
        ("photo, street", (0, 0, 1, 1), 0.2),
        ("photo, a cat", (0, 0, 0.5, 1), 0.8),
        ("photo, a dog", (0.5, 0, 1, 1), 0.8),
    ]


@pytest.mark.parametrize(
    ("prompt", "ratios"),
    [
        ("a", "1,1"),
        ("a BREAK b BREAK c", "1,1"),
        ("a BREAK b", "1,x"),
        ("a BREAK b", "1,-1"),
        ("a BREAK b", "1;1"),
        ("a BREAK b", "1,nan"),
        (" BREAK ".join("a" * 17), ",".join("1" * 17)),
    ],
)
def test_what_does_not_fit_is_refused(prompt: str, ratios: str) -> None:
    with pytest.raises(InvalidRequest):
        lay_out(prompt, regions=COLUMNS, region_ratios=ratios)


def test_regions_are_written_as_regional_prompter_does_and_read_back() -> None:
    model = Model(id="m", title="M", family="sd15")
    asked = GenerationRequest(
        prompt="photo BREAK a BREAK b", regions=ROWS, region_ratios="1,2", region_base=0.25, region_common=False
    )
    text = format_infotext(asked, model=model, width=64, height=64, seed=1)
    assert 'RP Matrix submode: Rows, RP Calc Mode: Latent, RP Ratios: "1,2", RP Base Ratios: 0.25' in text
    parsed = parse_infotext(text)
    assert parsed.unknown == {}
    assert list_regions(parsed.request) == list_regions(asked)


def test_what_regional_prompter_wrote_is_read_or_named() -> None:
    head = "photo\nBREAK a\nBREAK b\nSteps: 20, Sampler: Euler, Seed: 5, Size: 64x64, "
    pairs = (
        "RP Active: True, RP Divide mode: Matrix, RP Matrix submode: Horizontal, RP Mask submode: Mask,"
        ' RP Prompt submode: Prompt, RP Calc Mode: Attention, RP Ratios: "1,1", RP Base Ratios: 0.2,'
        " RP Use Base: False, RP Use Common: True, RP Use Ncommon: False, RP Options: [False], RP threshold: 0.4"
    )
    parsed = parse_infotext(head + pairs)
    assert [one.prompt for one in list_regions(parsed.request)] == ["photo, a", "photo, b"]
    assert parsed.request.regions is COLUMNS
    assert parsed.request.region_mode is RegionMode.ATTENTION
    assert parsed.unknown == {}
    other = parse_infotext(head + pairs.replace("Matrix,", "Mask,", 1))
    assert other.request.regions is None
    assert "RP Divide mode" in other.unknown
    assert parse_infotext(head + "RP Active: False, RP Ratios: 1").unknown == {}


def refuse_image(text: str) -> Any:
    raise AssertionError(f"no image is asked for: {text[:20]}")


def test_the_arguments_of_the_script_are_its_form() -> None:
    arguments = [True, False, "Matrix", "Vertical", "Mask", "Prompt", "1,1", "0.2", False, False, False, "Latent"]
    found = read_regional_prompter(arguments, "a BREAK b", refuse_image)
    assert found == {
        "regions": ROWS,
        "region_ratios": "1,1",
        "region_base": 0.0,
        "region_common": False,
        "region_mode": RegionMode.LATENT,
    }
    assert read_regional_prompter([False, *arguments[1:]], "a", refuse_image) == {}
    for wrong in ("no list", [True, False, "Mask", *arguments[3:]], [*arguments[:6], "1,1,1"]):
        with pytest.raises(InvalidRequest):
            read_regional_prompter(wrong, "a BREAK b", refuse_image)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    made = EditingStudio(root, {})
    yield made
    made.backend.close()


@pytest.mark.torch
def test_a_unet_answers_for_each_area_with_its_own_condition(studio: EditingStudio) -> None:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from studio.pipelines.run.composition import AreaWeight, compose_conditions
    from studio.pipelines.run.region_maps import RegionMaps

    folder = studio.settings.models_dir / "sd15" / "unet"
    unet: Any = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    sample = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    texts = torch.randn((3, 77, 32), generator=torch.Generator().manual_seed(2))
    maps = RegionMaps([Region(prompt="", right=0.25), Region(prompt="", left=0.25, weight=0.5)])
    areas = (AreaWeight(1.0, maps, 0), AreaWeight(1.0, maps, 1))
    with torch.inference_mode():
        negative, left, right = (unet(sample, 500, encoder_hidden_states=text[None]).sample for text in texts)
        both = torch.stack([torch.cat([texts[0], texts[0]]), torch.cat([texts[1], texts[2]])])
        with compose_conditions(unet, areas, 1):
            answer = unet(torch.cat([sample] * 2), 500, encoder_hidden_states=both).sample
    assert torch.allclose(answer[0], negative[0], atol=1e-5)
    assert torch.allclose(answer[1, ..., :2], left[0, ..., :2], atol=1e-5)
    half = (negative + right) / 2
    assert torch.allclose(answer[1, ..., 2:], half[0, ..., 2:], atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("model", ["sd15", "xl"])
def test_regions_with_one_prompt_draw_what_that_prompt_draws(studio: EditingStudio, model: str) -> None:
    def draw(prompt: str, **fields: Any) -> Any:
        return studio.draw(model, Task.TXT2IMG, 1, 2, prompt=prompt, **fields)

    plain = draw("a red apple")
    same = draw("a red apple BREAK a red apple BREAK a red apple", regions=COLUMNS, region_ratios="1,2,1")
    based = draw("a red apple BREAK a cat BREAK a dog", regions=ROWS, region_base=1.0)
    for number, image in enumerate(plain):
        assert compute_difference(same[number], image).max() <= 1
        assert compute_difference(based[number], image).max() <= 1
    one = draw("a red apple BREAK a cat", regions=COLUMNS)
    other = draw("a cat BREAK a red apple", regions=COLUMNS)
    assert compute_difference(one[0], other[0]).any()
    assert compute_difference(one[0], plain[0]).any()


@pytest.mark.torch
def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_loaded(studio: EditingStudio) -> None:
    request = GenerationRequest(model="sd15", prompt="a cat", regions=COLUMNS)
    studio.backend.models()
    with pytest.raises(InvalidRequest, match="1 parts for 2 regions"):
        studio.backend.check_names(request)
    with pytest.raises(InvalidRequest, match="1 parts for 2 regions"):
        studio.draw("sd15", Task.TXT2IMG, prompt="a cat", regions=COLUMNS)
    assert studio.ctx.loaded == []
