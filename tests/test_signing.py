"""Saved files carry signed credentials of what was done to them, and nothing else changes."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FAKE_MODEL, FakeBackend, draw_fake_image, open_engine, wait_until_final
from PIL import Image
from signed_images import KINDS, list_actions, make_asset, make_file, move_png_credentials, read_store
from test_source_type import ANY, CAPTURED, EDITED, ENHANCED, GENERATED, RESIZED, SHARP, UPSCALER, camera_jpeg

from studio.core.errors import NotFound
from studio.core.events import Status
from studio.core.finish import Box, Derivative, Finish, MetadataPolicy, OutputOptions, TextOverlay, Upscale, Watermark
from studio.core.provenance import CredentialState, SigningOrder, has_credentials
from studio.core.request import GenerationRequest, Outpaint
from studio.core.request_parts import Axis, Reference
from studio.core.result import Asset, RenderedImage
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.engine.metadata.embed import read_metadata
from studio.engine.storage import outputs
from studio.engine.storage.asset_feed import FedFile
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.trust import identity
from studio.trust.sign import Credentials

SECRET = "zebra-secret"
DRAWN = GenerationRequest(prompt=SECRET, model="fake", seed=1)
ENLARGED = GenerationRequest(task=Task.UPSCALE, model="upscaler/Sharp", upscale=Upscale(scale=2))
EDIT = GenerationRequest(task=Task.EDIT, model="any", prompt="a hat")


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path / "user" / "trust")


@pytest.fixture
def engine(tmp_path: Path, credentials: Credentials) -> Iterator[Engine]:
    opened = open_signing_engine(tmp_path, credentials)
    yield opened
    opened.close(drain=1)


def open_signing_engine(tmp_path: Path, credentials: Credentials, **settings: Any) -> Engine:
    return open_engine(
        tmp_path / "outputs",
        FakeBackend(FAKE_MODEL, ANY, UPSCALER, SHARP),
        FinishingBackend(Fonts(tmp_path / "fonts")),
        lookups=Lookups(credentials=credentials),
        **{"sign": "on", **settings},
    )


def make(engine: Engine, request: GenerationRequest, user: User = LOCAL_USER) -> Asset:
    snapshot = wait_until_final(engine.submit(request, user))
    assert snapshot.status is Status.FINISHED, snapshot.error
    return snapshot.assets[-1]


def work_on(engine: Engine, asset: Asset, request: GenerationRequest) -> Asset:
    return make(engine, request.replace(source=engine.keep_asset(asset.id, LOCAL_USER).hash))


def work_on_upload(engine: Engine, data: bytes, request: GenerationRequest, user: User = LOCAL_USER) -> Asset:
    return make(engine, request.replace(source=engine.keep_image(data, user).hash), user)


def check(asset: Asset, credentials: Credentials) -> dict[str, Any]:
    """The file's manifest store; the file is valid, trusted with our root, and says nothing against it."""
    kind = {".jpg": "jpeg"}.get(asset.path.suffix, asset.path.suffix[1:])
    plain = read_store(asset.path.read_bytes(), kind)
    assert plain["validation_state"] == "Valid", plain["validation_results"]
    store = read_store(asset.path.read_bytes(), kind, credentials.get_root())
    assert store["validation_state"] == "Trusted"
    assert store["validation_results"]["activeManifest"]["failure"] == []
    assert not [note for note in asset.notes if "igned" in note or "redentials" in note]
    return store


def name_actions(store: dict[str, Any]) -> list[str]:
    return [action["action"].removeprefix("c2pa.") for action in list_actions(store)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_image_is_signed_as_created_and_nothing_else_changes(
    tmp_path: Path, credentials: Credentials, kind: str
) -> None:
    engines = [
        open_signing_engine(tmp_path / name, credentials, sign=name, output_format=kind) for name in ("on", "off")
    ]
    signed, plain = (make(engine, DRAWN) for engine in engines)
    store = check(signed, credentials)
    (created,) = list_actions(store)
    assert (created["action"], created["digitalSourceType"], created["softwareAgent"]) == (
        "c2pa.created",
        GENERATED,
        {"name": "fake"},
    )
    with Image.open(signed.path) as one, Image.open(plain.path) as other:
        assert one.tobytes() == other.tobytes()
    told, expected = read_metadata(signed.path), read_metadata(plain.path)
    assert (told.infotext, told.source_type) == (expected.infotext, expected.source_type)
    assert told.recipe is not None
    assert expected.recipe is not None
    assert told.recipe["request"] == expected.recipe["request"]
    added = signed.path.stat().st_size - plain.path.stat().st_size
    assert 0 < added <= 6_000
    assert not (tmp_path / "off" / "user").exists()
    for engine in engines:
        engine.close(drain=1)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_edits_upscaling_and_an_export_stay_valid_with_the_whole_past(
    tmp_path: Path, credentials: Credentials, kind: str
) -> None:
    engine = open_signing_engine(tmp_path, credentials, output_format=kind)
    asset = make(engine, DRAWN)
    for number in range(10):
        asset = work_on(engine, asset, EDIT.replace(seed=number))
        store = check(asset, credentials)
        assert name_actions(store) == ["opened", "edited"]
        assert list_actions(store)[1]["digitalSourceType"] == GENERATED
        assert len(store["manifests"]) == number + 2
    larger = work_on(
        engine, asset, GenerationRequest(task=Task.UPSCALE, model="upscaler/Sharp", upscale=Upscale(scale=2))
    )
    assert name_actions(check(larger, credentials)) == ["opened", "resized"]
    derivative = Derivative(width=40, height=20, crop=True, file=OutputOptions(format=kind, keep=MetadataPolicy.MARKER))
    exported = work_on(engine, larger, GenerationRequest(task=Task.FINISH, finish=Finish(derivatives=(derivative,))))
    store = check(exported, credentials)
    assert name_actions(store) == ["opened", "cropped", "resized"]
    assert len(store["manifests"]) == 13
    engine.close(drain=1)


def test_steps_of_one_job_are_actions_of_one_manifest(engine: Engine, credentials: Credentials) -> None:
    finish = Finish(
        crop=Box(right=0.9), width=32, text=(TextOverlay(text="Sale"),), watermark=Watermark(text="x", size=0.2)
    )
    store = check(make(engine, DRAWN.replace(then=(ENLARGED, RESIZED.replace(finish=finish)))), credentials)
    assert name_actions(store) == ["created", "resized", "cropped", "resized", "edited"]
    assert list_actions(store)[1]["digitalSourceType"] == ENHANCED
    assert len(store["manifests"]) == 1


@pytest.mark.parametrize(
    ("request_", "names", "source_type"),
    [
        (RESIZED, ["opened", "resized"], None),
        (EDIT, ["opened", "edited"], EDITED),
        (GenerationRequest(task=Task.OUTPAINT, model="any", outpaint=Outpaint(left=32)), ["opened", "edited"], EDITED),
        (GenerationRequest(task=Task.REMOVE_BACKGROUND, model="any"), ["opened", "edited"], ENHANCED),
        (
            GenerationRequest(task=Task.UPSCALE, model="upscaler/Lanczos", upscale=Upscale(scale=2)),
            ["opened", "resized"],
            None,
        ),
        (GenerationRequest(task=Task.SKETCH, model="any", prompt="x"), ["created"], GENERATED),
    ],
)
def test_a_photograph_that_is_worked_on_is_opened_and_never_said_to_be_created(
    engine: Engine, credentials: Credentials, request_: GenerationRequest, names: list[str], source_type: str | None
) -> None:
    store = check(work_on_upload(engine, camera_jpeg(), request_), credentials)
    assert name_actions(store) == names
    assert list_actions(store)[-1].get("digitalSourceType") == source_type


def test_what_a_file_says_is_signed_only_where_it_says_that_a_model_made_it(
    engine: Engine, credentials: Credentials
) -> None:
    for stated, signed in ((CAPTURED, None), (GENERATED, GENERATED)):
        asset = work_on_upload(engine, camera_jpeg(stated), RESIZED)
        assert asset.source_type == stated, "the file goes on saying so itself"
        assert list_actions(check(asset, credentials))[0].get("digitalSourceType") == signed


def test_uploads_keep_the_credentials_that_others_gave_them(
    engine: Engine, credentials: Credentials, tmp_path: Path
) -> None:
    camera = Credentials(tmp_path / "camera")
    order = SigningOrder(asset=make_asset(GenerationRequest(model="lens"), source_type=CAPTURED))
    photo = camera.sign(make_file("jpeg", 7), "jpeg", order)
    kept = engine.keep_image(photo, LOCAL_USER)
    assert kept.source_type == CAPTURED  # only its credentials say so
    small = make(engine, RESIZED.replace(source=kept.hash))
    store = check(small, credentials)
    assert len(store["manifests"]) == 2
    assert read_metadata(small.path).source_type == CAPTURED
    report = credentials.read(small.path.read_bytes())
    assert [step.actions[0] for step in report.steps] == ["c2pa.opened", "c2pa.created"]
    assert engine.keep_image(make_file("png", 7), LOCAL_USER)  # the same pixels, if they were, would not forget it
    again = make(engine, EDIT.replace(source=kept.hash))
    assert len(check(again, credentials)["manifests"]) == 2


def test_the_same_pixels_without_credentials_keep_them_and_another_user_gets_none(
    engine: Engine, credentials: Credentials, tmp_path: Path
) -> None:
    plain = make_file("png", 8)
    signed = Credentials(tmp_path / "other").sign(plain, "png", SigningOrder(asset=make_asset()))
    ann, bob = User("ann"), User("bob")
    first = engine.keep_image(signed, ann)
    assert engine.keep_image(plain, ann) == first
    assert engine.keep_image(plain, bob).hash == first.hash
    of_ann, of_bob = (make(engine, RESIZED.replace(source=first.hash), user) for user in (ann, bob))
    assert len(check(of_ann, credentials)["manifests"]) == 2
    assert len(check(of_bob, credentials)["manifests"]) == 1
    assert read_metadata(of_bob.path).source_type == ""


def test_a_file_that_says_less_than_its_credentials_is_not_believed(engine: Engine, tmp_path: Path) -> None:
    lying = Credentials(tmp_path / "other").sign(camera_jpeg(CAPTURED), "jpeg", SigningOrder(asset=make_asset()))
    assert engine.keep_image(lying, LOCAL_USER).source_type == GENERATED
    changed = lying[:-40] + bytes(38) + lying[-2:]
    assert engine.keep_image(changed, LOCAL_USER).source_type == CAPTURED  # whose credentials are another image's


def test_images_of_others_that_went_into_one_are_named_too(
    engine: Engine, credentials: Credentials, tmp_path: Path
) -> None:
    other = Credentials(tmp_path / "other")
    source, style = (other.sign(make_file("png", n), "png", SigningOrder(asset=make_asset())) for n in (3, 4))
    names = [engine.keep_image(data, LOCAL_USER).hash for data in (source, style)]
    mask = engine.keep_image(Image.new("L", (64, 64), 255), LOCAL_USER).hash
    request = EDIT.replace(source=names[0], mask=mask, references=(Reference(image=names[1]),))
    store = check(make(engine, request), credentials)
    ingredients = store["manifests"][store["active_manifest"]]["ingredients"]
    assert [one["relationship"] for one in ingredients] == ["parentOf", "inputTo"]
    assert len(store["manifests"]) == 3
    drawn = make(engine, GenerationRequest(task=Task.SKETCH, model="any", prompt="x", source=names[0]))
    store = check(drawn, credentials)
    ingredients = store["manifests"][store["active_manifest"]]["ingredients"]
    assert [one["relationship"] for one in ingredients] == ["inputTo"]


def test_an_image_signed_by_others_and_then_cropped_by_others_is_carried_on_as_what_it_is(
    engine: Engine, credentials: Credentials, tmp_path: Path
) -> None:
    signed = Credentials(tmp_path / "other").sign(make_file("png", 5), "png", SigningOrder(asset=make_asset()))
    cropped = move_png_credentials(signed, make_file("png", 5, side=40))
    assert credentials.read(cropped).state is CredentialState.CHANGED
    store = check(work_on_upload(engine, cropped, RESIZED), credentials)
    ingredient = store["manifests"][store["active_manifest"]]["ingredients"][0]
    codes = [one["code"] for one in ingredient["validation_results"]["activeManifest"]["failure"]]
    assert "assertion.dataHash.mismatch" in codes


@pytest.mark.parametrize("keep", list(MetadataPolicy))
def test_credentials_hold_no_prompt_no_name_and_without_the_recipe_no_model(
    engine: Engine, keep: MetadataPolicy
) -> None:
    finish = Finish(text=(TextOverlay(text=f"{SECRET}-overlay"),))
    request = DRAWN.replace(file=OutputOptions(keep=keep), then=(RESIZED.replace(finish=finish),))
    asset = make(engine, request)
    data = asset.path.read_bytes()
    if keep is MetadataPolicy.NOTHING:
        assert b"c2pa" not in data
        return
    store = str(read_store(data, "png"))
    for private in (SECRET, asset.path.name, str(asset.path.parent), asset.id, asset.job_id):
        assert private not in store
    if keep is MetadataPolicy.MARKER:
        assert "fake" not in store
        assert SECRET.encode() not in data


@pytest.mark.parametrize("training", ["none", "allow", "forbid"])
def test_the_wish_about_training_is_signed(tmp_path: Path, credentials: Credentials, training: str) -> None:
    engine = open_signing_engine(tmp_path, credentials, claim_training=training)
    store = check(make(engine, DRAWN), credentials)
    told = [one for one in store["manifests"][store["active_manifest"]]["assertions"] if "training" in one["label"]]
    uses = {entry["use"] for one in told for entry in one["data"]["entries"].values()}
    assert uses == {"none": set(), "allow": {"allowed"}, "forbid": {"notAllowed"}}[training]
    engine.close(drain=1)


@pytest.mark.parametrize(("kind", "limit"), [("jpeg", 30_000), ("webp", 30_000), ("png", 60_000), ("avif", 30_000)])
def test_the_bytes_of_the_credentials_count_below_a_limit(
    engine: Engine, credentials: Credentials, kind: str, limit: int
) -> None:
    noise = Image.effect_noise((256, 256), 60).convert("RGB")
    options = OutputOptions(format=kind, max_bytes=limit)
    wish = GenerationRequest(task=Task.FINISH, finish=Finish(derivatives=(Derivative(file=options),)))
    asset = make(engine, wish.replace(source=engine.keep_image(noise, LOCAL_USER).hash))
    check(asset, credentials)
    assert asset.path.stat().st_size <= limit


def test_a_long_past_gives_way_to_the_pixels_below_a_limit(engine: Engine, credentials: Credentials) -> None:
    asset = make(engine, DRAWN)
    for number in range(6):
        asset = work_on(engine, asset, EDIT.replace(seed=number))
    for limit, manifests in ((250_000, 8), (20_000, 1)):
        options = OutputOptions(format="jpeg", max_bytes=limit, keep=MetadataPolicy.MARKER)
        larger = Finish(width=512, derivatives=(Derivative(file=options),))
        small = work_on(engine, asset, GenerationRequest(task=Task.FINISH, finish=larger))
        assert small.path.stat().st_size <= limit
        store = read_store(small.path.read_bytes(), "jpeg", credentials.get_root())
        assert (store["validation_state"], len(store["manifests"])) == ("Trusted", manifests)
        assert any("earlier versions were left out" in note for note in small.notes) is (manifests == 1)


def test_a_file_too_small_for_credentials_is_saved_unsigned_with_a_notice(engine: Engine) -> None:
    options = OutputOptions(format="jpeg", max_bytes=6_000, keep=MetadataPolicy.MARKER)
    wish = GenerationRequest(task=Task.FINISH, finish=Finish(derivatives=(Derivative(file=options),)))
    asset = make(engine, wish.replace(source=engine.keep_image(draw_fake_image(1, 64, 64), LOCAL_USER).hash))
    assert b"c2pa" not in asset.path.read_bytes()
    assert any(note.startswith("Not signed") for note in asset.notes)


def test_a_signer_that_fails_leaves_an_unsigned_image_with_a_notice(
    tmp_path: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_signing_engine(tmp_path, credentials)
    make(engine, DRAWN)
    file = tmp_path / "user" / "trust" / identity.IDENTITY_FILE
    content = file.read_bytes()
    file.write_bytes(b"broken")
    asset = make(engine, DRAWN.replace(seed=2))
    assert any(note.startswith("Not signed: The signing identity is damaged") for note in asset.notes)
    assert b"c2pa" not in asset.path.read_bytes()
    file.write_bytes(content)
    check(make(engine, DRAWN.replace(seed=3)), credentials)
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as where no wheel of it fits
    asset = make(engine, DRAWN.replace(seed=4))
    assert any("Not signed: Signing needs the package c2pa-python" in note for note in asset.notes)
    engine.close(drain=1)


def test_a_crash_between_signing_and_renaming_leaves_a_whole_signed_file_or_none(
    tmp_path: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_signing_engine(tmp_path, credentials)

    def fail(part: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "publish", fail)
        snapshot = wait_until_final(engine.submit(DRAWN, LOCAL_USER))
    assert snapshot.status is Status.FAILED
    assert not [path for path in (tmp_path / "outputs").rglob("*.png") if ".thumbs" not in path.parts]
    job = engine.jobs(LOCAL_USER)[0]
    saved = wait_until_final(engine.retry_save(job.id, LOCAL_USER)).assets[-1]
    check(saved, credentials)
    engine.close(drain=1)


def test_files_of_other_programs_are_opened_and_not_claimed(
    engine: Engine, credentials: Credentials, tmp_path: Path
) -> None:

    theirs = Credentials(tmp_path / "other").sign(make_file("webp", 6), "webp", SigningOrder(asset=make_asset()))
    for data, manifests in ((theirs, 2), (make_file("webp", 7), 1)):
        asset = engine.asset(engine.feed(FedFile(data=data, title=SECRET), LOCAL_USER), LOCAL_USER)
        store = check(asset, credentials)
        assert name_actions(store) == ["opened"]
        assert len(store["manifests"]) == manifests
        assert SECRET not in str(store)


def test_what_a_service_signed_is_the_parent_also_after_steps_of_the_same_job(
    tmp_path: Path, credentials: Credentials
) -> None:
    sent = Credentials(tmp_path / "service").sign(make_file("png", 1), "png", SigningOrder(asset=make_asset()))

    class SigningService(FakeBackend):
        def render(self, request: Any, seeds: Any, ctx: Any) -> list[RenderedImage]:
            return [dataclasses.replace(one, original=sent) for one in super().render(request, seeds, ctx)]

    engine = open_engine(
        tmp_path / "outputs",
        SigningService(FAKE_MODEL),
        FinishingBackend(Fonts(tmp_path / "fonts")),
        lookups=Lookups(credentials=credentials),
        sign="on",
    )
    for request, names in ((DRAWN, ["opened"]), (DRAWN.replace(then=(RESIZED,)), ["opened", "resized"])):
        store = check(make(engine, request), credentials)
        assert name_actions(store) == names
        assert len(store["manifests"]) == 2
        assert list_actions(store)[-1].get("digitalSourceType") is None
    engine.close(drain=1)


def test_credentials_of_a_service_that_cannot_be_read_are_told(tmp_path: Path, credentials: Credentials) -> None:
    sent = Credentials(tmp_path / "service").sign(make_file("png", 1), "png", SigningOrder(asset=make_asset()))
    place = sent.index(b"caBX") + 60
    broken = sent[:place] + bytes(2000) + sent[place + 2000 :]

    class SigningService(FakeBackend):
        def render(self, request: Any, seeds: Any, ctx: Any) -> list[RenderedImage]:
            return [dataclasses.replace(one, original=broken) for one in super().render(request, seeds, ctx)]

    engine = open_engine(
        tmp_path / "outputs", SigningService(FAKE_MODEL), lookups=Lookups(credentials=credentials), sign="on"
    )
    asset = make(engine, DRAWN)
    assert any("were not carried on" in note for note in asset.notes)
    assert name_actions(read_store(asset.path.read_bytes(), "png")) == ["created"]
    engine.close(drain=1)


def make_odd_file(name: str) -> tuple[bytes, str]:
    """A file of a kind that programs stumble over, and its format."""
    frames = [draw_fake_image(number, 64, 64) for number in (1, 2)]
    out = io.BytesIO()
    if name.startswith("animated"):
        kind = name.partition(" ")[2]
        frames[0].save(out, kind.upper(), save_all=True, append_images=frames[1:], duration=100)
        return out.getvalue(), kind
    if name == "two JPEGs":
        second = make_file("jpeg", 2)
        return make_file("jpeg") + second, "jpeg"
    images = {
        "16 bits": Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16),
        "palette": frames[0].quantize(16),
        "bilevel": frames[0].convert("1"),
        "grey with alpha": frames[0].convert("LA"),
    }
    images[name].save(out, "PNG")
    return out.getvalue(), "png"


@pytest.mark.parametrize(
    "name",
    ["animated png", "animated webp", "16 bits", "palette", "bilevel", "grey with alpha", "two JPEGs"],
)
def test_odd_files_that_others_signed_are_carried_on(
    engine: Engine, credentials: Credentials, tmp_path: Path, name: str
) -> None:
    data, kind = make_odd_file(name)
    signed = Credentials(tmp_path / "other").sign(data, kind, SigningOrder(asset=make_asset()))
    assert len(check(work_on_upload(engine, signed, RESIZED), credentials)["manifests"]) == 2


def test_a_png_that_is_packed_as_a_palette_is_signed(engine: Engine, credentials: Credentials) -> None:
    few = Image.fromarray(np.random.default_rng(3).integers(0, 16, (256, 256)).astype(np.uint8) * 16).convert("RGB")
    plain = io.BytesIO()
    few.save(plain, "PNG", compress_level=9, optimize=True)
    options = OutputOptions(format="png", max_bytes=len(plain.getvalue()) - 1)
    wish = GenerationRequest(task=Task.FINISH, finish=Finish(derivatives=(Derivative(file=options),)))
    asset = make(engine, wish.replace(source=engine.keep_image(few, LOCAL_USER).hash))
    check(asset, credentials)
    with Image.open(asset.path) as image:
        assert image.mode == "P"
        assert image.convert("RGB").tobytes() == few.tobytes()


def test_a_large_avif_is_signed(credentials: Credentials) -> None:
    out = io.BytesIO()
    draw_fake_image(1, 4000, 3000).save(out, "AVIF", speed=10)
    signed = credentials.sign(out.getvalue(), "avif", SigningOrder(asset=make_asset()))
    assert read_store(signed, "avif", credentials.get_root())["validation_state"] == "Trusted"


@pytest.mark.parametrize("spare", [-1, 0, 1, 63, 64, 65])
def test_a_limit_just_above_the_signed_file_is_kept(engine: Engine, credentials: Credentials, spare: int) -> None:
    source = engine.keep_image(Image.effect_noise((400, 400), 40).convert("RGB"), LOCAL_USER).hash
    free = Derivative(file=OutputOptions(format="jpeg", quality=90))
    wish = GenerationRequest(task=Task.FINISH, source=source, finish=Finish(derivatives=(free,)))
    size = make(engine, wish).path.stat().st_size
    limited = Derivative(file=OutputOptions(format="jpeg", quality=90, max_bytes=size + spare))
    asset = make(engine, wish.replace(finish=Finish(derivatives=(limited,))))
    assert asset.path.stat().st_size <= size + spare
    check(asset, credentials)


def test_pixels_made_of_a_kept_image_or_a_file_keep_what_it_said(
    engine: Engine, credentials: Credentials, tmp_path: Path
) -> None:
    order = SigningOrder(asset=make_asset(source_type=CAPTURED))
    signed = Credentials(tmp_path / "other").sign(make_file("jpeg", 9), "jpeg", order)
    first = engine.keep_image(signed, LOCAL_USER)
    for number, origin in enumerate((first.hash, signed)):
        painted = draw_fake_image(90 + number, 40, 40)
        kept = engine.keep_version(painted, origin, LOCAL_USER)
        assert kept.source_type == CAPTURED
        assert len(check(make(engine, RESIZED.replace(source=kept.hash)), credentials)["manifests"]) == 2
    with pytest.raises(NotFound):
        engine.keep_version(draw_fake_image(95, 40, 40), first.hash, User("bob"))


def test_a_grid_is_signed(engine: Engine, credentials: Credentials) -> None:
    job = engine.submit(DRAWN.replace(axes=(Axis(parameter="Seed", values=("1", "2")),)), LOCAL_USER)
    assets = wait_until_final(job).assets
    assert [name_actions(check(asset, credentials)) for asset in assets] == [["created"]] * 3


def test_many_threads_sign_at_once(credentials: Credentials) -> None:
    def sign(number: int) -> str:
        kind = KINDS[number % 4]
        data = credentials.sign(make_file(kind, number), kind, SigningOrder(asset=make_asset()))
        return read_store(data, kind, credentials.get_root())["validation_state"]

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(sign, range(40))) == {"Trusted"}


@pytest.mark.slow
def test_the_page_is_up_without_the_library(tmp_path: Path) -> None:
    script = "import sys, studio.wiring; print([m for m in ('c2pa', 'cryptography') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert done.stdout.strip() == "[]"


def test_a_file_without_credentials_is_told_at_a_glance() -> None:
    out = io.BytesIO()
    draw_fake_image(1, 64, 64).save(out, "TIFF")
    for data, kind in ((make_file("png"), "PNG"), (make_file("jpeg"), "JPEG"), (out.getvalue(), "TIFF"), (b"", "PNG")):
        assert not has_credentials(data, kind)
