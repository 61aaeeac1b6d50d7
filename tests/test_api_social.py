"""Platform formats and templates over a real server: images made into formats, what there is to know of them, own
templates."""

from __future__ import annotations

import base64
import contextlib
import io
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import draw_fake_image
from PIL import Image, ImageStat
from serving import RunningStudio, make_users, serve_studio
from social_studio import make_social_parts

from studio.core.task import Task

API = "/api/image-studio"
STORY, SMALL = "instagram.story", "twitter.profile"  # 1080 × 1920, 400 × 400


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[RunningStudio]:
    social, painter, backends = make_social_parts(folder)
    with serve_studio(
        folder, backend=backends, social=social, default_model="fake", users=make_users(folder)
    ) as served:
        served.backend = painter
        yield served


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """One studio for all tests that only ask, or are refused."""
    with serve(tmp_path_factory.mktemp("unchanged")) as served:
        yield served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve(tmp_path) as served:
        yield served


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def text(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()


def sizes(job: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {image["label"]: (image["width"], image["height"]) for image in job["images"]}


def test_a_image_becomes_formats_and_a_zip(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    asked = {"formats": [STORY, SMALL], "sheet": True}
    job = done(
        ann.post(f"{API}/social/optimize?wait=true", json={**asked, "image": text(draw_fake_image(1, 1200, 1000))})
    )
    assert {STORY: (1080, 1920), SMALL: (400, 400)}.items() <= sizes(job).items()
    assert set(sizes(job)) == {STORY, SMALL, "sheet"}
    files = zipfile.ZipFile(io.BytesIO(ann.get(job["zip"]).content))
    shapes = [Image.open(files.open(name)).size for name in files.namelist()]
    assert sorted(shapes) == sorted(sizes(job).values())
    assert any("is enlarged" in note for note in job["images"][0]["notes"])


def test_a_form_sends_several_images_and_the_rest_as_json(served: RunningStudio) -> None:
    files = [("images", (f"{n}.png", png(draw_fake_image(n, 500, 500)))) for n in (1, 2)]
    data = {"formats": SMALL, "request": '{"keep": "nothing"}'}
    job = done(served.open_client("ann").post(f"{API}/social/optimize?wait=true", data=data, files=files))
    assert [image["label"] for image in job["images"]] == [SMALL, SMALL]


def test_every_image_has_crops_and_a_file_type_of_its_own(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    halves = Image.new("RGB", (800, 400), "red")
    halves.paste("blue", (400, 0, 800, 400))
    kept = [
        ann.post(f"{API}/inputs", json={"image": text(image)}).json()["id"] for image in (halves, halves.rotate(180))
    ]
    right = {"format": SMALL, "box": {"left": 0.5}, "image": kept[0]}
    body = {"formats": [SMALL], "images": kept, "crops": [right], "file_type": "webp"}
    job = done(ann.post(f"{API}/social/optimize?wait=true", json=body))
    first = Image.open(io.BytesIO(ann.get(job["images"][0]["url"]).content))
    assert first.format == "WEBP"
    red, _, blue = ImageStat.Stat(first.convert("RGB")).mean
    assert blue > 250 > 5 > red


def test_all_formats_of_a_platform(served: RunningStudio) -> None:
    body = {"platforms": ["tiktok"], "image": text(draw_fake_image(1, 300, 300))}
    job = done(served.open_client("ann").post(f"{API}/social/optimize?wait=true", json=body))
    listed = served.open_client("ann").get(f"{API}/social/platforms/tiktok/formats").json()["formats"]
    assert sizes(job) == {each["id"]: (each["width"], each["height"]) for each in listed}


def test_a_small_image_is_enlarged_by_a_network_when_asked(served: RunningStudio) -> None:
    body = {"formats": [SMALL], "image": text(draw_fake_image(1, 200, 200)), "upscale": True}
    job = done(served.open_client("ann").post(f"{API}/social/optimize?wait=true", json=body))
    ((request, _),) = served.backend.seen
    assert (request.task, request.upscale.scale) == (Task.UPSCALE, 2)
    assert sizes(job) == {SMALL: (400, 400)}
    assert not any("is enlarged" in note for note in job["images"][0]["notes"])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"formats": ["instagram.storie"], "image": "P"}, 404, "instagram.story"),
        ({"platforms": ["instagramm"], "image": "P"}, 404, "instagram"),
        ({"image": "P"}, 400, "Choose at least one"),
        ({"formats": [SMALL]}, 400, "Send one"),
        ({"formats": [SMALL], "image": "no image!"}, 400, "base64"),
        ({"formats": [SMALL], "image": "P", "extend": "outpaint"}, 400, "POST /edit"),
        ({"formats": [SMALL], "image": "P", "extend": "stretch"}, 400, "extend"),
        ({"formats": [SMALL], "image": "P", "colour": "red"}, 400, "#rrggbb"),
        ({"formats": [SMALL], "image": "P", "file_type": "tiff"}, 400, "webp"),
        ({"formats": [SMALL], "image": "P", "crops": [{"format": STORY, "box": {}}]}, 400, "selected format"),
        ({"formats": [SMALL], "image": "P", "focus": {"left": 2}}, 400, "left"),
        ({"formats": [SMALL], "image": "P", "zoness": True}, 400, "zoness"),
    ],
)
def test_what_cannot_be_made_is_refused_before_there_is_a_job(
    unchanged: RunningStudio, body: dict[str, Any], status: int, says: str
) -> None:
    ann = unchanged.open_client("ann")
    filled = {name: text(draw_fake_image(1, 64, 64)) if value == "P" else value for name, value in body.items()}
    answer = ann.post(f"{API}/social/optimize", json=filled)
    assert answer.status_code == status, answer.text
    assert says in answer.text
    assert answer.json()["code"]
    assert ann.get(f"{API}/jobs").json()["jobs"] == []


def test_a_prompt_becomes_a_pack_in_one_job(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    body = {"prompt": "a red apple", "social": {"formats": [STORY, SMALL], "upscale": True, "original": True}}
    job = done(ann.post(f"{API}/create?wait=true", json=body))
    assert sizes(job) == {STORY: (1080, 1920), SMALL: (400, 400), "original": (256, 256)}
    assert [request.task for request, _ in served.backend.seen] == [Task.TXT2IMG, Task.UPSCALE]
    assert len(zipfile.ZipFile(io.BytesIO(ann.get(job["zip"]).content)).namelist()) == 3


def test_the_size_follows_a_single_format_unless_it_is_given(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    done(ann.post(f"{API}/create?wait=true", json={"prompt": "x", "social": {"formats": [STORY]}}))
    own = {"prompt": "x", "width": 128, "height": 64, "social": {"formats": [STORY]}}
    done(ann.post(f"{API}/create?wait=true", json=own))
    assert [(request.width, request.height) for request, _ in served.backend.seen] == [(48, 88), (128, 64)]


def test_an_edit_goes_on_to_formats_and_an_unknown_one_is_refused(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    edit = {
        "operation": "img2img",
        "prompt": "x",
        "image": text(draw_fake_image(1, 64, 64)),
        "social": {"formats": [SMALL]},
    }
    assert sizes(done(ann.post(f"{API}/edit?wait=true", json=edit))) == {SMALL: (400, 400)}
    refused = ann.post(f"{API}/create", json={"prompt": "x", "social": {"formats": ["x.header"]}})
    assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")
    assert "twitter.header" in refused.json()["details"]["hint"]


def test_platforms_tell_their_formats_limits_and_sources(unchanged: RunningStudio) -> None:
    ann = unchanged.open_client("ann")
    found = ann.get(f"{API}/social/platforms").json()
    assert found["asOf"] >= "2026-01-01"
    assert {"instagram", "facebook", "twitter", "linkedin", "youtube", "pinterest", "tiktok"} <= {
        each["id"] for each in found["platforms"] if each["channel"]
    }
    story = next(
        each for each in ann.get(f"{API}/social/platforms/instagram/formats").json()["formats"] if each["id"] == STORY
    )
    assert (story["width"], story["height"], story["fileType"]) == (1080, 1920, "jpeg")
    assert story["sources"][0]["read"]
    specs = ann.get(f"{API}/platform-specs/instagram").json()
    (same,) = (each for each in specs["specs"] if each["id"] == STORY)
    assert "safe" in {zone["kind"] for zone in same["zones"]}
    assert specs["frames"][STORY]["slotWidth"] > 0
    unknown = ann.get(f"{API}/platform-specs/instagam")
    assert (unknown.status_code, unknown.json()["details"]["near"][0]) == (404, "instagram")


def test_zones_and_frame_come_as_drawings(unchanged: RunningStudio) -> None:
    ann = unchanged.open_client("ann")
    zones = ann.get(f"{API}/social/formats/{STORY}/zones.svg")
    assert zones.headers["content-type"].startswith("image/svg+xml")
    assert 'viewBox="0 0 1080 1920"' in zones.text
    assert 'class="slot"' in ann.get(f"{API}/social/formats/{STORY}/frame.svg").text
    assert ann.get(f"{API}/social/formats/instagram.stori/zones.svg").status_code == 404


def test_own_formats_take_part(served: RunningStudio, tmp_path: Path) -> None:
    (tmp_path / "platforms.toml").write_text(
        '[[format]]\nplatform = "shop"\nid = "tile"\nname = "Tile"\nwidth = 200\nheight = 100\n'
    )
    body = {"platforms": ["shop"], "image": text(draw_fake_image(1, 300, 300))}
    assert sizes(done(served.open_client("ann").post(f"{API}/social/optimize?wait=true", json=body))) == {
        "shop.tile": (200, 100)
    }


def test_templates_are_listed_searched_and_recommended(unchanged: RunningStudio) -> None:
    ann = unchanged.open_client("ann")
    everything = ann.get(f"{API}/templates").json()["templates"]
    assert len(everything) >= 40
    product = ann.get(f"{API}/templates?platform=instagram&purpose=product").json()["templates"]
    assert product
    assert all(each["platform"] == "instagram" for each in product)
    high = ann.get(f"{API}/templates/search?q=produkt+hero&platform=instagram&quality=high").json()["templates"]
    assert "product" in high[0]["purpose"]
    assert all((each["platform"], each["quality"]) == ("instagram", "high") for each in high)
    best = ann.get(f"{API}/templates/recommend?platform=linkedin&purpose=brand&limit=3").json()["templates"]
    assert len(best) == 3
    assert best[0]["platform"] == "linkedin"
    one = ann.get(f"{API}/templates/{product[0]['id']}").json()
    assert one == product[0]
    assert one["fields"] == ["subject", "setting"]
    assert "{" not in one["prompt"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("templates?platform=instagra", 404, "instagram"),
        ("templates/recommend?platform=myspace", 404, "Unknown platform"),
        ("templates/recommend", 400, "platform"),
        ("templates/search?quality=superb", 400, "draft"),
        ("templates/search?q=apple&limit=0", 400, "limit"),
        ("templates/instagram_feed", 404, "not found"),
        ("templates/export?id=nothing", 404, "not found"),
    ],
)
def test_wrong_questions_are_answered_with_what_would_do(
    unchanged: RunningStudio, path: str, status: int, says: str
) -> None:
    answer = unchanged.open_client("ann").get(f"{API}/{path}")
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


def test_own_templates_are_saved_taken_along_and_deleted_and_are_nobody_elses(served: RunningStudio) -> None:
    ann, bob = served.open_client("ann"), served.open_client("bob")
    new = {
        "name": "Summer sale",
        "format": STORY,
        "purpose": "ad",
        "frame": "{subject} on sand, {mood}",
        "style": ["film"],
    }
    made = ann.post(f"{API}/templates", json=new)
    assert made.status_code == 201, made.text
    name = made.json()["id"]
    assert (name, made.json()["fields"], made.json()["own"]) == ("own_summer_sale", ["subject", "mood"], True)
    assert ann.get(f"{API}/templates?own=true").json()["templates"] == [made.json()]
    assert bob.get(f"{API}/templates/{name}").status_code == 404
    exported = ann.get(f"{API}/templates/export", params={"id": [name]})
    assert tomllib.loads(exported.text)["template"][0]["frame"] == new["frame"]
    taken = bob.post(f"{API}/templates/import", files={"file": ("templates.toml", exported.content)})
    assert taken.status_code == 201, taken.text
    assert ann.delete(f"{API}/templates/{name}").status_code == 204
    assert ann.get(f"{API}/templates/{name}").status_code == 404
    assert bob.get(f"{API}/templates/{name}").json() == made.json()


def test_a_recipe_becomes_a_template(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    job = done(
        ann.post(
            f"{API}/create?wait=true",
            json={"prompt": "a {subject}, fog", "negative_prompt": "text", "social": {"formats": [SMALL]}},
        )
    )
    new = {"name": "Fog", "format": SMALL, "image": job["images"][0]["id"]}
    made = ann.post(f"{API}/templates", json=new).json()
    assert (made["frame"], made["negative"], made["models"]) == ("a {subject}, fog", "text", ["fake"])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"name": "A", "format": "instagram.stori"}, 404, "instagram.story"),
        ({"name": "A", "format": STORY, "purpose": "fun"}, 400, "product"),
        ({"name": "A", "format": STORY, "palette": ["red"]}, 400, "#rrggbb"),
        ({"name": " ", "format": STORY}, 400, "name"),
        ({"name": "A", "format": STORY, "image": "nothing-0"}, 404, "hint"),
    ],
)
def test_a_wrong_template_is_refused(unchanged: RunningStudio, body: dict[str, Any], status: int, says: str) -> None:
    ann = unchanged.open_client("ann")
    answer = ann.post(f"{API}/templates", json=body)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert ann.get(f"{API}/templates?own=true").json()["templates"] == []


def test_what_ships_cannot_be_deleted_and_a_broken_file_changes_nothing(unchanged: RunningStudio) -> None:
    ann = unchanged.open_client("ann")
    ours = ann.get(f"{API}/templates").json()["templates"][0]["id"]
    assert ann.delete(f"{API}/templates/{ours}").status_code == 400
    broken = ann.post(f"{API}/templates/import", files={"file": ("a.toml", b"[[template]]\nid = 'x'\n")})
    assert (broken.status_code, "is missing" in broken.text) == (400, True)
    assert ann.get(f"{API}/templates?own=true").json()["templates"] == []


def test_the_routes_stand_in_the_docs_and_want_a_login(unchanged: RunningStudio) -> None:
    paths = unchanged.open_client("ann").get("/api/openapi.json").json()["paths"]
    for path in (
        "social/optimize",
        "social/platforms/{platform}/formats",
        "platform-specs/{platform}",
        "templates/recommend",
    ):
        assert f"{API}/{path}" in paths
    assert unchanged.open_client().get(f"{API}/templates").status_code == 401
