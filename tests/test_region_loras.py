"""LoRAs in the prompts of areas: they work in their area, and are gone afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model
from studio.core.region_area import RegionArea
from studio.core.regions import Region
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode, RegionSplit
from studio.core.request_parts import ControlUnit, Hires
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.run.region_loras import RegionLoras, check_region_loras, merge_region_loras, move_region_tags
from tests.editing_studio import EditingStudio, compute_difference
from tests.test_lora import make_lora
from tests.tiny_models import make_tiny_sd15

TAG = "<lora:apple:0.8>"
LEFT: dict[str, Any] = {"width": 0.5}


def use(name: str, weight: float = 1.0, **fields: Any) -> LoraUse:
    return LoraUse(name=name, weight=weight, **fields)


def test_each_region_has_the_loras_of_the_prompt_and_its_own() -> None:
    asked = GenerationRequest(
        regions=RegionSplit.AREAS,
        areas=(RegionArea(prompt="a <lora:b:0.5>"), RegionArea(prompt="plain"), RegionArea(prompt="<lora:a:0.2:0.3>")),
    )
    moved, own = move_region_tags(asked)
    assert moved == asked
    assert own == ((), (use("b", 0.5),), (), (use("a", 0.3, encoder_weight=0.2),))
    everywhere, regions = merge_region_loras((use("a", 0.9),), own)
    assert everywhere == (use("a", 0.9), use("b", 0.0))
    assert regions == (
        everywhere,
        (use("a", 0.9), use("b", 0.5)),
        everywhere,
        (use("a", 0.3, encoder_weight=0.2), use("b", 0.0)),
    )
    assert merge_region_loras((use("a"),), ()) == ((use("a"),), ())
    other_blocks = merge_region_loras((use("a", blocks="IN04: 0.5"),), ((use("a", 0.5),),))[1]
    assert other_blocks[0] == (use("a", 0.0, blocks="IN04: 0.5"), use("a", 0.5)), "in its region the tag wins"
    assert move_region_tags(asked.replace(regions=None)) == (asked.replace(regions=None), ())


def test_columns_and_rows_have_the_loras_of_their_parts() -> None:
    prompt = "a <lora:a:0.5> BREAK b <lora:b:0.3> <lora:all:1> BREAK c"
    asked = GenerationRequest(prompt=prompt, regions=RegionSplit.COLUMNS, region_ratios="1,1,1", loras=(use("c"),))
    moved, own = move_region_tags(asked)
    assert moved.prompt == "a  BREAK b   BREAK c"
    assert moved.loras == (use("c"),)
    assert own == ((use("a", 0.5),), (use("b", 0.3), use("all")), ())
    in_each = asked.replace(prompt=prompt.replace(" BREAK", " <lora:all:1> BREAK", 1) + " <lora:all:1>")
    moved, own = move_region_tags(in_each)
    assert moved.loras == (use("c"), use("all"))
    assert own == ((use("a", 0.5),), (use("b", 0.3),), ())
    common = asked.replace(prompt="photo <lora:all:1> BREAK a BREAK b BREAK c", region_common=True)
    assert move_region_tags(common) == (
        common.replace(prompt="photo  BREAK a BREAK b BREAK c", loras=(use("c"), use("all"))),
        (),
    )
    by_attention = asked.replace(region_mode=RegionMode.ATTENTION)
    moved, own = move_region_tags(by_attention)
    assert own == (), "as in Regional Prompter they work everywhere then"
    assert {each.name for each in moved.loras} == {"a", "b", "c", "all"}


@pytest.mark.parametrize(
    "fields",
    [{}, {"region_common": True}, {"region_base": 0.25}, {"region_base": 0.25, "region_common": True}],
)
@pytest.mark.parametrize("mode", list(RegionMode))
def test_an_infotext_keeps_which_lora_works_where(fields: dict[str, Any], mode: RegionMode) -> None:
    parts = [*["photo"] * len(fields), "a <lora:a:0.5>", "b <lora:b:0.2>"]
    asked = GenerationRequest(
        prompt=" BREAK ".join(parts), regions=RegionSplit.ROWS, loras=(use("all", 0.7),), region_mode=mode, **fields
    )
    text = format_infotext(asked, model=Model(id="m", title="M", family="sd15"), width=64, height=64, seed=1)
    parsed = parse_infotext(text)
    assert parsed.unknown == {}
    wanted, found = (move_region_tags(each) for each in (asked, parsed.request))
    for one, other in zip(*(_weigh(*each) for each in (wanted, found)), strict=True):
        assert one == other


def _weigh(request: GenerationRequest, own: Any) -> list[dict[str, float]]:
    """The weight of each LoRA in the whole image and in each region, 0 left out."""
    general, regions = merge_region_loras(request.loras, own)
    return [{each.name: each.weight for each in uses if each.weight} for uses in (general, *regions)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"region_mode": RegionMode.ATTENTION}, "region mode Latent"),
        ({"control": (ControlUnit(),)}, "ControlNet"),
    ],
)
def test_what_regional_loras_cannot_be_combined_with_is_refused(fields: dict[str, Any], message: str) -> None:
    request = GenerationRequest(regions=RegionSplit.AREAS, areas=(RegionArea(prompt=TAG),), **fields)
    with pytest.raises(InvalidRequest, match=message):
        check_region_loras(request, move_region_tags(request)[1], ())
    check_region_loras(request, (), ())


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    checkpoint = make_tiny_sd15(root / "sd15")
    make_lora(checkpoint, root / "apple.safetensors")
    made = EditingStudio(root, {})
    yield made
    made.backend.close()


def draw(studio: EditingStudio, prompt: str = "a red apple", *areas: RegionArea, **fields: Any) -> Image.Image:
    if areas:
        fields |= {"regions": RegionSplit.AREAS, "areas": areas}
    return studio.draw_image("sd15", Task.TXT2IMG, prompt=prompt, **fields)


@pytest.mark.torch
def test_a_lora_of_an_area_that_covers_everything_is_that_of_the_prompt(studio: EditingStudio) -> None:
    before = draw(studio)
    wanted = draw(studio, "a red apple" + TAG)
    assert compute_difference(wanted, before).any()
    whole = draw(studio, "a street", RegionArea(prompt="a red apple" + TAG))
    assert compute_difference(whole, wanted).max() <= 1
    assert draw(studio).tobytes() == before.tobytes(), "it leaves no trace"
    halves = [RegionArea(prompt="a red apple" + TAG, x=x, width=0.5) for x in (0, 0.5)]
    wanted = draw(studio, "a red apple" + TAG, guidance=1.0)  # without a negative prompt, which has no regional LoRA
    assert compute_difference(draw(studio, "a street", *halves, guidance=1.0), wanted).max() <= 1


@pytest.mark.torch
def test_a_lora_of_an_area_changes_the_image_and_is_gone(studio: EditingStudio) -> None:
    area = RegionArea(prompt="a red apple", **LEFT)
    plain = draw(studio, "a red apple", area)
    tagged = draw(studio, "a red apple", RegionArea(prompt="a red apple" + TAG, **LEFT))
    everywhere = draw(studio, "a red apple" + TAG, area)
    assert compute_difference(tagged, plain).any()
    assert compute_difference(tagged, everywhere).any()
    again = draw(studio, "a red apple", RegionArea(prompt="a red apple" + TAG, **LEFT))
    assert again.tobytes() == tagged.tobytes()
    assert draw(studio, "a red apple", area).tobytes() == plain.tobytes()
    with pytest.raises(InvalidRequest, match="nowhere"):
        draw(studio, "a street", RegionArea(prompt="<lora:nowhere:1>"))
    assert studio.ctx.loaded == []


@pytest.mark.torch
def test_a_column_with_a_lora_is_the_area_with_it(studio: EditingStudio) -> None:
    columns: dict[str, Any] = {"regions": RegionSplit.COLUMNS}
    tagged = draw(studio, "a red apple BREAK a cat" + TAG, **columns)
    area = draw(studio, "a red apple", RegionArea(prompt="a cat" + TAG, x=0.5, width=0.5))
    assert compute_difference(tagged, area).max() <= 1
    assert compute_difference(tagged, draw(studio, "a red apple BREAK a cat", **columns)).any()
    assert compute_difference(tagged, draw(studio, f"a red apple{TAG} BREAK a cat", **columns)).any()
    everywhere = draw(studio, f"a red apple{TAG} BREAK a red apple{TAG}", **columns)
    assert compute_difference(everywhere, draw(studio, "a red apple" + TAG)).max() <= 1


@pytest.mark.torch
def test_the_second_pass_has_the_loras_of_the_columns_too(studio: EditingStudio) -> None:
    fields: dict[str, Any] = {
        "regions": RegionSplit.COLUMNS,
        "hires": Hires(scale=1.0, strength=0.9, upscaler="Lanczos"),
    }
    tagged = draw(studio, "a red apple BREAK a cat" + TAG, **fields)
    own = {**fields, "hires": dataclasses.replace(fields["hires"], prompt="a red apple BREAK a cat" + TAG)}
    assert draw(studio, "a red apple BREAK a cat" + TAG, **own).tobytes() == tagged.tobytes()
    bare = {**fields, "hires": dataclasses.replace(fields["hires"], prompt="a red apple BREAK a cat")}
    assert compute_difference(draw(studio, "a red apple BREAK a cat" + TAG, **bare), tagged).any()


@pytest.mark.torch
def test_outside_of_its_area_a_lora_changes_no_prediction(studio: EditingStudio) -> None:
    import torch
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from studio.pipelines.run.composition import AreaWeight, compose_conditions
    from studio.pipelines.run.lora import LoraAdapters
    from studio.pipelines.run.region_maps import RegionMaps

    root = studio.settings.models_dir
    pipe: Any = StableDiffusionPipeline.from_pretrained(root / "sd15", local_files_only=True)
    file = WeightFile(name="apple", kind=WeightKind.LORA, path=root / "apple.safetensors", bytes=1, family="sd15")
    adapters = LoraAdapters()
    silent, loud = use("apple", 0.0), use("apple", 0.8)
    adapters.apply(pipe, [(file, silent)])
    loras = RegionLoras(pipe=pipe, adapters=adapters, general=(silent,), uses=((silent,), (loud,)))
    sample = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    text = torch.randn((1, 77, 32), generator=torch.Generator().manual_seed(2)).repeat(4, 1, 1)
    maps = RegionMaps([Region(prompt="", is_rest=True), Region(prompt="", left=0.5)])
    rows = torch.cat([sample] * 2)
    with torch.inference_mode():
        without = pipe.unet(rows, 500, encoder_hidden_states=text).sample
        with loras.put_on(1):
            worn = pipe.unet(rows, 500, encoder_hidden_states=text).sample
        with compose_conditions(pipe.unet, (AreaWeight(1.0, maps, 0), AreaWeight(1.0, maps, 1)), 2, loras):
            answer = pipe.unet(rows, 500, encoder_hidden_states=torch.cat([text, text], dim=1)).sample
        after = pipe.unet(rows, 500, encoder_hidden_states=text).sample
    assert torch.allclose(answer[:2], without[:2], atol=1e-5), "the negative prompt's"
    assert torch.allclose(answer[2:, ..., :4], without[2:, ..., :4], atol=1e-5)
    assert torch.allclose(answer[2:, ..., 4:], worn[2:, ..., 4:], atol=1e-4)
    assert not torch.allclose(worn, without, atol=1e-3)
    assert torch.equal(after, without)
