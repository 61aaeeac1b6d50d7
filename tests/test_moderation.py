"""What filters find in words and images, what the settings make of it, and that held images leave by no route."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dialect_studio import PAID, make_backend, make_png, make_store
from fakes import FakeBackend, draw_fake_image, open_engine, wait_until_final
from PIL import Image, ImageChops
from serving import RunningStudio, serve_studio
from vendor_server import ReceivedRequest, Reply, VendorServer

from studio.core.errors import ContentRefused, Forbidden, NotConfigured, NotFound
from studio.core.events import Status
from studio.core.finish import Finish, TextOverlay
from studio.core.request import GenerationRequest
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.trust import MINORS, Stage, Verdict
from studio.core.user import User
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.engine.moderation import list_texts
from studio.engine.prompt_room import PromptRoom
from studio.engine.storage.outputs import blur_image
from studio.library.changes import Change
from studio.library.database import Database
from studio.library.held_images import HELD_FOLDER
from studio.prompting.dialects import Dialect
from studio.providers.common.moderation_service import ModerationService
from studio.trust.image_filter import ImageFilter
from studio.trust.moderator import Filters
from studio.trust.words import WordFilter

API = "/api/image-studio"
ANN, ROOT = User("ann"), User("root", Role.ADMINISTRATOR)
HARMLESS = (Path(__file__).parent / "data" / "harmless_prompts.txt").read_text(encoding="utf-8").splitlines()
WORDS = WordFilter.load(Path("no such file"))


class Objecting:
    """The word lists, and a filter that objects to every image."""

    def __init__(self) -> None:
        self.seen: list[Stage] = []

    def check_texts(self, texts: Sequence[str], stage: Stage, settings: Settings) -> Verdict | None:
        return Filters(Path("no such file")).check_texts(texts, stage, settings)

    def check_image(self, image: Image.Image, stage: Stage, settings: Settings) -> Verdict | None:
        if settings.moderation == "off":
            return None
        self.seen.append(stage)
        return Verdict(category="sexual content", score=0.93, limit=0.8, stage=stage, by="The image filter")


def find(text: str) -> Verdict | None:
    return next(iter(WORDS.check([text], Stage.PROMPT)), None)


def open_moderated(root: Path, *backends: FakeBackend, moderator: Any = None, **settings: Any) -> Engine:
    lookups = Lookups(moderator=moderator or Filters(root / "words.toml"))
    return open_engine(root, *backends, lookups=lookups, **settings)


def test_three_hundred_harmless_prompts_pass() -> None:
    assert len(HARMLESS) >= 300
    assert {text: verdict for text in HARMLESS if (verdict := find(text)) is not None} == {}


@pytest.mark.parametrize(
    "text",
    [
        "porn",
        "PORN",
        "Pornographic film",
        "p o r n",
        "p.o.r.n",
        "p-o-r-n star",
        "por\u200bn",
        "pоrn",  # with a Cyrillic о
        "ρorn",  # with a Greek rho
        "ｐｏｒｎ",
        "p0rn",
        "p0rn$tar",
        "pörn",
        "(por)n",
        "po[rn:1.2]",
        "a naked woman, (nude:1.3)",
        "na(ked:1.2) and nude",
        "blow job",
        "blow\njob",
        "Titten",
        "nichons",
        "tetas",
        "порнография",
        "ПОРНО",
        "裸照",
        "セックス",
        "포르노",
        "a severed head, gore everywhere",
        "sieg heil",
        "pulsadern aufschneiden",
    ],
)
def test_words_are_found_however_they_are_spelt(text: str) -> None:
    assert find(f"photo, {text}, 4k") is not None


@pytest.mark.parametrize(
    "text",
    [
        "nude child",
        "naked 15 year old",
        "sexy 16yo",
        "topless, aged 12",
        "loli, n a k e d",
        "nackt, kleines Mädchen",
        "裸の女児",
        "голая девочка",
        "s3xy sch00lgirl",
    ],
)
def test_sexual_words_with_words_for_minors_are_found_first(text: str) -> None:
    verdict = find(text)
    assert verdict is not None
    assert verdict.category == MINORS


@pytest.mark.parametrize("mode", ["off", "warn", "blur", "block"])
def test_no_setting_allows_sexual_words_with_minors(tmp_path: Path, mode: str) -> None:
    backend = FakeBackend()
    engine = open_moderated(tmp_path, backend, moderation=mode)
    with pytest.raises(ContentRefused) as refused:
        engine.submit(GenerationRequest(prompt="a naked child"), ROOT)
    assert "No setting" in refused.value.hint
    assert backend.seen == []
    engine.close()


def test_a_negative_prompt_may_name_what_is_not_wanted(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="block")
    asked = GenerationRequest(prompt="a portrait", negative_prompt="nsfw, nude, naked, porn, child")
    assert wait_until_final(engine.submit(asked, ANN)).status is Status.FINISHED
    drawn = GenerationRequest(prompt="a {cat|cat}", negative_prompt="{nsfw|porn}")
    assert wait_until_final(engine.submit(drawn, ANN)).status is Status.FINISHED
    engine.close()


def test_words_are_looked_for_in_prompts_as_they_are_drawn(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="block")
    for prompt in ("{por}{n}", "po{r|r}n", "a {porn|porn} poster"):
        with pytest.raises(ContentRefused):
            engine.submit(GenerationRequest(prompt=prompt), ANN)
    engine.wildcards.of("ann").save("words", "hentai\n")
    with pytest.raises(ContentRefused):
        engine.submit(GenerationRequest(prompt="__words__ poster"), ANN)
    engine.close()


def test_all_texts_that_say_what_is_seen_are_looked_at() -> None:
    finish = Finish(text=(TextOverlay(text="ON THE IMAGE"),))
    step = GenerationRequest(task=Task.INPAINT, prompt="LATER", negative_prompt="not later", search="SEARCHED")
    asked = GenerationRequest(
        prompt="FIRST",
        negative_prompt="not first",
        model="a model",
        finish=finish,
        then=(step,),
        drawn=(("DRAWN", "not drawn"),),
    )
    [text] = list_texts(asked)
    assert all(word in text for word in ("LATER", "SEARCHED", "DRAWN", "ON THE IMAGE"))
    assert not any(word in text for word in ("not", "a model", "FIRST"))
    [undrawn] = list_texts(asked.replace(drawn=()))
    assert "FIRST" in undrawn


def test_each_drawn_prompt_is_judged_by_itself(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="block")
    lists = engine.wildcards.of("ann")
    lists.save("words", "a nude torso\na sexy car\n")
    asked = GenerationRequest(prompt="{@__words__}", count=2)
    assert wait_until_final(engine.submit(asked, ANN)).status is Status.FINISHED
    lists.save("words", "a nude torso, sexy\na car\n")
    with pytest.raises(ContentRefused):
        engine.submit(asked, ANN)
    engine.close()


def test_a_word_is_found_at_the_end_of_a_very_long_prompt() -> None:
    assert find("a pear, " * 100_000 + "hentai") is not None


def test_block_refuses_before_any_cost_and_says_why(tmp_path: Path) -> None:
    backend = make_backend()
    engine = open_moderated(tmp_path, backend, moderation="block")
    with pytest.raises(ContentRefused, match="The word list finds sexual content in the prompt") as refused:
        engine.submit(GenerationRequest(prompt="hentai", model=PAID.id), ANN)
    assert refused.value.details["words"] == ["hentai"]
    assert refused.value.details["score"] >= refused.value.details["limit"]
    assert (backend.seen, engine.jobs(ANN), engine.ledger.lines(None, 1)) == ([], [], [])
    [entry] = engine.audit.list_latest(1)
    assert (entry["event"], entry["user"], entry["category"]) == ("request_refused", "ann", "sexual content")
    assert "hentai" not in json.dumps(entry)
    engine.close()


def test_warn_says_so_and_shows_the_image(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="warn")
    done = wait_until_final(engine.submit(GenerationRequest(prompt="hentai"), ANN))
    assert any("sexual content" in notice for notice in done.notices)
    [asset] = done.assets
    assert any("sexual content" in note for note in asset.notes)
    assert not engine.asset(asset.id, ANN).blurred
    engine.close()


def test_off_looks_at_nothing_else(tmp_path: Path) -> None:
    moderator = Objecting()
    engine = open_moderated(tmp_path, moderator=moderator)
    done = wait_until_final(engine.submit(GenerationRequest(prompt="hentai"), ANN))
    assert (done.notices, done.assets[0].notes, moderator.seen) == ((), (), [])
    engine.close()


def test_moderation_may_differ_between_users(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="off")
    engine.submit(GenerationRequest(prompt="hentai"), ANN)
    with pytest.raises(ContentRefused):
        engine.submit(GenerationRequest(prompt="hentai"), User("bob", limits=(("moderation", "block"),)))
    engine.close()


def test_a_held_image_is_blurred_on_disk_and_its_pixels_come_back(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderator=Objecting(), moderation="blur")
    [saved] = wait_until_final(engine.submit(GenerationRequest(prompt="a pear", seed=5), ANN)).assets
    drawn = draw_fake_image(5, 64, 64)
    shown = Image.open(saved.path)
    assert shown.size == (64, 64)
    assert shown.convert("RGB").tobytes() == blur_image(drawn).tobytes() != drawn.tobytes()
    asset = engine.asset(saved.id, ANN)
    assert asset.blurred
    assert any("0.93" in note for note in asset.notes)
    with pytest.raises(Forbidden):
        engine.release(saved.id, ANN)
    released = engine.release(saved.id, ROOT)
    assert not released.blurred
    assert Image.open(saved.path).convert("RGB").tobytes() == drawn.tobytes()
    assert Image.open(engine.get_thumbnail(saved.id, ANN)).size == (64, 64)
    assert list((tmp_path / HELD_FOLDER).rglob("*.*")) == []
    with pytest.raises(NotFound):
        engine.release(saved.id, ROOT)
    assert [entry["event"] for entry in engine.audit.list_latest(2)] == ["image_released", "image_held"]
    engine.close()


def test_what_was_paid_for_is_kept_when_it_is_held(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, make_backend(), moderator=Objecting(), moderation="block")
    done = wait_until_final(engine.submit(GenerationRequest(prompt="a pear", model=PAID.id, seed=5), ANN))
    assert (done.status, len(done.assets)) == (Status.FINISHED, 1)
    engine.release(done.assets[0].id, ROOT)
    assert not engine.asset(done.assets[0].id, ANN).blurred
    engine.close()


def test_an_image_made_from_a_held_one_is_made_from_the_blurred_one(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderator=Objecting(), moderation="blur")
    [saved] = wait_until_final(engine.submit(GenerationRequest(prompt="a pear", seed=5), ANN)).assets
    kept = engine.keep_asset(saved.id, ANN)
    assert engine.open_input(kept.hash, ANN).tobytes() == blur_image(draw_fake_image(5, 64, 64)).tobytes()
    engine.close()


def test_a_held_image_that_is_removed_for_good_leaves_nothing(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderator=Objecting(), moderation="blur")
    [saved] = wait_until_final(engine.submit(GenerationRequest(prompt="a pear"), ANN)).assets
    assert len(list((tmp_path / HELD_FOLDER).rglob("*.*"))) == 2
    engine.asset_library.change_many(Change(trash=True), "ann", ids=[saved.id])
    engine.asset_library.empty_trash("ann")
    assert list((tmp_path / HELD_FOLDER).rglob("*.*")) == []
    assert engine.held.list_all() == []
    engine.close()


def test_an_index_that_is_made_anew_still_holds_images(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderator=Objecting(), moderation="blur")
    [saved] = wait_until_final(engine.submit(GenerationRequest(prompt="a pear"), ANN)).assets
    engine.held.note_appeal(saved.id, "ann", "it is a pear")
    engine.close()
    for path in tmp_path.glob("library.db*"):
        path.unlink()
    again = open_moderated(tmp_path, moderator=Objecting(), moderation="blur")
    [held] = again.held.list_all()
    assert (held.asset, held.user, held.appeal, held.verdict["score"]) == (saved.id, "ann", "it is a pear", 0.93)
    again.close()


def test_previews_are_coarse_where_images_may_be_held(tmp_path: Path) -> None:
    backend = FakeBackend(held=True)
    engine = open_moderated(tmp_path, backend, moderation="blur", preview_interval=0.1)
    job = engine.submit(GenerationRequest(prompt="a pear"), ANN)
    backend.release(1)
    while job.snapshot.preview is None:
        job.wait(job.snapshot.version, 1)
    assert max(Image.open(job.snapshot.preview).size) <= 24
    backend.release(100)
    wait_until_final(job)
    engine.close()


def test_block_refuses_uploads_and_keeps_nothing_of_them(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderator=Objecting(), moderation="block")
    with pytest.raises(ContentRefused, match="uploaded image"):
        engine.keep_image(make_png(), ANN)
    with sqlite3.connect(tmp_path / "library.db") as connection:
        assert connection.execute("SELECT count(*) FROM inputs").fetchone() == (0,)
    assert list((tmp_path / ".inputs").rglob("*.png")) == []
    engine.close()


def measure_sharpest_step(image: Image.Image) -> int:
    """The greatest difference between two pixels side by side."""
    return max(
        high
        for _, high in ImageChops.difference(image, ImageChops.offset(image, 1, 0))
        .crop((1, 0, *image.size))
        .getextrema()
    )


@contextmanager
def serve_objecting(folder: Path) -> Iterator[RunningStudio]:
    """A studio with users that blurs every image."""
    with serve_studio(
        folder,
        users=True,
        backend=make_backend(),
        models=make_store(folder / "models"),
        default_model="fake",
        moderation="blur",
    ) as served:
        served.studio.engine.moderation._moderator = Objecting()
        yield served


def test_no_route_lets_a_held_image_out(tmp_path: Path) -> None:
    """The page, the API and the dialects give the blurred file, in every form in which they give any."""
    drawn = draw_fake_image(5, 64, 64)
    with serve_objecting(tmp_path) as served:
        ann = served.open_client("ann")
        made = ann.post(f"{API}/create?wait=true", json={"prompt": "a pear", "seed": 5}).json()
        [image] = made["images"]
        assert image["blurred"] is True
        files = [ann.get(f"{API}/images/{image['id']}").content, ann.get(f"{API}/assets/{image['id']}/file").content]
        result = ann.get(f"{API}/jobs/{made['jobId']}/result").json()["images"][0]
        files.append(base64.b64decode(result["imageData"]))
        archive = zipfile.ZipFile(io.BytesIO(ann.get(f"{API}/jobs/{made['jobId']}/zip").content))
        files += [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
        a1111 = ann.post("/sdapi/v1/txt2img", json={"prompt": "a pear", "seed": 5, "width": 64, "height": 64}).json()
        files.append(base64.b64decode(a1111["images"][0]))
        openai = ann.post("/v1/images/generations", json={"prompt": "a pear", "response_format": "b64_json"}).json()
        files.append(base64.b64decode(openai["data"][0]["b64_json"]))
        assert len(files) == 6
        for data in files:
            shown = Image.open(io.BytesIO(data)).convert("RGB")
            assert measure_sharpest_step(shown) < 100 < measure_sharpest_step(drawn)
        assert ann.get(f"{API}/assets/{image['id']}").json()["blurred"] is True


def test_users_appeal_and_administrators_decide_over_http(tmp_path: Path) -> None:
    with serve_objecting(tmp_path) as served:
        ann, bob, root = (served.open_client(name) for name in ("ann", "bob", "root"))
        made = ann.post(f"{API}/create?wait=true", json={"prompt": "a pear", "seed": 5}).json()
        path = f"{API}/moderation/held/{made['images'][0]['id']}"
        [held] = ann.get(f"{API}/moderation/held").json()["images"]
        assert held["verdict"]["category"] == "sexual content"
        assert bob.get(f"{API}/moderation/held").json()["images"] == []
        assert bob.get(f"{API}/moderation/held?everybody=true").status_code == 403
        assert bob.post(f"{path}/appeal", json={"text": "mine"}).status_code == 404
        assert ann.post(f"{path}/appeal", json={"text": "it is a pear"}).status_code == 200
        assert (ann.post(f"{path}/release").status_code, ann.get(f"{path}/original").status_code) == (403, 403)
        [shown] = root.get(f"{API}/moderation/held?everybody=true").json()["images"]
        assert (shown["user"], shown["appeal"]) == ("ann", "it is a pear")
        original = Image.open(io.BytesIO(root.get(f"{path}/original").content))
        assert original.convert("RGB").tobytes() == draw_fake_image(5, 64, 64).tobytes()
        assert root.post(f"{path}/release").json()["blurred"] is False
        assert Image.open(io.BytesIO(ann.get(made["images"][0]["url"]).content)).tobytes() == original.tobytes()
        assert root.post(f"{path}/release").status_code == 404


def test_a_language_models_answer_is_looked_at(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="block")

    class Writing:
        model, paid = "a model", False

        def stream(self, *_: Any, **__: Any) -> Any:
            yield '{"prompt": "a hentai poster"}'

    chat: Any = Writing()
    room = PromptRoom(chat, engine.ledger, lambda: engine._settings.current, engine.check_answer)
    with pytest.raises(ContentRefused, match="chat answer"):
        list(room.rewrite("a poster", Dialect.SENTENCES, ANN, bool))
    engine.close()


def test_own_lists_add_words_and_take_ours_away(tmp_path: Path) -> None:
    own = tmp_path / "words.toml"
    filters, settings = Filters(own), Settings(moderation="block")
    assert filters.check_texts(["a zeppelin"], Stage.PROMPT, settings) is None
    assert filters.check_texts(["hentai"], Stage.PROMPT, settings) is not None
    own.write_text(
        '[sexual]\nwithout = ["hentai"]\n[aircraft]\ntitle = "aircraft"\n[aircraft.strong]\nen = ["zeppelin*"]\n'
    )
    found = filters.check_texts(["two zeppelins"], Stage.PROMPT, settings)
    assert found is not None
    assert found.category == "aircraft"
    assert filters.check_texts(["hentai"], Stage.PROMPT, settings) is None
    own.write_text("[sexual\n")
    with pytest.raises(NotConfigured, match=r"words\.toml"):
        WordFilter.load(own)


@pytest.mark.skipif(not ImageFilter().is_there, reason="the image filter is not installed")
def test_the_image_filter_passes_plain_images() -> None:
    settings = Settings(moderation="block")
    filters = Filters(Path("no such file"))
    for image in (draw_fake_image(1, 256, 256), Image.new("RGBA", (64, 300)), Image.new("L", (5, 5), 200)):
        assert filters.check_image(image, Stage.IMAGE, settings) is None
    low = settings.replace(moderation_limit=0.05)
    assert 0 <= ImageFilter().score(draw_fake_image(1, 256, 256)) < low.moderation_limit * 20


def test_without_the_image_filter_words_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.trust.image_filter.find_spec", lambda name: None)
    filters = Filters(tmp_path / "words.toml")
    settings = Settings(moderation="block")
    assert filters.check_image(draw_fake_image(1, 64, 64), Stage.IMAGE, settings) is None
    assert filters.check_texts(["hentai"], Stage.PROMPT, settings) is not None


def test_a_library_of_an_earlier_version_gets_the_new_tables(tmp_path: Path) -> None:
    Database(tmp_path / "library.db").close()
    with sqlite3.connect(tmp_path / "library.db") as connection:
        connection.execute("DROP TABLE held")
        connection.execute("DROP TABLE usage")
        version = connection.execute("PRAGMA user_version").fetchone()
    engine = open_moderated(tmp_path, moderator=Objecting(), moderation="blur")
    wait_until_final(engine.submit(GenerationRequest(prompt="a pear"), ANN))
    assert (engine.usage.count_images_today("ann"), len(engine.held.list_all("ann"))) == (1, 1)
    engine.close()
    with sqlite3.connect(tmp_path / "library.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == version


def answer_moderation(seen: ReceivedRequest) -> Reply:
    """As the service: flags what is told so by its text."""
    [*_, last] = seen.json["input"]
    flagged = last["type"] == "image_url" or "flag me" in last["text"]
    result = {
        "flagged": flagged,
        "categories": {"violence": flagged, "sexual": False},
        "category_scores": {"violence": 0.91 if flagged else 0.01, "sexual": 0.7},
    }
    return Reply(body={"id": "modr-1", "model": seen.json["model"], "results": [result]})


def test_the_service_is_asked_only_where_the_settings_say_so_and_stops_nobody_when_it_fails() -> None:
    server = VendorServer(answer_moderation)
    service = ModerationService(lambda: "sk-secret", lambda: f"{server.url}/v1")
    filters = Filters(Path("no such file"), service.check)
    silent, asking = Settings(moderation="block"), Settings(moderation="block", moderation_openai=True)
    assert filters.check_texts(["flag me"], Stage.PROMPT, silent) is None
    assert filters.check_texts(["flag me"], Stage.PROMPT, Settings(moderation_openai=True)) is None
    assert server.seen == []
    found = filters.check_texts(["flag me"], Stage.PROMPT, asking)
    assert found is not None
    assert (found.category, found.score) == ("violence", 0.91)
    assert filters.check_texts(["a pear"], Stage.PROMPT, asking) is None
    picture = filters.check_image(draw_fake_image(1, 64, 64), Stage.IMAGE, asking)
    assert picture is not None
    assert server.seen[-1].path == "/v1/moderations"
    assert server.seen[-1].headers["Authorization"] == "Bearer sk-secret"
    server.fail(Reply(status=500), times=4)
    assert filters.check_texts(["flag me"], Stage.PROMPT, asking) is None
    server.close()


def test_without_a_key_the_service_is_passed_over() -> None:
    def raise_no_key() -> str:
        raise NotConfigured("No key.")

    filters = Filters(Path("no such file"), ModerationService(raise_no_key, lambda: "http://127.0.0.1:9/v1").check)
    assert filters.check_texts(["a pear"], Stage.PROMPT, Settings(moderation="block", moderation_openai=True)) is None
