"""LoRAs in the prompts of areas: they work in their area, and are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.region_area import RegionArea
from studio.core.regions import Region
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode, RegionSplit
from studio.core.request_parts import ControlUnit
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.run.region_loras import RegionLoras, check_region_loras, list_region_loras, merge_region_loras
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
    own = list_region_loras(asked)
    assert own == ((use("b", 0.5),), (), (use("a", 0.3, encoder_weight=0.2),))
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
    assert other_blocks[1] == (use("a", 0.0, blocks="IN04: 0.5"), use("a", 0.5)), "in its region the tag wins"
    assert list_region_loras(asked.replace(regions=None)) == ()


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
        check_region_loras(request, list_region_loras(request), ())
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
    loras = RegionLoras(pipe=pipe, adapters=adapters, uses=((silent,), (loud,)))
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
