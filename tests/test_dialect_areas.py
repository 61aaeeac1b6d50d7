"""Areas with prompts of their own as AUTOMATIC1111's clients (Regional Prompter) and ComfyUI's graphs ask for them."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from dialect_studio import encode, make_png, serve_dialects
from PIL import Image, ImageDraw
from serving import RunningStudio
from test_dialect_comfyui import GRAPH, change, run, upload
from vendor_server import make_png_bomb

from studio.api.dialects.automatic1111.regional_prompter import list_mask_colours
from studio.api.dialects.comfyui.conditioning_areas import ConditionPart, place_conditions
from studio.core.region_area import RegionArea
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionMode, RegionSplit

TXT2IMG = "/sdapi/v1/txt2img"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("areas")) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client(headers={"Accept": "application/json"})


def save(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def paint_mask(*colours: str) -> Image.Image:
    """A white sheet with a stripe of each colour."""
    sheet = Image.new("RGB", (64, 64), "white")
    for number, colour in enumerate(colours):
        ImageDraw.Draw(sheet).rectangle((0, 8 * number, 63, 8 * number + 7), fill=colour)
    return sheet


def make_arguments(mask: object, *, base: str = "0.2", uses: tuple[bool, bool] = (True, False)) -> list[Any]:
    """The form of Regional Prompter, its mode Mask; `uses` says whether there is a base and a common part."""
    form = [True, False, "Mask", "Columns", "Mask", "Prompt", "1,1", base, *uses, False, "Latent", [], "0", "0", "0"]
    return [*form, mask, "0", "0", False]


def test_regional_prompters_colours_are_known() -> None:
    colours = list_mask_colours()
    assert colours[:4] == ["#804040", "#408080", "#608040", "#604080"]
    assert len(set(colours)) == 16


def test_regional_prompters_mask_becomes_areas(client: httpx.Client, served: RunningStudio) -> None:
    first, second, *_ = list_mask_colours()
    mask = encode(save(paint_mask(second, first)))
    script = {"Regional Prompter": {"args": make_arguments(mask, base="0.2,0.5")}}
    body = {"prompt": "street BREAK a cat BREAK a dog", "width": 64, "height": 64, "alwayson_scripts": script}
    answer = client.post(TXT2IMG, json=body)
    assert answer.status_code == 200, answer.text
    request, _ = served.backend.seen[-1]
    assert (request.prompt, request.regions, request.region_mode) == ("street", RegionSplit.AREAS, RegionMode.LATENT)
    assert [(area.prompt, area.weight, area.colour) for area in request.areas] == [
        ("a cat", 0.8, first),
        ("a dog", 0.5, second),
    ]
    script = {"Regional Prompter": {"args": make_arguments(mask, uses=(False, True))}}
    body = {**body, "prompt": "photo BREAK a cat BREAK a dog", "alwayson_scripts": script}
    assert client.post(TXT2IMG, json=body).status_code == 200
    request, _ = served.backend.seen[-1]
    assert request.prompt == "photo, a cat", "without a base the first region has what is not painted"
    assert [(area.prompt, area.weight) for area in request.areas] == [("photo, a cat", 1), ("photo, a dog", 1)]


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (None, {}),
        ("no image", {}),
        ("/etc/passwd", {}),
        (encode(make_png_bomb()), {}),
        (encode(make_png("white")), {}),
        (encode(save(paint_mask(*list_mask_colours()[:3]))), {}),
        (encode(save(paint_mask(*list_mask_colours()[:2]))), {"base": "half"}),
        (encode(save(paint_mask(*list_mask_colours()[:2]))), {"base": "7"}),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(client: httpx.Client, mask: object, options: dict[str, Any]) -> None:
    script = {"Regional Prompter": {"args": make_arguments(mask, **options)}}
    body = {"prompt": "street BREAK a cat BREAK a dog", "alwayson_scripts": script}
    answer = client.post(TXT2IMG, json=body)
    assert 400 <= answer.status_code < 500, answer.text


def combine(**nodes: Any) -> dict[str, Any]:
    """A graph whose sampler reads the node c; the prompt of node 2 counts everywhere."""
    return change(n5=("KSampler", {"positive": ["c", 0]}), **nodes)


def test_comfyuis_areas_and_masks_become_areas(client: httpx.Client, served: RunningStudio) -> None:
    clear = Image.new("RGBA", (64, 64), "red")
    ImageDraw.Draw(clear).rectangle((0, 0, 31, 63), fill=(0, 0, 0, 0))
    mask = upload(client, "left.png", save(clear))["name"]
    cat = ("CLIPTextEncode", {"text": "a cat", "clip": ["1", 1]})
    dog = ("CLIPTextEncode", {"text": "a dog", "clip": ["1", 1]})
    right = {"conditioning": ["20", 0], "width": 64, "height": 64, "x": 32, "y": 0, "strength": 1.0}
    left = {"conditioning": ["21", 0], "mask": ["24", 1], "strength": 0.5, "set_cond_area": "default"}
    graph = combine(
        n20=cat,
        n21=dog,
        n22=("ConditioningSetArea", right),
        n23=("ConditioningSetMask", left),
        n24=("LoadImage", {"image": mask}),
        n25=("ConditioningCombine", {"conditioning_1": ["2", 0], "conditioning_2": ["22", 0]}),
        nc=("ConditioningCombine", {"conditioning_1": ["25", 0], "conditioning_2": ["23", 0]}),
    )
    run(client, graph)
    request, _ = served.backend.seen[-1]
    assert (request.prompt, request.regions) == ("a red apple", RegionSplit.AREAS)
    assert [(area.prompt, area.weight, area.x, area.width) for area in request.areas] == [
        ("a red apple", 2, 0, 1),
        ("a cat", 2, 0.5, 0.5),
        ("a dog", 1, 0, 1),
    ]
    assert request.areas[2].mask, "the transparent part of the upload"


def test_a_share_of_the_image_is_an_area_and_a_second_pass_keeps_it(
    client: httpx.Client, served: RunningStudio
) -> None:
    share = {"conditioning": ["20", 0], "width": 0.25, "height": 1.0, "x": 0.75, "y": 0.0, "strength": 1.0}
    nodes = {
        "n20": ("CLIPTextEncode", {"text": "a cat", "clip": ["1", 1]}),
        "n22": ("ConditioningSetAreaPercentage", share),
        "nc": ("ConditioningCombine", {"conditioning_1": ["2", 0], "conditioning_2": ["22", 0]}),
        "n8": ("LatentUpscaleBy", {"samples": ["5", 0], "upscale_method": "bilinear", "scale_by": 2.0}),
        "n6": ("VAEDecode", {"samples": ["9", 0]}),
    }
    second = {**copy.deepcopy(GRAPH["5"]["inputs"]), "positive": ["c", 0], "latent_image": ["8", 0], "denoise": 0.5}
    run(client, combine(**nodes, n9=("KSampler", second)))
    request, _ = served.backend.seen[-1]
    assert request.areas[1] == RegionArea(prompt="a cat", x=0.75, width=0.25)
    assert request.hires is not None
    other = change(n5=("KSampler", {"positive": ["c", 0]}), **nodes, n9=("KSampler", {**second, "positive": ["2", 0]}))
    answer = client.post("/prompt", json={"prompt": other})
    assert answer.status_code == 400
    assert "areas" in answer.json()["node_errors"]["9"]["errors"][0]["message"]


def test_conditioning_that_has_no_counterpart_is_named(client: httpx.Client) -> None:
    area = ("ConditioningSetAreaPercentage", {"conditioning": ["3", 0], "width": 0.5, "height": 1.0, "x": 0, "y": 0})
    area[1]["strength"] = 1.0
    graph = change(n5=("KSampler", {"negative": ["20", 0]}), n20=area)
    answer = client.post("/prompt", json={"prompt": graph})
    assert answer.status_code == 400
    assert "negative prompt" in answer.json()["node_errors"]["20"]["errors"][0]["message"]
    beyond = ("ConditioningSetArea", {**area[1], "width": 64, "height": 64, "x": 64, "conditioning": ["2", 0]})
    answer = client.post("/prompt", json={"prompt": change(n5=("KSampler", {"positive": ["20", 0]}), n20=beyond)})
    assert answer.status_code == 400
    wide = {name: value for name, value in area[1].items() if name != "width"}
    answer = client.post(
        "/prompt", json={"prompt": change(n5=("KSampler", {"positive": ["20", 0]}), n20=(area[0], wide))}
    )
    assert answer.status_code == 400


def test_strengths_are_raised_until_they_outweigh_the_prompt() -> None:
    plain = place_conditions([ConditionPart(text="a cat"), ConditionPart(text="b", strength=0)], (64, 64))
    assert plain == {"prompt": "a cat", "regions": None, "areas": ()}
    weak = [ConditionPart(text="a", strength=0.01), ConditionPart(text="b", strength=5.0, mask="m")]
    found = GenerationRequest(**place_conditions(weak, (64, 64)))
    assert [area.weight for area in found.areas] == [0.02, 10]
    with pytest.raises(ValueError, match="17"):
        place_conditions([ConditionPart(text="a", mask="m")] * 17, (64, 64))
