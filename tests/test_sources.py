"""Images that requests work on: kept once, each user's own, refused early when they do not fit."""

from __future__ import annotations

import dataclasses
import io
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, draw_fake_image, open_engine, wait_until_final
from PIL import Image

from studio.core.errors import BadImage, InvalidRequest, NotFound
from studio.core.events import Status
from studio.core.finish import Derivative, Finish, OutputOptions, Upscale
from studio.core.model import Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Inpaint, Reference
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.metadata.embed import read_metadata
from studio.engine.storage.index_rebuild import rebuild_index
from studio.library.database import Database

ANN = User("ann")
PAINTER = dataclasses.replace(FAKE_MODEL, tasks=frozenset(set(Task) - {Task.FINISH, Task.UPSCALE}))


class Tools:
    """An upscaler that doubles and a finisher that writes derivatives, as backends of other lanes."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.seen: list[GenerationRequest] = []

    def models(self) -> Sequence[Model]:
        return (
            Model(
                id="upscaler/Double",
                title="Double",
                family="upscaler",
                tasks=frozenset({Task.UPSCALE}),
                features=frozenset(),
            ),
            Model(
                id="finish",
                title="Finish",
                family="finish",
                lane="tools",
                tasks=frozenset({Task.FINISH}),
                features=frozenset(),
            ),
        )

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        import threading

        self.threads.append(threading.current_thread().name)
        self.seen.append(request)
        assert request.source is not None
        image = ctx.load_image(request.source)
        ctx.report_progress(1, 1)
        if request.task is Task.UPSCALE:
            return [RenderedImage(image=image.resize((image.width * 2, image.height * 2))) for _ in seeds]
        assert request.finish is not None
        return [
            RenderedImage(
                image=image.resize((one.width or 8, one.height or 8)),
                label=f"{one.width}",
                file=one.file,
                request=request.replace(finish=dataclasses.replace(request.finish, derivatives=(one,))),
            )
            for one in request.finish.derivatives
        ]

    def close(self) -> None: ...


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def painter() -> FakeBackend:
    return FakeBackend(PAINTER)


@pytest.fixture
def engine(tmp_path: Path, painter: FakeBackend, tools: Tools) -> Iterator[Engine]:
    engine = open_engine(tmp_path, painter, tools)
    yield engine
    engine.close()


def ask(engine: Engine, **fields: object) -> tuple[Status, list[Path]]:
    job = engine.submit(GenerationRequest(**fields), LOCAL_USER)  # type: ignore[arg-type]
    last = wait_until_final(job)
    assert last.error is None, last.error
    return last.status, [asset.path for asset in last.assets]


def test_a_image_is_kept_once_and_belongs_to_its_user(engine: Engine, tmp_path: Path) -> None:
    image = draw_fake_image(1, 40, 24)
    kept = engine.keep_image(image, ANN)
    assert engine.keep_image(image.copy(), ANN) == kept
    assert (kept.width, kept.height) == (40, 24)
    assert Image.open(engine.get_kept_file(kept.hash, ANN)).tobytes() == image.tobytes()
    assert len(list((tmp_path / ".inputs").rglob("*.png"))) == 1
    with pytest.raises(NotFound):
        engine.get_input(kept.hash, LOCAL_USER)
    with pytest.raises(NotFound):
        engine.get_kept_file("../../library.db", ANN)
    engine.keep_image(image, LOCAL_USER)
    assert engine.get_input(kept.hash, LOCAL_USER).hash == kept.hash


def test_what_is_no_image_is_refused(engine: Engine, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("this is no image")
    with pytest.raises(BadImage):
        engine.keep_image(text, LOCAL_USER)
    with pytest.raises(BadImage):
        engine.keep_image(draw_fake_image(1, 8, 8).convert("CMYK"), LOCAL_USER)


def test_the_backend_gets_the_very_pixels_and_the_size_follows_the_source(engine: Engine, painter: FakeBackend) -> None:
    kept = engine.keep_image(draw_fake_image(1, 100, 52), LOCAL_USER)
    _, paths = ask(engine, task=Task.IMG2IMG, model="fake", source=kept.hash, strength=0.5)
    assert painter.seen[0][0].source == kept.hash
    assert Image.open(paths[0]).size == (96, 48)
    assert "Denoising strength: 0.5" in read_metadata(paths[0]).infotext


def test_a_result_knows_the_whole_chain_that_made_it(engine: Engine) -> None:
    first = engine.submit(GenerationRequest(model="fake", prompt="a fox", seed=5), LOCAL_USER)
    [one] = wait_until_final(first).assets
    kept = engine.keep_asset(one.id, LOCAL_USER)
    second = engine.submit(
        GenerationRequest(task=Task.IMG2IMG, model="fake", prompt="a red fox", source=kept.hash), LOCAL_USER
    )
    [two] = wait_until_final(second).assets
    assert two.parents == (one.id,)
    assert [request.prompt for request in two.history] == ["a fox"]
    uploaded = engine.keep_image(two.path, ANN)  # the file alone tells another user's studio the same
    assert [request.prompt for request in uploaded.history] == ["a fox", "a red fox"]
    assert engine.library.get(two.id, "local") == two
    assert rebuild_index(engine.library) == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"task": Task.IMG2IMG}, "No image for img2img"),
        ({"task": Task.INPAINT, "source": "IMAGE"}, "No mask"),
        ({"task": Task.INPAINT, "source": "IMAGE", "mask": "SMALL"}, "The mask is 16×16, the image 32×32"),
        ({"task": Task.INPAINT, "source": "IMAGE", "mask": "BLACK"}, "mask is empty"),
        ({"task": Task.INPAINT, "source": "IMAGE", "mask": "WHITE", "inpaint": Inpaint(invert=True)}, "mask is empty"),
        ({"task": Task.IMG2IMG, "source": "IMAGE", "batch": ("IMAGE",)}, "a source and a batch"),
        ({"task": Task.TXT2IMG, "control": (ControlUnit(model="x"),)}, "control unit has no image"),
        ({"task": Task.IMG2IMG, "source": "IMAGE", "references": (Reference(),)}, "reference image is missing"),
        ({"task": Task.SEARCH_REPLACE, "source": "IMAGE"}, "Nothing to search for"),
        ({"task": Task.STYLE_TRANSFER, "source": "IMAGE"}, "No style image"),
        ({"task": Task.PREPROCESS, "source": "IMAGE"}, "exactly one control unit"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(engine: Engine, fields: dict[str, object], says: str) -> None:
    images = {
        "IMAGE": draw_fake_image(1, 32, 32),
        "SMALL": Image.new("L", (16, 16), 255),
        "BLACK": Image.new("L", (32, 32)),
        "WHITE": Image.new("L", (32, 32), 255),
    }
    names = {name: engine.keep_image(image, LOCAL_USER).hash for name, image in images.items()}
    for field in ("source", "mask"):
        if field in fields:
            fields[field] = names[str(fields[field])]
    if "batch" in fields:
        fields["batch"] = (names["IMAGE"],)
    with pytest.raises(InvalidRequest, match=says):
        engine.submit(GenerationRequest(model="fake", **fields), LOCAL_USER)  # type: ignore[arg-type]


def test_a_image_of_another_user_cannot_be_named(engine: Engine) -> None:
    theirs = engine.keep_image(draw_fake_image(1, 32, 32), ANN)
    with pytest.raises(NotFound):
        engine.submit(GenerationRequest(task=Task.IMG2IMG, model="fake", source=theirs.hash), LOCAL_USER)


def test_a_batch_makes_count_images_of_each_source(engine: Engine, painter: FakeBackend) -> None:
    names = tuple(engine.keep_image(draw_fake_image(seed, 32, 32), LOCAL_USER).hash for seed in (1, 2))
    _, paths = ask(engine, task=Task.IMG2IMG, model="fake", batch=names, count=2, seed=7)
    assert len(paths) == 4
    assert [(request.source, seeds[0].seed) for request, seeds in painter.seen] == [
        (names[0], 7),
        (names[0], 8),
        (names[1], 9),
        (names[1], 10),
    ]


def test_a_chain_runs_each_step_where_it_belongs_and_fans_out_at_its_end(
    engine: Engine, tools: Tools, painter: FakeBackend
) -> None:
    wish = Finish(
        derivatives=(
            Derivative(width=16, height=16),
            Derivative(width=24, height=12, file=OutputOptions(format="jpeg", quality=80)),
        )
    )
    steps = (
        GenerationRequest(task=Task.UPSCALE, upscale=Upscale(scale=2)),
        GenerationRequest(task=Task.FINISH, finish=wish),
    )
    job = engine.submit(GenerationRequest(model="fake", prompt="x", seed=3, count=2, then=steps), LOCAL_USER)
    assets = wait_until_final(job).assets
    assert [(asset.width, asset.height, asset.path.suffix, asset.seed, asset.label) for asset in assets] == [
        (16, 16, ".png", 3, "16"),
        (24, 12, ".jpg", 3, "24"),
        (16, 16, ".png", 4, "16"),
        (24, 12, ".jpg", 4, "24"),
    ]
    assert all(name.startswith("lane gpu") for name in tools.threads)
    assert [request.task for request in tools.seen] == [Task.UPSCALE, Task.FINISH] * 2
    again = engine.submit(assets[1].request, LOCAL_USER)  # asks for that one file alone
    [same] = wait_until_final(again).assets
    assert same.path.read_bytes()[-500:] == assets[1].path.read_bytes()[-500:]
    assert "Postprocess upscale by: 2, Postprocess upscaler: Double" in assets[0].infotext
    assert assets[0].path.stem.endswith("-16")


def test_tools_alone_run_beside_the_gpu(engine: Engine, tools: Tools) -> None:
    kept = engine.keep_image(draw_fake_image(1, 32, 32), LOCAL_USER)
    status, [path] = ask(
        engine, task=Task.FINISH, source=kept.hash, finish=Finish(derivatives=(Derivative(width=8, height=8),))
    )
    assert status is Status.FINISHED
    assert tools.threads[0].startswith("lane tools")
    assert Image.open(path).size == (8, 8)
    assert engine.model("", Task.FINISH).id == "finish"


def test_a_gpu_step_behind_a_cloud_image_runs_in_the_gpu_lane(tmp_path: Path, tools: Tools) -> None:
    cloud = FakeBackend(dataclasses.replace(FAKE_MODEL, id="cloud", lane="service"))
    engine = open_engine(tmp_path, cloud, tools)
    step = GenerationRequest(task=Task.UPSCALE, upscale=Upscale(scale=2))
    last = wait_until_final(engine.submit(GenerationRequest(model="cloud", then=(step,)), LOCAL_USER))
    engine.close()
    assert last.status is Status.FINISHED
    assert (last.assets[0].width, tools.threads[0].startswith("lane gpu")) == (128, True)


def test_a_chain_that_cannot_be_is_refused_at_once(engine: Engine) -> None:
    kept = engine.keep_image(draw_fake_image(1, 32, 32), LOCAL_USER)
    with pytest.raises(InvalidRequest, match="Step 1 of the chain"):
        engine.submit(
            GenerationRequest(model="fake", then=(GenerationRequest(task=Task.UPSCALE, model="finish"),)), LOCAL_USER
        )
    two = Finish(derivatives=(Derivative(width=8), Derivative(width=9)))
    several = GenerationRequest(task=Task.FINISH, finish=two)
    with pytest.raises(InvalidRequest, match="not the last step"):
        GenerationRequest(then=(several, several))
    with pytest.raises(InvalidRequest, match="source"):
        GenerationRequest(then=(GenerationRequest(task=Task.UPSCALE, source=kept.hash),))


def test_a_library_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    Database(path).close()
    connection = sqlite3.connect(path)
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if not table.startswith("sqlite_") and table not in ("jobs", "timings"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.executescript(
        "CREATE TABLE pictures (id TEXT PRIMARY KEY, job_id TEXT NOT NULL, user TEXT NOT NULL, number INTEGER NOT NULL,"
        " state TEXT NOT NULL, path TEXT UNIQUE, digest TEXT NOT NULL DEFAULT '', width INTEGER NOT NULL DEFAULT 0,"
        " height INTEGER NOT NULL DEFAULT 0, seed INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL DEFAULT 0,"
        " request TEXT NOT NULL DEFAULT '{}', infotext TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '[]',"
        " parents TEXT NOT NULL DEFAULT '[]', UNIQUE (job_id, number)); PRAGMA user_version = 1;"
        "INSERT INTO pictures (id, job_id, user, number, state, path, request) VALUES"
        " ('a-0', 'a', 'local', 0, 'done', 'a.png', '{\"prompt\": \"a fox\"}')"
    )
    connection.close()
    database = Database(path)
    assert not database.fresh
    (row,) = database.rows("SELECT * FROM assets JOIN recipes USING (seq)")
    assert (row["id"], row["prompt"], row["history"], row["label"], row["source_type"]) == (
        "a-0",
        "a fox",
        "[]",
        "",
        "",
    )
    assert database.rows("SELECT * FROM inputs") == []
    database.close()


def test_black_paint_on_a_clear_mask_is_a_mask(engine: Engine) -> None:
    source = engine.keep_image(draw_fake_image(1, 32, 32), LOCAL_USER).hash
    paint = Image.new("RGBA", (32, 32))
    paint.paste((0, 0, 0, 255), (8, 8, 16, 16))
    mask = engine.keep_image(paint, LOCAL_USER).hash
    events, paths = ask(engine, task=Task.INPAINT, model="fake", source=source, mask=mask)
    assert len(paths) == 1, events


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_a_source_of_several_frames_says_that_the_first_was_taken(engine: Engine, kind: str) -> None:
    frames = [draw_fake_image(seed, 32, 32) for seed in (1, 2, 3)]
    for several in (True, False):
        out = io.BytesIO()
        frames[0].save(out, kind, **({"save_all": True, "append_images": frames[1:]} if several else {}))
        kept = engine.keep_image(out.getvalue(), LOCAL_USER)
        job = engine.submit(GenerationRequest(task=Task.FINISH, model="finish", source=kept.hash), LOCAL_USER)
        snapshot = wait_until_final(job)
        told = [text for text in snapshot.notices if "first" in text]
        assert told == ([kept.notice] if several else [])
        assert bool(told) == several


@pytest.fixture
def painting(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(tmp_path, FakeBackend(PAINTER))
    yield engine
    engine.close()


def _keep(engine: Engine, *sizes: tuple[int, int]) -> list[str]:
    return [engine.keep_image(draw_fake_image(k, *size), LOCAL_USER).hash for k, size in enumerate(sizes)]


def test_no_two_sources_of_a_folder_get_the_same_noise(painting: Engine) -> None:
    sources = _keep(painting, (64, 64), (64, 64), (64, 64))
    request = GenerationRequest(model="fake", task=Task.IMG2IMG, prompt="a fox", batch=tuple(sources), count=2, seed=10)
    assets = wait_until_final(painting.submit(request, LOCAL_USER)).assets
    assert [asset.seed for asset in sorted(assets, key=lambda asset: asset.index)] == [10, 11, 12, 13, 14, 15]
    again = wait_until_final(painting.submit(assets[3].request, LOCAL_USER)).assets[0]
    assert (again.seed, again.request.source) == (assets[3].seed, assets[3].request.source)


def test_a_rounded_size_is_told(painting: Engine) -> None:
    [source] = _keep(painting, (101, 77))
    request = GenerationRequest(model="fake", task=Task.IMG2IMG, prompt="a fox", source=source, seed=1)
    [asset] = wait_until_final(painting.submit(request, LOCAL_USER)).assets
    [note] = [note for note in asset.notes if "101×77 px" in note]
    assert f"{asset.request.width}×{asset.request.height} px" in note
    assert (asset.request.width, asset.request.height) != (101, 77)


def test_a_size_that_is_kept_or_asked_for_is_not_told(painting: Engine) -> None:
    even, odd = _keep(painting, (128, 64), (101, 77))
    mask = painting.keep_image(Image.new("L", (101, 77), 255), LOCAL_USER).hash
    request = GenerationRequest(model="fake", task=Task.IMG2IMG, prompt="a fox", seed=1)
    for one in (
        request.replace(source=even),
        request.replace(source=odd, width=128, height=128),
        request.replace(source=odd, task=Task.INPAINT, mask=mask),
    ):
        [asset] = wait_until_final(painting.submit(one, LOCAL_USER)).assets
        assert asset.notes == ()
