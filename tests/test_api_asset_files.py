"""Files of the asset library over HTTP: fed by other programs, served safely, and exported as a zip."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import httpx
import pytest
from fakes import FakeBackend, draw_fake_image
from PIL import Image, PngImagePlugin
from serving import serve_studio
from test_api_assets import API, list_ids, make

from studio.core.user import User
from studio.engine.storage.index_rebuild import rebuild_index
from studio.library.media import detect_media

MP4 = struct.pack(">I", 24) + b"ftypisom\0\0\0\1isommp41" + b"\0" * 400
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm" + b"\0" * 100
WAV = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 60
MP3, FLAC, OGG = b"ID3\x04" + b"\0" * 60, b"fLaC" + b"\0" * 60, b"OggS" + b"\0" * 60


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with serve_studio(folder, users=True, backend=FakeBackend(steps=1), max_upload_mb=2) as running:
        yield running


def feed(client: httpx.Client, data: bytes, name: str = "x", **fields) -> httpx.Response:
    return client.post(f"{API}/assets", files={"file": (name, data)}, data=fields)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def make_infotext_png(text: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", text)
    return encode(draw_fake_image(3, 64, 48), pnginfo=chunks)


def test_an_image_of_another_program_is_listed_with_its_recipe(served):
    ann = served.open_client("ann")
    (parent,) = make(ann, "the source")
    shelf = ann.post(f"{API}/collections", json={"name": "Story"}).json()["id"]
    data = make_infotext_png("a wooden boat\nNegative prompt: fog\nSteps: 20, Seed: 77, Size: 64x48, Model: boats_v1")
    answer = feed(ann, data, title="Scene 1", source="Story Writer", tags="sea, boat", collection=shelf, parents=parent)
    assert answer.status_code == 201, answer.text
    asset = answer.json()
    assert (asset["title"], asset["source"], asset["tags"]) == ("Scene 1", "Story Writer", ["boat", "sea"])
    assert (asset["prompt"], asset["negative_prompt"], asset["seed"]) == ("a wooden boat", "fog", 77)
    details = ann.get(f"{API}/assets/{asset['id']}").json()
    assert details["infotext"].startswith("a wooden boat")
    assert [one["id"] for one in details["parents"]] == [parent]
    assert [one["name"] for one in details["collections"]] == ["Story"]
    assert list_ids(ann, q='is:imported source:"story writer" tag:boat wooden collection:story') == [asset["id"]]
    assert ann.get(f"{API}/assets/{parent}").json()["use_counts"] == {"parent": 1}
    image = Image.open(io.BytesIO(ann.get(asset["url"]).content))
    assert (image.size, image.getpixel((0, 0))) == ((64, 48), draw_fake_image(3, 64, 48).getpixel((0, 0)))


@pytest.mark.parametrize(
    ("data", "kind", "content_type"),
    [
        (MP4, "video", "video/mp4"),
        (WEBM, "video", "video/webm"),
        (WAV, "audio", "audio/wav"),
        (MP3, "audio", "audio/mpeg"),
        (b"\xff\xfb\x90\x00" + b"\0" * 60, "audio", "audio/mpeg"),
        (FLAC, "audio", "audio/flac"),
        (OGG, "audio", "audio/ogg"),
    ],
)
def test_audio_and_video_are_kept_as_they_are_and_served_in_ranges(served, data, kind, content_type):
    ann = served.open_client("ann")
    asset = feed(ann, data, "picture.png", title="Clip", kind=kind).json()
    assert (asset["kind"], asset["title"], asset["width"]) == (kind, "Clip", 0)
    whole = ann.get(asset["url"])
    assert (whole.content, whole.headers["content-type"]) == (data, content_type)
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = ann.get(asset["url"], headers={"Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, data[4:12])
    assert ann.get(asset["thumbnail"]).status_code == 404
    assert asset["id"] in list_ids(ann, q=f"kind:{kind} clip", limit=100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"GIF89a" + b"<script>alert(1)</script>",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"%PDF-1.7",
        b"MZ\x90\0" + b"\0" * 100,
        b"\x1a\x45\xdf\xa3" + b"matroska" * 20,
        struct.pack(">I", 24) + b"ftypheic" + b"\0" * 100,
        b"\xff\xff\xff\xff" * 10,
        b"\0" * 2**20,
    ],
)
def test_everything_else_is_refused(served, data):
    ann = served.open_client("ann")
    before = list_ids(ann, limit=500)
    answer = feed(ann, data, "x.png")
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["error"]
    assert list_ids(ann, limit=500) == before


def test_what_hides_in_an_image_is_not_served(served):
    """A PNG that is a page of HTML as well comes out as pixels alone."""
    ann = served.open_client("ann")
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", "<html><script>alert(1)</script>")
    asset = feed(ann, encode(draw_fake_image(1, 32, 32), pnginfo=chunks) + b"<script>alert(2)</script>").json()
    answer = ann.get(asset["url"])
    assert answer.headers["content-type"] == "image/png"
    assert b"<script" not in answer.content


def test_a_long_prompt_and_odd_names_are_taken(served):
    ann = served.open_client("ann")
    text = "word " * 190_000 + "needle\nSteps: 20, Seed: 1, Size: 64x48, Model: m"
    answer = feed(ann, make_infotext_png(text), "a\nb/../../etc/passwd\0.png", source="X")
    assert answer.status_code == 201, answer.text
    asset = answer.json()
    assert ann.get(asset["url"]).status_code == 200
    assert ann.get(f"{API}/assets", params={"q": "word source:X"}).json()["total"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "video"},
        {"tags": "x" * 101},
        {"source": "x" * 61},
        {"title": "a\nb"},
        {"collection": "nowhere"},
        {"parents": "0000000000000000-0"},
        {"parents": "../../x"},
        {"tags": [str(number) for number in range(300)]},
    ],
)
def test_wrong_descriptions_are_refused_before_anything_is_kept(served, fields):
    ann = served.open_client("ann")
    before = list_ids(ann, limit=500)
    answer = feed(ann, encode(draw_fake_image(1, 16, 16)), **fields)
    assert answer.status_code in (400, 404), answer.text
    assert list_ids(ann, limit=500) == before


def test_users_feed_their_own_library_alone(served):
    ann, bob = served.open_client("ann"), served.open_client("bob")
    (hers,) = make(ann, "hers")
    shelf = ann.post(f"{API}/collections", json={"name": "for feeding"}).json()["id"]
    image = encode(draw_fake_image(9, 16, 16))
    assert feed(bob, image, parents=hers).status_code == 404
    assert feed(bob, image, collection=shelf).status_code == 404
    first, second = feed(ann, image).json(), feed(bob, image).json()
    assert first["id"] != second["id"]
    assert bob.get(first["url"]).status_code == 404
    assert first["id"] not in list_ids(bob, limit=500)
    assert served.open_client().post(f"{API}/assets", files={"file": ("x", image)}).status_code == 401


def test_uses_are_counted_and_the_unused_are_found(served):
    ann, bob = served.open_client("ann"), served.open_client("bob")
    used, unused = make(ann, "for counting", 2)
    for use in ("sent", "downloaded", "sent"):
        answer = ann.post(f"{API}/assets/{used}/uses", json={"use": use})
    assert answer.json() == {"uses": 3}
    assert ann.get(f"{API}/assets/{used}").json()["use_counts"] == {"sent": 2, "downloaded": 1}
    assert list_ids(ann, q='"for counting" is:unused') == [unused]
    assert list_ids(ann, q='"for counting"', order="unused") == [unused, used]
    assert ann.post(f"{API}/assets/{used}/uses", json={"use": "eaten"}).status_code == 400
    assert bob.post(f"{API}/assets/{used}/uses", json={"use": "sent"}).status_code == 404


def test_an_export_has_the_files_and_a_line_for_each(served):
    ann, bob = served.open_client("ann"), served.open_client("bob")
    ids = make(ann, "for the zip", 2)
    (his,) = make(bob, "for the zip")
    ann.patch(f"{API}/assets/{ids[0]}", json={"tags": ["kept"], "rating": 4})
    answer = ann.get(f"{API}/assets/export", params={"q": '"for the zip"', "ids": his})
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    lines = {one["id"]: one for one in map(json.loads, archive.read("assets.jsonl").decode().splitlines())}
    assert set(lines) == set(ids)
    assert (lines[ids[0]]["tags"], lines[ids[0]]["rating"]) == (["kept"], 4)
    assert "for the zip" in lines[ids[0]]["infotext"]
    for one in ids:
        assert archive.read(lines[one]["file"]) == ann.get(f"{API}/assets/{one}/file").content
    assert len(archive.namelist()) == 3
    chosen = ann.get(f"{API}/assets/export", params={"ids": f"{ids[0]},{his},nothing"})
    assert len(zipfile.ZipFile(io.BytesIO(chosen.content)).namelist()) == 2
    assert ann.get(f"{API}/assets/{ids[0]}").json()["use_counts"] == {"exported": 2}
    for query in ({}, {"ids": his}, {"q": "nothing at all"}, {"q": "seed:x"}):
        assert ann.get(f"{API}/assets/export", params=query).status_code in (400, 404)


def test_what_was_fed_is_there_again_with_a_new_index(served):
    ann = served.open_client("ann")
    image = feed(ann, make_infotext_png("a fed boat\nSteps: 2, Seed: 5"), source="Writer", title="Kept").json()
    clip = feed(ann, OGG, source="Writer", title="Song", tags="music").json()
    engine = served.studio.engine
    with engine._database.transaction() as connection:
        for table in ("texts", "assets", "recipes", "asset_parents", "asset_tags", "collection_items", "facets"):
            connection.execute(f"DELETE FROM {table}")
    rebuild_index(engine.library)
    engine.asset_library.replay_notes()
    for before in (image, clip):
        after = ann.get(f"{API}/assets/{before['id']}").json()
        assert {name: after[name] for name in before} == before
    assert engine.asset(clip["id"], User("ann")).path.read_bytes() == OGG


@pytest.mark.parametrize("data", [b"", b"\xff", b"RIFF", b"ID", b"ftyp", b"\0\0\0\x18ftyp", b"RIFF\0\0\0\0WEBP"])
def test_short_files_are_no_media(data):
    assert detect_media(data) is None


def test_an_upload_that_a_crash_cut_off_is_settled_later(served):
    ann = served.open_client("ann")
    whole, part = (feed(ann, encode(draw_fake_image(seed, 16, 16))).json()["id"] for seed in (20, 21))
    engine = served.studio.engine
    engine.asset(part, User("ann")).path.unlink()
    with engine._database.transaction() as connection:
        connection.execute(
            "UPDATE assets SET state = 'intent', created = created - 7200 WHERE id IN (?, ?)", (whole, part)
        )
    engine._outputs.recover_fed()
    assert ann.get(f"{API}/assets/{whole}").status_code == 200
    assert ann.get(f"{API}/assets/{part}").status_code == 404
