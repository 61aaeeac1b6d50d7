"""Files that version 0.1 wrote open in this one.

tests/data/version_0_1 was written by that version itself, which was killed while two jobs waited. It called an image a
"picture" in recipes.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.metadata.image_info import read_image_info
from studio.engine.settings_store import SettingsStore
from studio.engine.studio import Studio
from studio.library.database import Database
from studio.wiring import build_studio

WRITTEN = Path(__file__).parent / "data" / "version_0_1"
MODELS = Path(__file__).parent.parent / "models"
SOURCE = "2598f91038e8e905ef09a92538338957173b8e253978450baaa09d4ecf580917"
LOGO = "51e8884acadb3c5b7dbcf3de4ef739e92794c41379fb210a3598d6e6617c6007"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the old version left, laid out as it does."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "outputs" / "inputs").rename(tmp_path / "outputs" / ".inputs")
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> SettingsStore:
    flags = {"outputs_dir": folder / "outputs", "models_dir": MODELS, "logs_dir": folder / "logs"}
    return SettingsStore.load(folder / "config.json", {}, {name: str(path) for name, path in flags.items()})


@pytest.fixture
def studio(settings: SettingsStore) -> Studio:
    """The studio on those files; nothing runs, so that waiting jobs stay as they are."""
    return build_studio(settings)


def test_settings_are_as_they_were(settings: SettingsStore) -> None:
    current = settings.current
    assert (current.preview_side, current.output_quality) == (256, 88)
    assert current.filename_pattern == "{date}/{seed}-{prompt}" != Settings().filename_pattern
    assert not settings.notices


def test_images_are_listed_with_their_recipes(studio: Studio, folder: Path) -> None:
    assets = {asset.path.name: asset for asset in studio.engine.assets(LOCAL_USER)}
    assert set(assets) == {path.name for path in (folder / "outputs" / "2026-11-29").iterdir()}
    fox = assets["3-a-fox.png"].request
    assert (fox.prompt, fox.seed, fox.steps, fox.control[0].image) == ("a fox", 3, 2, SOURCE)
    apple = assets["7-a-red-apple.png"].request
    assert apple.prompt == "a red apple"
    assert apple.then[0].finish.watermark.image == LOGO  # type: ignore[union-attr]
    crop = assets["3419670138--instagram-feed_square.jpg"].request.social
    assert crop is not None
    assert [each.format for each in crop.crops] == ["instagram.feed_square"]


def test_old_images_are_searched_as_new_ones(studio: Studio) -> None:
    found = studio.engine.asset_library.list_assets("fox model:embedded is:made", LOCAL_USER.name)
    assert [(asset.prompt, asset.seed, asset.task) for asset in found.assets] == [("a fox", 3, "txt2img")]
    assert studio.engine.asset_library.count_facets("", LOCAL_USER.name)["task"]


def test_a_recipe_inside_an_image_is_read(folder: Path) -> None:
    info = read_image_info(folder / "outputs" / "2026-11-29" / "3-a-fox.png", Settings())
    assert info.request is not None
    assert info.request.control[0].image == SOURCE


def test_waiting_jobs_are_taken_up(studio: Studio) -> None:
    studio.engine.start()
    try:
        waiting = [job for job in studio.engine.jobs(LOCAL_USER) if job.request.prompt.startswith("a slow dog")]
        assert sorted(job.request.prompt for job in waiting) == ["a slow dog 0", "a slow dog 1"]
        assert all(job.request.control[0].image == SOURCE and not job.snapshot.status.is_final for job in waiting)
        for job in waiting:
            studio.engine.cancel(job.id, LOCAL_USER)
    finally:
        studio.engine.close(drain=0)


def test_chains_formats_and_templates_are_there(studio: Studio) -> None:
    (step,) = studio.engine.chains.steps(LOCAL_USER.name, "logo")
    assert step.finish is not None
    assert step.finish.watermark is not None
    assert step.finish.watermark.image == LOGO
    assert studio.social is not None
    assert studio.social.platforms.format("own.shop_tile").width == 600
    template = studio.social.templates.of(LOCAL_USER.name).get_template("own_mine")
    assert (template.frame, template.models) == ("a poster of {subject}", ("embedded",))


def test_old_names_are_read_but_not_beside_new_ones() -> None:
    box = {"left": 0.0, "top": 0.0, "right": 0.5, "bottom": 0.5}
    old = {"format": "a.b", "box": box, "picture": SOURCE}
    asked = {"task": "social", "social": {"formats": ["a.b"], "crops": [old]}, "references": [{"picture": LOGO}]}
    request = GenerationRequest.from_json(asked)
    assert request.social is not None
    assert (request.social.crops[0].image, request.references[0].image) == (SOURCE, LOGO)
    both = {**asked, "references": [{"picture": LOGO, "image": SOURCE}]}
    with pytest.raises(InvalidRequest, match="picture"):
        GenerationRequest.from_json(both)


def test_a_library_of_version_6_takes_credentials(tmp_path: Path) -> None:
    file = tmp_path / "library.db"
    Database(file).close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE inputs DROP COLUMN credentials")
        connection.execute("INSERT INTO inputs (hash, user, width, height, created) VALUES ('a', 'ann', 1, 1, 0)")
        connection.execute("PRAGMA user_version = 6")
        connection.commit()
    opened = Database(file)
    assert [bytes(row["credentials"]) for row in opened.rows("SELECT credentials FROM inputs")] == [b""]
    opened.close()
