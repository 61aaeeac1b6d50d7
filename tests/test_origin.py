"""Where an image is from: the routes and the panel, for files of ours, of others and of nobody, hostile ones too."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import io
import random
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import FAKE_MODEL, FakeBackend, draw_fake_image
from PIL import Image
from serving import RunningStudio, serve_studio, wait_until
from signed_images import KINDS, make_asset, make_file, move_png_credentials
from test_identity import make_certificates
from test_source_type import ANY, CAPTURED, camera_jpeg

from studio.core.provenance import CredentialReport, CredentialState, CredentialStep, SigningOrder
from studio.core.request import GenerationRequest
from studio.engine.lookups import Lookups
from studio.engine.origin import NO_MARK, describe_credentials
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import hide_text
from studio.trust import check, identity
from studio.trust.sign import Credentials

API = "/api/image-studio"
METADATA_SERVICE = "http://169.254.169.254/latest/meta-data"  # which machines in clouds could ask
SCENE = Image.effect_noise((256, 256), 40).convert("RGB")


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("studio")
    backends = [FakeBackend(FAKE_MODEL, ANY), FinishingBackend(Fonts(folder / "fonts"))]
    with serve_studio(
        folder, backend=backends, users=True, lookups=Lookups(credentials=credentials), sign="on"
    ) as served:
        yield served


@contextlib.contextmanager
def count_requests() -> Iterator[tuple[str, list[str]]]:
    """The address of a local server, and the paths that it was asked for."""
    asked: list[str] = []

    class Counter(http.server.BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sign_elsewhere(data: bytes, kind: str, address: str) -> bytes:
    """A file whose credentials lie at an address."""
    import c2pa

    folder_signer = make_certificates()
    info = c2pa.C2paSignerInfo(
        alg=b"es256", sign_cert=folder_signer[0] + folder_signer[1], private_key=folder_signer[2], ta_url=None
    )
    created = {"action": "c2pa.created", "digitalSourceType": CAPTURED}
    definition = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]}
    context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}}, signer=c2pa.Signer.from_info(info))
    out = io.BytesIO()
    with c2pa.Builder(definition, context=context) as builder:
        builder.set_no_embed()
        builder.set_remote_url(address)
        builder.sign(f"image/{kind}", io.BytesIO(data), out)
    return out.getvalue()


def post_check(client: httpx.Client, data: bytes) -> dict[str, Any]:
    answer = client.post(f"{API}/check", files={"image": ("image", data)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def encode(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def test_a_photograph_without_marks_is_not_called_anything(served: RunningStudio) -> None:
    told = post_check(served.open_client("ann"), encode(SCENE, "JPEG"))
    assert told["summary"] == NO_MARK
    assert (told["findings"], told["credentials"]["state"]) == ([], "none")


def test_an_own_image_is_known_with_all_its_layers(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    drawn = ann.post(f"{API}/create?wait=true", json={"prompt": "an apple", "model": "fake", "seed": 1}).json()
    asset = drawn["images"][0]["id"]
    told = post_check(ann, ann.get(f"{API}/images/{asset}").content)
    assert told["summary"].startswith("Signed by this installation, unchanged since. The signer says that a model made")
    assert [one["layer"] for one in told["findings"]][:3] == ["credentials", "source_type", "settings"]
    assert told["credentials"]["steps"][0]["actions"] == ["c2pa.created"]
    by_id = ann.post(f"{API}/check", json={"image": asset}).json()
    assert by_id["credentials"] == told["credentials"]
    own = ann.get(f"{API}/assets/{asset}/credentials").json()
    assert own == told["credentials"]
    bob = served.open_client("bob")
    assert bob.get(f"{API}/assets/{asset}/credentials").status_code == 404
    assert bob.post(f"{API}/check", json={"image": asset}).status_code == 404


def test_the_ways_in_which_credentials_can_be_wrong_are_told_apart(
    served: RunningStudio, credentials: Credentials, tmp_path: Path
) -> None:
    ann = served.open_client("ann")
    order = SigningOrder(asset=make_asset())
    other = Credentials(tmp_path / "other")
    signed = other.sign(make_file("png"), "png", order)
    expected = {
        CredentialState.UNTRUSTED: (signed, "Signed by “Easel, self-made”, unchanged since. Nobody"),
        CredentialState.CHANGED: (move_png_credentials(signed, make_file("png", 2)), "but the file was changed"),
        CredentialState.ELSEWHERE: (
            sign_elsewhere(make_file("png"), "png", "http://169.254.169.254/m"),
            "is not asked",
        ),
        CredentialState.UNREADABLE: (break_credentials(signed), "cannot be read"),
    }
    for state, (data, text) in expected.items():
        told = post_check(ann, data)
        assert told["credentials"]["state"] == state, told
        assert text in told["summary"]


def test_an_image_whose_certificate_has_ended_meanwhile_says_so(credentials: Credentials, tmp_path: Path) -> None:
    leaf, root, key = make_certificates(ends=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5))
    brief = Credentials(tmp_path)
    brief.replace_identity(leaf + root, key)
    signed = brief.sign(make_file("png"), "png", SigningOrder(asset=make_asset()))
    wait_until(lambda: credentials.read(signed).state is not CredentialState.UNTRUSTED)
    report = credentials.read(signed)
    assert report.state is CredentialState.EXPIRED
    assert "has ended" in describe_credentials(report)


def break_credentials(signed: bytes) -> bytes:
    """The PNG with noise where its credentials were, under the right checksum."""
    place = signed.index(b"caBX")
    length = int.from_bytes(signed[place - 4 : place], "big")
    noise = b"caBX" + random.Random(1).randbytes(length)
    return signed[:place] + noise + zlib.crc32(noise).to_bytes(4, "big") + signed[place + 8 + length :]


def test_other_marks_are_told_with_their_worth(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    told = post_check(ann, camera_jpeg(CAPTURED))
    assert told["summary"].startswith("The file states that a camera took the image. Anybody can write")
    told = post_check(ann, encode(hide_text(SCENE, "studio 7")))
    assert "studio 7" in told["summary"]
    ann.post(f"{API}/assets", files={"file": ("x.png", encode(draw_fake_image(77, 256, 256)))})


def test_a_statement_that_the_signer_contradicts_is_told(served: RunningStudio, tmp_path: Path) -> None:
    lying = Credentials(tmp_path).sign(camera_jpeg(CAPTURED), "jpeg", SigningOrder(asset=make_asset()))
    told = post_check(served.open_client("ann"), lying)
    assert "its signer says otherwise" in told["findings"][1]["text"]


def test_images_of_the_callers_own_library_are_named_and_of_nobody_elses(served: RunningStudio) -> None:
    ann, bob = served.open_client("ann"), served.open_client("bob")
    scene = draw_fake_image(123, 256, 256)
    fed = ann.post(f"{API}/assets", files={"file": ("x.png", encode(scene))}).json()["id"]
    library = served.studio.engine.asset_library
    for _ in range(200):
        if library.find_alike(scene, "ann"):
            break
        threading.Event().wait(0.1)
    smaller = encode(scene.resize((200, 200)), "JPEG")
    assert [one["assets"] for one in post_check(ann, smaller)["findings"]] == [[fed]]
    assert post_check(bob, smaller)["findings"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_address_in_a_file_is_asked(served: RunningStudio, credentials: Credentials, kind: str) -> None:
    ann = served.open_client("ann")
    with count_requests() as (address, asked):
        hostile = sign_elsewhere(make_file(kind), kind, f"{address}/manifest.c2pa")
        assert post_check(ann, hostile)["credentials"]["state"] == "elsewhere"
        for cut in (10, 100, len(hostile) // 2):
            credentials.read(hostile[:-cut])
        kept = ann.post(f"{API}/inputs", files={"image": ("x", hostile)})
        assert kept.status_code == 201
        assert credentials.take(hostile)[1] == b""
        assert asked == []


def test_hostile_files_are_read_apart_and_ask_nobody(credentials: Credentials, tmp_path: Path) -> None:
    """Changed, cut and doubled files, whose credentials name a local server: none of them is asked, none breaks us."""
    chance = random.Random(18)
    with count_requests() as (address, asked):
        files = [sign_elsewhere(make_file(kind), kind, f"{address}/x") for kind in KINDS]
        files += [credentials.sign(make_file(kind), kind, SigningOrder(asset=make_asset())) for kind in KINDS]
        for number in range(24):
            data = bytearray(files[number % len(files)])
            for _ in range(chance.choice((1, 20, 400))):
                data[chance.randrange(len(data))] = chance.randrange(256)
            report = credentials.read(bytes(data[: chance.randrange(len(data) // 2, len(data) + 1)]))
            assert report.state in CredentialState
        assert asked == []


def test_credentials_of_fifty_megabytes_and_of_a_thousand_ingredients_are_not_carried_on(
    served: RunningStudio, credentials: Credentials, tmp_path: Path
) -> None:
    plain = make_file("png")
    chunk = b"caBX" + bytes(20 * 1024 * 1024)
    huge = plain[:33] + (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + plain[33:]
    kept = served.open_client("ann").post(f"{API}/inputs", files={"image": ("x.png", huge)})
    assert kept.status_code == 201
    assert credentials.read(huge).state in (CredentialState.UNREADABLE, CredentialState.NONE)
    archive = credentials.archive_own(credentials.sign(plain, "png", SigningOrder(asset=make_asset())))
    many = SigningOrder(asset=make_asset(GenerationRequest(model="fake")), inputs=(archive,) * 150)
    loaded = Credentials(tmp_path).sign(plain, "png", many)
    report = credentials.read(loaded)
    assert report.state is CredentialState.UNTRUSTED
    assert len(report.steps) == 1


def test_a_child_that_hangs_is_killed(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from studio.trust import check

    program = tmp_path / "child.py"
    program.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(check.credentials_child, "__file__", str(program))
    monkeypatch.setattr(check, "SECONDS", 0.5)
    signed = credentials.sign(make_file("png"), "png", SigningOrder(asset=make_asset()))
    assert credentials.read(signed).state is CredentialState.UNREADABLE


def test_what_is_no_image_is_refused(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    for body in ({"image": base64.b64encode(b"nothing").decode()}, {"image": "a" * 64}, {"image": "aa-1"}, {}):
        answer = ann.post(f"{API}/check", json=body)
        assert answer.status_code in (400, 404, 422), answer.text
        assert answer.json()["details"]["hint"]


def test_audio_and_video_are_not_looked_at(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    film = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm" + bytes(100)
    asset = ann.post(f"{API}/assets", files={"file": ("x.webm", film)}).json()["id"]
    for answer in (ann.get(f"{API}/assets/{asset}/credentials"), ann.post(f"{API}/check", json={"image": asset})):
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_IMAGE")


def test_everybody_gets_the_root_and_administrators_alone_change_the_identity(
    served: RunningStudio, credentials: Credentials
) -> None:
    ann, root = served.open_client("ann"), served.open_client("root")
    before = ann.get(f"{API}/trust/root.pem")
    assert before.status_code == 200
    assert before.content.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in before.content
    assert ann.post(f"{API}/trust/identity", json={}).status_code == 403
    assert served.open_client().get(f"{API}/trust/root.pem").status_code == 401
    assert ann.get(f"{API}/trust/root.pem").content == before.content
    made = root.post(f"{API}/trust/identity", json={})
    assert made.status_code == 200
    assert made.json()["root"].encode() == ann.get(f"{API}/trust/root.pem").content != before.content
    leaf, above, key = (one.decode() for one in make_certificates())
    assert root.post(f"{API}/trust/identity", json={"certificates": leaf + above, "key": key}).status_code == 200
    refused = root.post(
        f"{API}/trust/identity", json={"certificates": leaf + above, "key": make_certificates()[2].decode()}
    )
    assert refused.status_code == 400
    assert "PRIVATE" not in refused.text


def test_what_somebody_said_of_an_earlier_version_is_not_said_by_the_last_signer() -> None:
    def make_step(signer: str, source_type: str) -> CredentialStep:
        return CredentialStep(signer=signer, program="", actions=(), when="", source_type=source_type)

    steps = (make_step("Easel", ""), make_step("Nobody", CAPTURED))
    text = describe_credentials(CredentialReport(state=CredentialState.OWN, steps=steps))
    assert text.endswith("The signer of an earlier version, “Nobody”, says that a camera took the image.")
    own = CredentialReport(state=CredentialState.OWN, steps=(make_step("Easel", CAPTURED), steps[1]))
    assert describe_credentials(own).endswith("The signer says that a camera took the image.")


def test_manifests_that_name_each_other_are_listed_once_each() -> None:
    def name(parent: str) -> dict[str, Any]:
        return {
            "ingredients": [{"relationship": "parentOf", "active_manifest": parent}],
            "assertions": [None, {"data": 1}],
        }

    found = {"active_manifest": "a", "validation_state": "Invalid", "manifests": {"a": name("b"), "b": name("a")}}
    report = check.describe_credentials(found, identity.KnownSigners())
    assert (report.state, len(report.steps)) == (CredentialState.INVALID, 2)
    for junk in ({}, {"manifests": []}, {"active_manifest": "a", "manifests": {"a": []}}, {"manifests": {"None": 5}}):
        assert check.describe_credentials(junk, identity.KnownSigners()).steps == ()
