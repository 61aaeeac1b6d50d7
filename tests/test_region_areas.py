"""Areas with prompts of their own: rectangles and painted masks, from the form to a real UNet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.core.errors import InvalidRequest
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model
from studio.core.prompt_texts import list_templates, put_texts
from studio.core.region_area import AREA_COLOURS, MAX_AREAS, RegionArea, read_area_mask
from studio.core.regions import Region, list_regions
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode, RegionSplit, Resize
from studio.core.task import Task
from studio.engine.moderation import list_texts
from studio.pipelines.run.region_maps import RegionMaps
from studio.pipelines.run.source_images import find_shown_part, resize_source
from studio.tabs.common.accordion_states import describe_accordions
from studio.tabs.common.region_values import AREA_MAP, list_area_fields, read_areas, write_areas
from tests.editing_studio import EditingStudio, compute_difference
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

RED, GREEN = AREA_COLOURS[:2]
LEFT: dict[str, Any] = {"width": 0.5}
RIGHT: dict[str, Any] = {"x": 0.5, "width": 0.5}


def ask(*areas: RegionArea, prompt: str = "street", **fields: Any) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, regions=RegionSplit.AREAS, areas=areas, **fields)


def paint_halves(side: int = 64) -> Image.Image:
    """A transparent sheet, its left half in the first colour and its right half in the second."""
    sheet = Image.new("RGBA", (side, side))
    ImageDraw.Draw(sheet).rectangle((0, 0, side // 2 - 1, side), fill=RED)
    ImageDraw.Draw(sheet).rectangle((side // 2, 0, side, side), fill=GREEN)
    return sheet


def test_areas_come_behind_what_they_leave_over() -> None:
    found = list_regions(ask(RegionArea(prompt="a cat", **LEFT), RegionArea(prompt="a dog", weight=0.5, **RIGHT)))
    assert found[0] == Region(prompt="street", is_rest=True)
    assert [(one.prompt, one.left, one.right, one.weight) for one in found[1:]] == [
        ("a cat", 0, 0.5, 1),
        ("a dog", 0.5, 1, 0.5),
    ]
    common = list_regions(ask(RegionArea(prompt="a cat"), region_common=True, region_base=0.25))
    assert [(one.prompt, one.weight) for one in common] == [("street", 1), ("street, a cat", 0.75)]


@pytest.mark.parametrize(
    "fields",
    [
        {"x": 0.6, "width": 0.5},
        {"width": 0.0},
        {"y": float("nan")},
        {"weight": 11},
        {"weight": -1},
        {"colour": "#ff0000"},
        {"colour": "red", "mask": "a"},
        {"prompt": "a" * 20_001},
    ],
)
def test_an_area_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        RegionArea(**fields)


def test_too_many_areas_or_none_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="Too many areas"):
        ask(*[RegionArea(prompt="a")] * (MAX_AREAS + 1))
    with pytest.raises(InvalidRequest, match="no areas"):
        list_regions(ask())


def test_the_colour_of_a_mask_is_an_area() -> None:
    sheet = paint_halves()
    left = read_area_mask(sheet, RED)
    assert left.getbbox() == (0, 0, 32, 64)
    assert read_area_mask(sheet, GREEN).getbbox() == (32, 0, 64, 64)
    assert read_area_mask(sheet, AREA_COLOURS[2]).getbbox() is None
    faint = sheet.copy()
    faint.putalpha(40)
    assert read_area_mask(faint, RED).getbbox() is None
    near = Image.new("RGB", (4, 4), (228, 28, 36))
    assert read_area_mask(near, RED).getextrema() == (255, 255)
    grey = Image.new("L", (4, 4), 128)
    assert read_area_mask(grey, "").getextrema() == (128, 128)


@pytest.mark.torch
def test_shares_are_one_together_whatever_overlaps() -> None:
    masks = {"grey": Image.new("L", (64, 64), 102), "sheet": paint_halves()}
    regions = [
        Region(prompt="", is_rest=True),
        Region(prompt="", right=0.5, weight=0.25),
        Region(prompt="", top=0.5, mask="grey", weight=2),
        Region(prompt="", mask="sheet", colour=RED),
    ]
    shares = RegionMaps(regions, masks.__getitem__).draw(8, 16)
    assert shares.shape == (4, 8, 16)
    assert shares.sum(dim=0).allclose(shares.new_ones(()))
    assert shares[:, 0, 15].tolist() == [1, 0, 0, 0]
    assert shares[:, 7, 15].tolist() == pytest.approx([0.2, 0, 0.8, 0])
    assert shares[:, 0, 0].tolist() == pytest.approx([0, 0.2, 0, 0.8])


@pytest.mark.torch
def test_areas_lie_in_the_whole_image_where_only_a_part_is_drawn() -> None:
    regions = [Region(prompt="", is_rest=True), Region(prompt="", right=0.5)]
    painted = [Region(prompt="", is_rest=True), Region(prompt="", mask="sheet", colour=RED)]
    for one in (regions, painted):
        shares = RegionMaps(one, lambda name: paint_halves(), (0.25, 0.0, 0.75, 1.0)).draw(4, 8)
        assert shares[1, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.torch
@pytest.mark.parametrize("resize", list(Resize))
@pytest.mark.parametrize("source", [(128, 64), (64, 128), (96, 96)])
def test_painted_areas_follow_the_image_into_the_size_that_is_drawn(source: tuple[int, int], resize: Resize) -> None:
    sheet = Image.new("RGB", source)
    ImageDraw.Draw(sheet).rectangle((0, 0, source[0] * 3 // 8, source[1] * 5 // 8), fill=RED)
    shown = resize_source(sheet, (64, 48), resize)
    part = find_shown_part(source, (64, 48), resize)
    regions = [Region(prompt="", is_rest=True), Region(prompt="", mask="sheet", colour=RED)]
    share = RegionMaps(regions, lambda name: sheet, part).draw(48, 64)[1]
    image = read_area_mask(shown, RED)
    inner = (slice(4, -4), slice(4, -4))  # margins are blurred in the image
    wanted = np.asarray(image)[inner] > 127
    assert ((share[inner].numpy() > 0.5) != wanted).mean() < 0.12
    assert share[0, 0] == 1, "margins go on as the edges do"


@pytest.mark.torch
def test_rectangles_take_the_crop_too_and_their_margins() -> None:
    regions = [Region(prompt="", is_rest=True), Region(prompt="", right=0.5), Region(prompt="", left=0.5)]
    cropped = RegionMaps(regions, None, find_shown_part((128, 64), (64, 64), Resize.CROP)).draw(4, 8)
    filled = RegionMaps(regions, None, find_shown_part((64, 64), (128, 64), Resize.FILL)).draw(4, 8)
    for shares in (cropped, filled):
        assert shares[1, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
        assert shares[2, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    quarter = [Region(prompt="", is_rest=True), Region(prompt="", right=0.25, bottom=0.5)]
    part = find_shown_part((128, 64), (64, 64), Resize.CROP)
    assert RegionMaps(quarter, None, part).draw(4, 8)[1].max() == 0, "it was cut off"


@pytest.mark.torch
def test_the_prompt_does_not_count_where_areas_cover_everything() -> None:
    halves = [Region(prompt="", right=1 / 3), Region(prompt="", left=1 / 3)]
    assert RegionMaps([Region(prompt="", is_rest=True), *halves]).list_counting() == (1, 2)
    assert RegionMaps([Region(prompt="", is_rest=True), halves[0]]).list_counting() == (0, 1)


def test_areas_are_written_as_regional_prompter_writes_masks() -> None:
    asked = ask(RegionArea(prompt="a cat", **LEFT), RegionArea(prompt="a dog", weight=0.75, **RIGHT))
    text = format_infotext(asked, model=Model(id="m", title="M", family="sd15"), width=64, height=64, seed=1)
    assert text.startswith("street\nBREAK a cat\nBREAK a dog\n")
    assert 'RP Divide mode: Mask, RP Mask submode: Mask, RP Calc Mode: Latent, RP Base Ratios: "0,0.25"' in text
    theirs = parse_infotext(text.replace("Region areas", "Other"))
    assert theirs.request.regions is None
    assert "RP Divide mode" in theirs.unknown, "Regional Prompter's infotext says nowhere where areas lie"
    assert GenerationRequest.from_json(asked.to_json()) == asked


CAT, DOG = RegionArea(prompt="a cat", **LEFT), RegionArea(prompt="a dog", weight=0.75, **RIGHT)


def write_infotext(asked: GenerationRequest) -> str:
    return format_infotext(asked, model=Model(id="m", title="M", family="sd15"), width=64, height=64, seed=1)


@pytest.mark.parametrize(
    "asked",
    [
        ask(CAT, DOG),
        ask(CAT, DOG, region_base=0.25, region_common=True, region_mode=RegionMode.ATTENTION),
        ask(RegionArea(prompt="a cat BREAK fur\nBREAK teeth", weight=0.0), DOG, prompt="street BREAK night"),
        ask(RegionArea(prompt="a <lora:fur:0.5> cat", x=0.1, y=0.2, width=1 / 3, height=0.25), prompt=""),
        ask(RegionArea(prompt="", **LEFT), DOG, region_common=True),
        ask(CAT, prompt="street <lora:rain:0.7>", region_common=True),
    ],
)
def test_rectangles_come_back_whole_from_an_infotext(asked: GenerationRequest) -> None:
    parsed = parse_infotext(write_infotext(asked))
    assert parsed.unknown == {}
    assert list_regions(parsed.request) == list_regions(asked)
    assert (parsed.request.areas, parsed.request.prompt) == (asked.areas, asked.prompt)
    assert (parsed.request.region_mode, parsed.request.region_base) == (asked.region_mode, asked.region_base)


def test_loras_of_the_whole_image_stand_in_the_first_prompt_alone() -> None:
    asked = ask(CAT, DOG, region_common=True, loras=(LoraUse(name="rain", weight=0.7),))
    parsed = parse_infotext(write_infotext(asked)).request
    assert parsed.prompt == "street <lora:rain:0.7>"
    assert parsed.areas == asked.areas


def test_painted_areas_are_named_because_no_text_has_their_masks() -> None:
    painted = RegionArea(prompt="a fox", mask="a" * 64, colour=RED)
    parsed = parse_infotext(write_infotext(ask(CAT, painted, DOG)))
    assert parsed.request.areas == (CAT, DOG)
    assert parsed.unknown == {"Painted area 2": "a fox"}
    none_left = parse_infotext(write_infotext(ask(painted)))
    assert none_left.request.regions is None
    assert none_left.request.prompt == "street\nBREAK a fox", "no word is lost"
    assert none_left.unknown == {"Painted area 1": "a fox"}


@pytest.mark.parametrize(
    "places",
    [
        "0,0,0.5,1",
        "0,0,0.5,1; 0.5,0,0.6,1",
        "0,0,0.5,1; 0.5,0,x,1",
        "0,0,0.5,1; 0.5,0,0.5",
        "0,0,0.5,1; 0.5,0,0.5,1 weight 11",
        "0,0,0.5,1; 0.5,0,0.5,1 parts 3",
        "0,0,0.5,1; 0.5,0,1e-999,1",
        "; ".join(["0,0,1,1"] * 17),
        ";" * 10_000,
    ],
)
def test_places_that_do_not_fit_the_prompts_are_named(places: str) -> None:
    text = write_infotext(ask(CAT, DOG)).replace("0,0,0.5,1; 0.5,0,0.5,1 weight 0.75", places)
    parsed = parse_infotext(text)
    if places == "0,0,0.5,1":  # the cat belongs to the prompt then
        assert [area.prompt for area in parsed.request.areas] == ["a dog"]
        return
    assert parsed.request.regions is None
    assert parsed.request.prompt == "street\nBREAK a cat\nBREAK a dog"
    assert "Region areas" in parsed.unknown


def test_a_common_part_that_was_changed_stays_in_the_prompts() -> None:
    text = write_infotext(ask(CAT, DOG, region_common=True)).replace("street, a dog", "road, a dog")
    parsed = parse_infotext(text).request
    assert [area.prompt for area in parsed.areas] == ["street, a cat", "road, a dog"]
    assert not parsed.region_common


def test_the_prompts_of_areas_are_drawn_and_looked_at() -> None:
    asked = ask(RegionArea(prompt="a {red|blue} cat"))
    texts = list_templates(asked)
    assert "a {red|blue} cat" in texts
    drawn = put_texts(asked, [text.replace("{red|blue}", "red") for text in texts])
    assert [area.prompt for area in drawn.areas] == ["a red cat"]
    assert put_texts(asked.replace(areas=()), texts).areas == ()
    assert any("a {red|blue} cat" in text for text in list_texts(asked))


def make_form(**values: Any) -> dict[str, Any]:
    empty = {name: "" for name in list_area_fields()}
    return {**empty, **{name: 1 for name in empty if "weight" in name}, **values}


def test_the_form_asks_for_painted_areas_and_rectangles() -> None:
    name = "a" * 64
    found = read_areas(
        make_form(
            area_map=name, area_prompt_2="a dog", area_weight_2=0.5, area_prompt_3=" sky ", area_place_3="0,0, 100%, .5"
        )
    )
    assert [RegionArea(**area) for area in found] == [
        RegionArea(prompt="a dog", weight=0.5, mask=name, colour=GREEN),
        RegionArea(prompt="sky", height=0.5),
    ]
    for wrong in (
        {},
        {"area_prompt_1": "a cat"},
        {"area_prompt_1": "a cat", "area_place_1": "left"},
        {"area_prompt_1": "a cat", "area_place_1": "0, 0, 1"},
        {"area_prompt_1": "a cat", AREA_MAP: "no image"},
    ):
        with pytest.raises(InvalidRequest):
            read_areas(make_form(**wrong))


@pytest.mark.parametrize(
    "areas",
    [
        (RegionArea(prompt="a dog", mask="a" * 64, colour=GREEN), RegionArea(prompt="sky", height=0.5)),
        (RegionArea(prompt="a cat", mask="b" * 64), RegionArea(prompt="x", mask="a" * 64, colour=RED, weight=0.3)),
        (RegionArea(prompt="all"), RegionArea(prompt="x", x=0.5, width=0.5, mask="c" * 64, colour="#123456")),
    ],
)
def test_a_recipe_with_areas_opens_again(areas: tuple[RegionArea, ...]) -> None:
    read = [RegionArea(**area) for area in read_areas(make_form(**write_areas(ask(*areas))))]
    assert sorted(read, key=lambda area: area.prompt) == sorted(areas, key=lambda area: area.prompt)


def test_a_closed_accordion_says_how_the_image_is_divided() -> None:
    assert describe_accordions(make_form(regions="Areas", area_prompt_2="a dog"))["region-fields"] == "1 area"
    columns = describe_accordions(make_form(regions="Columns", region_ratios="1,2"))
    assert columns["region-fields"] == "Columns 1,2"
    assert describe_accordions(make_form(regions="Off", region_ratios="1,2"))["region-fields"] == ""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    made = EditingStudio(root, {"sheet": paint_halves(), "source": Image.new("RGB", (64, 64), "teal")})
    yield made
    made.backend.close()


def draw(studio: EditingStudio, model: str, *areas: RegionArea, **fields: Any) -> list[Image.Image]:
    return studio.draw(model, Task.TXT2IMG, 1, 2, regions=RegionSplit.AREAS, areas=areas, **fields)


@pytest.mark.torch
@pytest.mark.parametrize("mode", list(RegionMode))
@pytest.mark.parametrize("model", ["sd15", "xl"])
def test_an_area_that_covers_everything_is_the_plain_prompt(
    studio: EditingStudio, model: str, mode: RegionMode
) -> None:
    plain = studio.draw(model, Task.TXT2IMG, 1, 2, prompt="a red apple")
    whole = draw(studio, model, RegionArea(prompt="a red apple"), prompt="a street", region_mode=mode)
    halves = (RegionArea(prompt="a red apple", mask="sheet", colour=colour) for colour in (RED, GREEN))
    both = draw(studio, model, *halves, prompt="a street", region_mode=mode)
    rest = draw(studio, model, RegionArea(prompt="a red apple", **LEFT), prompt="a red apple", region_mode=mode)
    other = draw(studio, model, RegionArea(prompt="a cat", **LEFT), prompt="a red apple", region_mode=mode)
    for number, image in enumerate(plain):
        assert whole[number].tobytes() == image.tobytes()
        assert compute_difference(both[number], image).max() <= 1
        assert compute_difference(rest[number], image).max() <= 1
        assert compute_difference(other[number], image).any()


@pytest.mark.torch
def test_areas_work_on_images_and_under_masks(studio: EditingStudio) -> None:
    area = RegionArea(prompt="a cat", mask="sheet", colour=RED)
    fields: dict[str, Any] = {"regions": RegionSplit.AREAS, "areas": (area,), "strength": 0.8}
    changed = studio.draw_image("sd15", Task.IMG2IMG, **fields)
    assert compute_difference(changed, studio.draw_image("sd15", Task.IMG2IMG, strength=0.8)).any()


@pytest.mark.torch
def test_an_area_that_the_crop_cuts_off_changes_nothing(studio: EditingStudio) -> None:
    studio.images |= {"wide": Image.new("RGB", (192, 64), "teal"), "sides": Image.new("RGBA", (192, 64))}
    ImageDraw.Draw(studio.images["sides"]).rectangle((0, 0, 63, 64), fill=RED)
    ImageDraw.Draw(studio.images["sides"]).rectangle((64, 0, 127, 64), fill=GREEN)

    def change(colour: str, resize: Resize) -> Image.Image:
        area = RegionArea(prompt="a cat", mask="sides", colour=colour)
        fields: dict[str, Any] = {"regions": RegionSplit.AREAS, "areas": (area,), "source": "wide", "strength": 0.8}
        return studio.draw_image("sd15", Task.IMG2IMG, resize=resize, **fields)

    def change_whole(prompt: str) -> Image.Image:
        return studio.draw_image("sd15", Task.IMG2IMG, prompt=prompt, source="wide", strength=0.8, resize=Resize.CROP)

    assert compute_difference(change(RED, Resize.CROP), change_whole("a red apple")).max() <= 1
    assert compute_difference(change(GREEN, Resize.CROP), change_whole("a cat")).max() <= 1
    assert compute_difference(change(RED, Resize.STRETCH), change(GREEN, Resize.STRETCH)).any()


@pytest.mark.torch
def test_outside_of_its_area_a_prompt_changes_no_prediction(studio: EditingStudio) -> None:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from studio.pipelines.run.composition import AreaWeight, compose_conditions

    folder = studio.settings.models_dir / "sd15" / "unet"
    unet: Any = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    sample = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    texts = torch.randn((3, 77, 32), generator=torch.Generator().manual_seed(2))
    maps = RegionMaps([Region(prompt="", is_rest=True), Region(prompt="", left=0.5)])
    with torch.inference_mode():
        negative, base, own = (unet(sample, 500, encoder_hidden_states=text[None]).sample for text in texts)
        both = torch.stack([torch.cat([texts[0], texts[0]]), torch.cat([texts[1], texts[2]])])
        with compose_conditions(unet, (AreaWeight(1.0, maps, 0), AreaWeight(1.0, maps, 1)), 1):
            answer = unet(torch.cat([sample] * 2), 500, encoder_hidden_states=both).sample
    assert torch.allclose(answer[0], negative[0], atol=1e-5)
    assert torch.allclose(answer[1, ..., :4], base[0, ..., :4], atol=1e-5)
    assert torch.allclose(answer[1, ..., 4:], own[0, ..., 4:], atol=1e-5)
    assert not torch.allclose(answer[1, ..., 4:], base[0, ..., 4:], atol=1e-3)


@pytest.mark.torch
def test_attention_reads_each_regions_text_in_its_places(studio: EditingStudio) -> None:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from studio.pipelines.run.regional_attention import attend_to_regions

    folder = studio.settings.models_dir / "sd15" / "unet"
    unet: Any = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    layer = next(module for name, module in unet.named_modules() if name.endswith("attn2"))
    sample = torch.randn((1, 4, 7, 5), generator=torch.Generator().manual_seed(1))
    texts = torch.randn((2, 77, 32), generator=torch.Generator().manual_seed(2))
    side_by_side = torch.cat([texts[0], texts[1]])[None]
    maps = RegionMaps([Region(prompt="", is_rest=True), Region(prompt="", bottom=3 / 7)])
    calls: list[int] = []
    count = unet.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        before = unet(sample, 500, encoder_hidden_states=texts[:1]).sample
        places = torch.randn((1, 35, layer.to_q.in_features), generator=torch.Generator().manual_seed(3))
        base, own = (layer(places, encoder_hidden_states=text[None]) for text in texts)
        with attend_to_regions(unet, maps, (0, 1)):
            unet(sample, 500, encoder_hidden_states=side_by_side)
            found = layer(places, encoder_hidden_states=side_by_side)
        after = unet(sample, 500, encoder_hidden_states=texts[:1]).sample
    count.remove()
    assert torch.allclose(found[:, :15], own[:, :15], atol=1e-5)
    assert torch.allclose(found[:, 15:], base[:, 15:], atol=1e-5)
    assert torch.equal(before, after)
    assert len(calls) == 3, "one for all regions"


@pytest.mark.torch
def test_what_attention_cannot_do_is_refused_before_anything_is_loaded(studio: EditingStudio) -> None:
    with pytest.raises(InvalidRequest, match="AND cannot be used"):
        draw(studio, "sd15", RegionArea(prompt="a cat AND a dog"), region_mode=RegionMode.ATTENTION)
    assert studio.ctx.loaded == []
    drawn = draw(studio, "sd15", RegionArea(prompt="a cat AND a dog", **LEFT))
    assert compute_difference(drawn[0], draw(studio, "sd15", RegionArea(prompt="a cat", **LEFT))[0]).any()


def test_a_request_of_an_earlier_version_has_no_areas() -> None:
    old = {"prompt": "a BREAK b", "regions": "columns"}
    read = GenerationRequest.from_stored_json(old)
    assert (read.areas, read.region_mode) == ((), RegionMode.LATENT)
    assert read.to_json() == old
