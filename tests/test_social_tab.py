"""The Social Optimizer: what its fields ask for, what is refused before anything waits, and what its board is told."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from fakes import FakeBackend, wait_until_final
from fastapi import FastAPI
from PIL import Image
from serving import RunningStudio, serve_studio
from social_images import make_ball, make_couple, make_real_social_parts

from studio.api.responses import PREFIX as API
from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.finish import Anchor, Box, MetadataPolicy, TextOverlay, Watermark
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.social import ExtendMode, FormatCrop, SocialExport
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.studio import Studio
from studio.page import mount
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines
from studio.social.platforms import Platforms
from studio.tabs.common.form_values import parse_colour
from studio.tabs.social import social_values
from studio.tabs.social.board_routes import build_social_router
from studio.tabs.social.export_plan import ExportPlanner
from studio.tabs.social.export_results import render_results
from studio.tabs.social.social_fields import build_crop_fields, build_file_fields

ONE, TWO = "a" * 64, "b" * 64
STORY, POST, HEADER = "instagram.story", "instagram.feed_square", "twitter.header"
TOOLS = Model(
    id="tool", title="Tool", family="fake", tasks=frozenset({Task.TXT2IMG, Task.UPSCALE, Task.OUTPAINT}), lane="tools"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("social")
    parts, formats = make_real_social_parts(folder)
    models = folder / "models"
    catalog, hub = Catalog(models, (), models / ".cache"), Hub(models, lambda: True, lambda: None)
    store = LocalPipelines(lambda: Settings(models_dir=models), catalog, hub)
    backends = [FakeBackend(TOOLS), formats]
    with serve_studio(folder, backend=backends, page=mount, models=store, social=parts, default_model="tool") as served:
        yield served


@pytest.fixture
def planner(served: RunningStudio) -> ExportPlanner:
    assert served.studio.social is not None
    return ExportPlanner(served.studio, served.studio.social)


def keep(served: RunningStudio, image: Image.Image) -> str:
    return served.studio.engine.keep_image(image, LOCAL_USER).hash


def asked(*sources: str, formats: tuple[str, ...] = (STORY, POST), drawn: Any = None, **more: Any) -> dict[str, Any]:
    """Values of the form."""
    return {
        "images": " ".join(sources),
        "formats": " ".join(formats),
        "board": json.dumps(drawn or {}),
        "extend": "ask",
        **more,
    }


@pytest.mark.parametrize(
    "wish",
    [
        SocialExport(formats=(STORY,)),
        SocialExport(
            formats=(STORY, POST),
            same=True,
            extend=ExtendMode.BLUR,
            colour="#102030",
            sheet=True,
            original=True,
            zones=True,
        ),
        SocialExport(
            formats=(POST,),
            crops=(FormatCrop(format=POST, box=Box(left=0.1, right=0.9)),),
            focus=Box(top=0.25, bottom=0.5),
        ),
        SocialExport(
            formats=(POST,),
            keep=MetadataPolicy.ALL,
            file_type="webp",
            text=(
                TextOverlay(
                    text="Now",
                    font="DejaVu Serif",
                    size=0.1,
                    colour="#112233",
                    stroke_colour="#ffffff",
                    anchor=Anchor.TOP,
                    margin=0.1,
                    contrast="fix",
                ),
            ),
        ),
        SocialExport(
            formats=(POST,), watermark=Watermark(image=TWO, opacity=0.8, size=0.2, anchor=Anchor.TOP_LEFT, margin=0.05)
        ),
    ],
    ids=["plain", "ticks", "drawn", "text", "logo"],
)
def test_what_is_written_to_the_form_is_read_from_it(wish: SocialExport) -> None:
    values = social_values.write_social(wish, (ONE,))
    drawn = social_values.parse_board(values["board"])
    crops = tuple(FormatCrop(format=name, box=box) for name, box in drawn.crops.get(ONE, {}).items())
    read = social_values.read_social(values)
    assert social_values.read_sources(values) == (ONE,)
    assert {**vars(read), "crops": crops, "focus": drawn.focus.get(ONE)} == vars(wish)


def test_the_lists_of_the_form_hold_what_an_export_takes() -> None:
    with gr.Blocks():
        made: dict[str, Any] = build_crop_fields([]) | build_file_fields([])
    first = {
        name: made[name].value for name in ("same", "extend", "colour", "ground", "keep", "type", "sheet", "zones")
    }
    assert social_values.read_social({**asked(ONE), **first}) == SocialExport(formats=(STORY, POST), colour="#1f2933")
    for name, field in (("extend", "extend"), ("keep", "keep"), ("type", "file_type")):
        choices = [value for _, value in made[name].choices]
        assert choices[0] == first[name]
        read = [getattr(social_values.read_social(asked(ONE, **{name: value})), field) for value in choices[1:]]
        assert read == choices[1:]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (asked(), "No image"),
        (asked(ONE, formats=()), "No platform format selected"),
        (asked("not an image"), "not an image"),
        (asked(ONE, drawn=[1]), "no longer available"),
        (asked(ONE) | {"board": "{"}, "cannot be read"),
        (asked(ONE, formats=("instagram.sotry",)), "instagram.sotry"),
        (asked(ONE, drawn={"crops": {ONE: {STORY: [0, 0, 0, 0]}}}), "box is empty"),
        (asked(ONE, drawn={"focus": {ONE: "x"}}), "four numbers"),
        (asked(ONE, type="tiff"), "tiff"),
        (asked(ONE, extend="melt"), "melt"),
        (asked(ONE, colour="green"), "not a colour"),
    ],
)
def test_bad_input_is_refused_with_a_hint(planner: ExportPlanner, values: dict[str, Any], message: str) -> None:
    with pytest.raises(StudioError, match=message) as refusal:
        planner.plan_request(values, LOCAL_USER)
    assert refusal.value.hint


def test_an_unknown_format_names_near_ones(planner: ExportPlanner, served: RunningStudio) -> None:
    with pytest.raises(NotFound) as refusal:
        planner.plan_request(asked(keep(served, make_ball()), formats=("instagram.stories",)), LOCAL_USER)
    assert STORY in refusal.value.hint


def test_a_fully_transparent_image_is_refused(planner: ExportPlanner, served: RunningStudio) -> None:
    with pytest.raises(InvalidRequest, match="fully transparent"):
        planner.plan_request(asked(keep(served, Image.new("RGBA", (300, 300)))), LOCAL_USER)


def test_nobody_is_left_out_before_somebody_has_chosen(planner: ExportPlanner, served: RunningStudio) -> None:
    image = keep(served, make_couple())
    with pytest.raises(InvalidRequest, match="Not all 2 faces") as refusal:
        planner.plan_request(asked(image), LOCAL_USER)
    assert "Instagram Story" in refusal.value.message
    chosen = {"crops": {image: {STORY: [0, 0, 0.14, 1], POST: [0.7, 0, 0.95, 1]}}}
    wanted = planner.plan_request(asked(image, drawn=chosen), LOCAL_USER)
    assert wanted.social is not None
    assert [(crop.format, crop.image) for crop in wanted.social.crops] == [(STORY, ""), (POST, "")]
    marked = planner.plan_request(asked(image, drawn={"focus": {image: [0, 0, 0.25, 1]}}), LOCAL_USER).social
    assert marked == SocialExport(formats=(STORY, POST), focus=Box(right=0.25))
    assert planner.plan_request(asked(image, extend="blur"), LOCAL_USER).social == SocialExport(
        formats=(STORY, POST), extend=ExtendMode.BLUR
    )
    assert planner.plan_request(asked(image, extend="crop"), LOCAL_USER).social == SocialExport(formats=(STORY, POST))


def test_crops_and_marks_of_several_images_stay_apart(planner: ExportPlanner, served: RunningStudio) -> None:
    one, two = keep(served, make_ball()), keep(served, make_ball(500, 800))
    drawn = {"crops": {one: {POST: [0.3, 0, 0.925, 1]}}, "focus": {two: [0.6, 0.3, 0.9, 0.5]}}
    wanted = planner.plan_request(asked(one, two, drawn=drawn), LOCAL_USER)
    assert wanted.batch == (one, two)
    assert wanted.social is not None
    boxes = {(crop.image, crop.format): crop.box for crop in wanted.social.crops}
    assert set(boxes) == {(one, POST), (two, STORY), (two, POST)}
    assert boxes[one, POST] == Box(left=0.3, right=0.925)
    marked = boxes[two, POST]
    assert marked.left <= 0.6
    assert marked.right >= 0.9


def test_a_small_image_goes_through_an_upscaler_when_asked(planner: ExportPlanner, served: RunningStudio) -> None:
    image = keep(served, make_ball(600, 600))
    wanted = planner.plan_request(asked(image, formats=(POST,), upscale="tool"), LOCAL_USER)
    assert (wanted.task, wanted.then[0].task) == (Task.UPSCALE, Task.SOCIAL)
    assert wanted.upscale is not None
    assert wanted.upscale.scale == pytest.approx(1.8, abs=0.02)
    assert (
        planner.plan_request(asked(image, formats=("instagram.profile",), upscale="tool"), LOCAL_USER).task
        is Task.SOCIAL
    )
    assert planner.plan_request(asked(image, formats=(POST,)), LOCAL_USER).task is Task.SOCIAL


def test_own_crops_of_several_images_are_not_lost_to_an_upscaler(planner: ExportPlanner, served: RunningStudio) -> None:
    one, two = keep(served, make_ball(300, 300)), keep(served, make_ball(320, 320))
    wanted = planner.plan_request(asked(one, two, upscale="tool"), LOCAL_USER)
    assert (wanted.task, wanted.batch) == (Task.UPSCALE, (one, two))
    drawn = {"crops": {one: {STORY: [0, 0, 0.5625, 1]}}}
    with pytest.raises(InvalidRequest, match="crops cannot be combined"):
        planner.plan_request(asked(one, two, upscale="tool", drawn=drawn), LOCAL_USER)


def test_outpainting_grows_the_canvas_until_every_format_shows_the_whole_image(
    planner: ExportPlanner, served: RunningStudio
) -> None:
    image = keep(served, make_couple())
    wanted = planner.plan_request(asked(image, extend="outpaint"), LOCAL_USER)
    assert (wanted.task, wanted.source) == (Task.OUTPAINT, image)
    grows = wanted.outpaint
    assert grows is not None
    assert (grows.left, grows.right) == (0, 0)
    assert 400 + grows.top + grows.bottom == round(1600 * 16 / 9)
    last = wanted.then[0].social
    assert last is not None
    assert last.focus is not None
    assert last.focus.bottom - last.focus.top == pytest.approx(400 / round(1600 * 16 / 9))


def test_colours_of_any_spelling_are_read() -> None:
    assert [
        parse_colour(text, "#000000") for text in ("#a1b2c3", "rgba(16, 32.2, 255, 1)", "#a1b2c3ff", None, "rgb(x)")
    ] == [
        "#a1b2c3",
        "#1020ff",
        "#a1b2c3",
        "#000000",
        "#000000",
    ]


def test_the_board_is_told_formats_and_what_each_crop_loses(served: RunningStudio) -> None:
    client = served.open_client()
    told = client.get("/page/social/formats").json()
    formats = {one["id"]: one for platform in told["platforms"] for one in platform["formats"]}
    assert told["as_of"]
    assert len(formats) >= 96
    assert "zone-ui" in formats[STORY]["zones"]
    assert formats[STORY]["frame"]["device"] == "phone"
    image = keep(served, make_couple())
    crop = [0.7, 0, 0.95, 1]
    body = {"picture": image, "formats": [STORY, POST], "crops": {POST: crop}, "same": False, "focus": None}
    found, mine = client.post("/page/social/advice", json=body).json()
    assert (found["verdict"], found["faces"], found["whole"]) == ("extend", 2, 1)
    assert {"1 of 2 faces"} == {note["short"] for note in found["notes"] if "faces fit" in note["text"]}
    assert (mine["verdict"], mine["box"]) == ("good", crop)
    assert mine["loses"]
    small = Image.open(io.BytesIO(client.get(f"/page/social/look/{image}").content))
    assert small.size == (1280, 320)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "Strip", "width": 4000, "height": 100}, "too extreme"),
        ({"name": "Tiny", "width": 4, "height": 100}, "width"),
        ({"name": "!", "width": 400, "height": 100}, "Invalid format name"),
        ({"name": "Half", "width": 400.5, "height": 100}, "whole numbers"),
    ],
)
def test_a_format_that_cannot_be_is_refused(served: RunningStudio, body: dict[str, Any], message: str) -> None:
    answer = served.open_client().post("/page/social/formats", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_own_formats_are_kept_replaced_and_dropped_beside_what_stands_in_the_file(
    served: RunningStudio, tmp_path: Path
) -> None:
    assert served.studio.social is not None
    platforms = served.studio.social.platforms
    file = served.studio.engine.outputs_dir.parent / "platforms.toml"
    file.write_text(
        '# mine\n[[format]]\nplatform = "web"\nid = "old"\nname = "Old"\nwidth = 300\nheight = 200\n', encoding="utf-8"
    )
    client = served.open_client()
    saved = client.post(
        "/page/social/formats", json={"name": "Café tile", "width": 1200, "height": 900, "limit": 300_000}
    ).json()
    assert saved["id"] == "own.cafe_tile"
    client.post("/page/social/formats", json={"name": "Café tile", "width": 1000, "height": 900})
    tile = platforms.format("own.cafe_tile")
    assert (tile.name, tile.width, tile.max_bytes) == ("Café tile", 1000, None)
    left = client.delete("/page/social/formats/own.cafe_tile").json()
    assert left["problems"] == []
    assert platforms.format("web.old").width == 300
    assert file.read_text(encoding="utf-8").startswith("# mine\n")
    assert client.delete("/page/social/formats/own.cafe_tile").status_code == 404
    file.write_text("[[format]\n", encoding="utf-8")
    told = client.get("/page/social/formats").json()
    assert "platforms.toml" in told["problems"][0]
    assert len(told["platforms"]) >= 9
    assert client.post("/page/social/formats", json={"name": "New", "width": 90, "height": 90}).status_code == 400
    file.unlink()


def test_an_export_is_told_in_a_table_and_packed_under_its_own_names(
    planner: ExportPlanner, served: RunningStudio
) -> None:
    one, two = keep(served, make_ball(2400, 1600)), keep(served, make_ball(300, 300))
    wanted = planner.plan_request(asked(one, two, formats=(POST, HEADER), sheet=True), LOCAL_USER)
    job = served.studio.engine.submit(GenerationRequest.from_json(wanted.to_json()), LOCAL_USER)
    assets = wait_until_final(job).assets
    assert served.studio.social is not None
    html = render_results(assets, served.studio.social.platforms, "{platform}/{image}-{format}-{width}")
    assert "6 files" in html
    assert "X (Twitter) · Header" in html
    assert "it is enlarged" in html
    address = html.partition('href="')[2].partition('"')[0]
    answer: httpx.Response = served.open_client().get(f"/{address}")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        sizes = {name: Image.open(archive.open(name)).size for name in archive.namelist()}
    assert {name: size for name, size in sizes.items() if "sheet" not in name} == {
        "instagram/01-feed_square-1080.jpg": (1080, 1080),
        "instagram/02-feed_square-1080.jpg": (1080, 1080),
        "twitter/01-header-1500.jpg": (1500, 500),
        "twitter/02-header-1500.jpg": (1500, 500),
    }
    assert len(sizes) == 6


def test_a_crop_is_used_for_its_own_image_alone_and_the_chosen_type_is_written(
    planner: ExportPlanner, served: RunningStudio
) -> None:
    one, two = keep(served, make_ball(900, 600)), keep(served, make_ball(930, 620))
    crop = Box(left=0.0, right=0.6667)
    drawn = {"crops": {one: {POST: [0.0, 0.0, 0.6667, 1.0]}}}
    wanted = planner.plan_request(asked(one, two, formats=(POST,), drawn=drawn, type="webp"), LOCAL_USER)
    mine, other = wait_until_final(served.studio.engine.submit(wanted, LOCAL_USER)).assets
    assert (mine.path.suffix, other.path.suffix) == (".webp", ".webp")
    assert mine.request.social is not None
    assert mine.request.social.crops == (FormatCrop(format=POST, box=crop),)
    assert other.request.social is not None
    assert other.request.social.crops[0].box.right > 0.8  # where the ball is
    assert any("may not accept webp" in note for note in mine.notes)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"picture": 5, "formats": 7}, 404),
        ({"picture": "KEPT", "formats": ["instagram.sotry"]}, 404),
        ({"picture": "KEPT", "formats": [STORY], "crops": {STORY: [2]}}, 400),
        ({"picture": "KEPT", "formats": [STORY], "crops": 3, "focus": None}, 200),
    ],
)
def test_the_board_gets_a_plain_answer_to_whatever_it_asks(
    served: RunningStudio, body: dict[str, Any], status: int
) -> None:
    kept = keep(served, make_ball(300, 200))
    asked_ = {**body, "picture": kept if body["picture"] == "KEPT" else body["picture"]}
    assert served.open_client().post("/page/social/advice", json=asked_).status_code == status


def mount_board(app: FastAPI, studio: Studio) -> FastAPI:
    assert studio.social is not None
    app.include_router(build_social_router(studio, studio.social))
    return app


@contextlib.contextmanager
def serve_users(tmp_path: Path) -> Iterator[RunningStudio]:
    parts, formats = make_real_social_parts(tmp_path)
    backends = [FakeBackend(TOOLS), formats]
    with serve_studio(
        tmp_path, users=True, backend=backends, page=mount_board, social=parts, default_model="tool"
    ) as served:
        yield served


def list_own(client: httpx.Client) -> dict[str, tuple[int, bool, bool]]:
    """(width, is shared, may be deleted) of each format that comes from a file of users."""
    told = client.get("/page/social/formats").json()
    assert told["problems"] == []
    found = [one for platform in told["platforms"] for one in platform["formats"] if one["own"]]
    return {one["id"]: (one["width"], one["shared"], one["deletable"]) for one in found}


def save_format(client: httpx.Client, name: str, width: int, **more: object) -> httpx.Response:
    return client.post("/page/social/formats", json={"name": name, "width": width, "height": 400, **more})


def test_a_format_belongs_to_its_user_and_nobody_touches_anothers(tmp_path: Path) -> None:
    with serve_users(tmp_path) as served:
        ann, root = served.open_client("ann"), served.open_client("root")
        assert save_format(ann, "Tile", 600).status_code == 200
        assert save_format(root, "Tile", 500).status_code == 200
        assert list_own(ann) == {"own.tile": (600, False, True)}
        assert list_own(root) == {"own.tile": (500, False, True)}
        assert root.delete("/page/social/formats/own.tile").status_code == 200
        assert list_own(ann) == {"own.tile": (600, False, True)}
        platforms = served.studio.social.platforms if served.studio.social else None
        assert platforms is not None
        assert platforms.of("ann").format("own.tile").width == 600
        with pytest.raises(NotFound):
            platforms.of("root").format("own.tile")
        assert ann.delete("/page/social/formats/own.tile").status_code == 200
        assert list_own(ann) == {}


def test_only_an_administrator_shares_a_format_and_deletes_a_shared_one(tmp_path: Path) -> None:
    with serve_users(tmp_path) as served:
        ann, root = served.open_client("ann"), served.open_client("root")
        refused = save_format(ann, "Tile", 600, shared=True)
        assert (refused.status_code, "administrator" in refused.text) == (403, True)
        assert save_format(root, "Tile", 500, shared=True).status_code == 200
        assert (list_own(ann), list_own(root)) == ({"own.tile": (500, True, False)}, {"own.tile": (500, True, True)})
        taken = save_format(ann, "Tile", 600)
        assert (taken.status_code, "shared already" in taken.text) == (400, True)
        refused = ann.delete("/page/social/formats/own.tile")
        assert (refused.status_code, "administrator" in refused.text) == (403, True)
        assert root.delete("/page/social/formats/own.tile").status_code == 200
        assert list_own(ann) == {}


def test_the_formats_of_an_earlier_version_are_everybodys_once_there_are_logins(tmp_path: Path) -> None:
    Platforms(tmp_path / "platforms.toml").save("Old tile", 700, 400)
    with serve_users(tmp_path) as served:
        assert list_own(served.open_client("ann")) == {"own.old_tile": (700, True, False)}


@pytest.mark.parametrize("name", ["a\u007fb", "a\u0001b", "a\ud800b"])
def test_a_name_that_no_file_can_hold_leaves_all_formats_as_they_are(tmp_path: Path, name: str) -> None:
    with serve_users(tmp_path) as served:
        ann = served.open_client("ann")
        assert save_format(ann, "Tile", 600).status_code == 200
        body = json.dumps({"name": name, "width": 600, "height": 400})
        refused = ann.post("/page/social/formats", content=body, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_REQUEST")
        assert save_format(ann, "Other", 600).status_code == 200
        assert set(list_own(ann)) == {"own.tile", "own.other"}


def test_an_export_makes_the_formats_of_its_user(tmp_path: Path) -> None:
    with serve_users(tmp_path) as served:
        ann, root = served.open_client("ann"), served.open_client("root")
        save_format(ann, "Tile", 600)
        out = io.BytesIO()
        make_ball(700, 500).save(out, "PNG")
        body = {"image": base64.b64encode(out.getvalue()).decode(), "formats": ["own.tile"]}
        job = ann.post(f"{API}/social/optimize?wait=true", json=body).json()
        assert [(one["width"], one["height"]) for one in job["images"]] == [(600, 400)]
        assert root.post(f"{API}/social/optimize", json=body).status_code == 404
