"""Areas over the native API: masks as base64 and by id, and what is refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeBackend
from PIL import Image, ImageDraw
from serving import RunningStudio, serve_studio
from vendor_server import make_png_bomb

from studio.core.region_area import MAX_AREAS
from studio.core.request_choices import RegionMode, RegionSplit

API = "/api/image-studio"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("areas")
    with serve_studio(folder, backend=FakeBackend(), users=True) as served:
        yield served


def encode(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def paint(colour: str = "#e02020") -> Image.Image:
    sheet = Image.new("RGBA", (32, 32))
    ImageDraw.Draw(sheet).rectangle((0, 0, 15, 31), fill=colour)
    return sheet


def test_areas_are_taken_with_masks_of_any_kind(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    kept = ann.post(f"{API}/inputs", json={"image": encode(paint())}).json()["id"]
    areas: list[dict[str, Any]] = [
        {"prompt": "a cat", "mask": kept, "colour": "#e02020", "weight": 0.5},
        {"prompt": "a dog", "mask": encode(Image.new("L", (8, 8), 255))},
        {"prompt": "sky", "x": 0, "y": 0, "width": 1, "height": 0.25},
    ]
    body = {"prompt": "street", "areas": areas, "region_mode": "attention"}
    answer = ann.post(f"{API}/create?wait=true", json=body)
    assert answer.status_code == 200, answer.text
    request, _ = served.backend.seen[-1]
    assert (request.regions, request.region_mode) == (RegionSplit.AREAS, RegionMode.ATTENTION)
    assert [(area.prompt, area.weight, area.height) for area in request.areas] == [
        ("a cat", 0.5, 1),
        ("a dog", 1, 1),
        ("sky", 1, 0.25),
    ]
    assert request.areas[0].mask == kept
    asset = answer.json()["images"][0]["id"]
    recipe = ann.get(f"{API}/assets/{asset}").json()
    assert kept in str(recipe), "the recipe names the mask"


def test_a_mask_is_its_owners_alone(served: RunningStudio) -> None:
    ann, bob = served.open_client("ann"), served.open_client("bob")
    kept = ann.post(f"{API}/inputs", json={"image": encode(paint("#20a020"))}).json()["id"]
    body = {"prompt": "street", "areas": [{"prompt": "a cat", "mask": kept}]}
    assert bob.post(f"{API}/create", json=body).status_code == 404
    assert ann.post(f"{API}/create?wait=true", json=body).status_code == 200


@pytest.mark.parametrize(
    ("area", "status"),
    [
        ({"prompt": "a", "mask": base64.b64encode(make_png_bomb()).decode()}, 400),
        ({"prompt": "a", "mask": "no image"}, 400),
        ({"prompt": "a", "mask": "../../etc/passwd"}, 400),
        ({"prompt": "a", "mask": encode(paint()), "colour": "#00ff00"}, 400),
        ({"prompt": "a", "mask": encode(Image.new("L", (8, 8), 0))}, 400),
        ({"prompt": "a", "mask": encode(Image.new("L", (4100, 4100), 255))}, 400),
        ({"prompt": "a", "colour": "#00ff00"}, 400),
        ({"prompt": "a", "x": 0.9, "width": 0.5}, 400),
        ({"prompt": "a", "y": -0.5}, 400),
        ({"prompt": "a", "weight": "much"}, 400),
        ({"prompt": "a", "path": "/etc/passwd"}, 400),
        ({"prompt": "a" * 20_001}, 400),
    ],
)
def test_what_is_no_area_is_refused(served: RunningStudio, area: dict[str, Any], status: int) -> None:
    before = len(served.backend.seen)
    answer = served.open_client("ann").post(f"{API}/create", json={"prompt": "street", "areas": [area]})
    assert answer.status_code in (status, 422), answer.text
    assert answer.json()["error"]
    assert len(served.backend.seen) == before


def test_too_many_areas_are_refused(served: RunningStudio) -> None:
    body = {"prompt": "street", "areas": [{"prompt": "a"}] * (MAX_AREAS + 1)}
    assert served.open_client("ann").post(f"{API}/create", json=body).status_code in (400, 422)
