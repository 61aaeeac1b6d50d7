"""The native API through real HTTP, the real engine and the real guard."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import FakeBackend, draw_fake_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from serving import RunningStudio, serve_studio, wait_until

from studio.api.error_responses import clean_json
from studio.api.schemas import CreateBody
from studio.core.detailer import Detailer
from studio.core.errors import ModelBroken, OutOfMemory
from studio.core.model import Model
from studio.core.request import GenerationRequest, Hires, LoraUse, Saving
from studio.core.user import LOCAL_USER
from studio.engine.storage import outputs as outputs_module

API = "/api/image-studio"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path_factory.mktemp("api"), queue_limit=10_000, queue_limit_per_user=10_000) as found:
        yield found


@pytest.fixture
def held(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path, backend=FakeBackend(held=True)) as found:
        yield found


def create(client: httpx.Client, wait: bool = True, **body: Any) -> httpx.Response:
    return client.post(f"{API}/create", params={"wait": str(wait).lower()}, json={"prompt": "a red apple", **body})


def test_a_prompt_is_enough_for_a_image(served: RunningStudio) -> None:
    client = served.open_client()
    answer = create(client, wait=False)
    assert answer.status_code == 202
    assert set(answer.json()) == {"jobId", "status", "queuePosition"}
    place = answer.headers["Location"]
    wait_until(lambda: client.get(place).json()["status"] == "finished")
    job = client.get(place).json()
    assert (job["progress"], job["step"], job["steps"], job["error"]) == (1.0, 4, 4, None)
    assert (job["image"], job["imageCount"]) == (job["picture"], job["pictures"])
    assert job["imageCount"] == len(job["images"])
    (image,) = client.get(place + "/result").json()["images"]
    assert {"url", "imageData", "format", "width", "height", "seed", "infotext"} <= set(image)
    file = base64.b64decode(image["imageData"])
    with Image.open(io.BytesIO(file)) as source:
        assert source.format == "PNG"
        assert source.tobytes() == draw_fake_image(image["seed"], 64, 64).tobytes()
    assert client.get(image["url"]).content == file
    assert "a red apple" in image["infotext"]
    (light,) = client.get(place + "/result", params={"data": "false"}).json()["images"]
    assert light["imageData"] is None


def test_waiting_gives_the_finished_job(served: RunningStudio) -> None:
    answer = create(served.open_client(), count=3, seed=5)
    assert answer.status_code == 200
    assert answer.json()["status"] == "finished"
    assert [image["seed"] for image in answer.json()["images"]] == [5, 6, 7]


def test_an_image_is_sent_as_its_owners_file(served: RunningStudio) -> None:
    client = served.open_client()
    url = create(client).json()["images"][0]["url"]
    answer = client.get(url)
    assert answer.headers["content-type"] == "image/png"
    assert "private" in answer.headers["cache-control"]
    assert answer.headers["content-disposition"].startswith("inline")
    part = client.get(url, headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")
    assert client.get(url, headers={"Range": "bytes=" + "0-1," * 50 + "0-1"}).status_code == 416


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_each_output_format_has_its_type(tmp_path: Path, kind: str) -> None:
    with serve_studio(tmp_path, output_format=kind) as served:
        client = served.open_client()
        image = create(client).json()["images"][0]
        assert image["format"] == kind
        assert client.get(image["url"]).headers["content-type"] == f"image/{kind}"


def test_a_image_that_was_moved_or_swapped_for_a_link_is_gone(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        image = create(client).json()["images"][0]
        (file,) = [path for path in (tmp_path / "outputs").rglob("*.png") if "thumb" not in str(path)]
        secret = tmp_path / "secret.png"
        secret.write_bytes(b"CANARY")
        file.unlink()
        assert client.get(image["url"]).status_code == 404
        os.symlink(secret, file)
        answer = client.get(image["url"])
        assert answer.status_code == 404
        assert b"CANARY" not in answer.content


def test_a_job_waits_shows_its_place_and_is_cancelled(held: RunningStudio) -> None:
    client = held.open_client()
    first, second = create(client, wait=False).json()["jobId"], create(client, wait=False).json()["jobId"]
    assert held.backend.entered.acquire(timeout=20)
    wait_until(lambda: client.get(f"{API}/jobs/{second}").json()["queuePosition"] == 1)
    listed = client.get(f"{API}/jobs").json()["jobs"]
    assert [job["jobId"] for job in listed] == [second, first]
    assert len(client.get(f"{API}/jobs", params={"limit": 1}).json()["jobs"]) == 1
    assert client.get(f"{API}/health").json()["queueLength"] == 2
    early = client.get(f"{API}/jobs/{first}/result")
    assert (early.status_code, early.json()["code"]) == (409, "NOT_READY")
    assert client.delete(f"{API}/jobs/{second}").json()["status"] == "cancelled"
    client.delete(f"{API}/jobs/{first}")
    held.backend.release()
    wait_until(lambda: client.get(f"{API}/jobs/{first}").json()["status"] == "cancelled")
    assert client.get(f"{API}/jobs/{first}/result").json() == {"images": []}


def test_events_tell_every_change_until_the_last(held: RunningStudio) -> None:
    client = held.open_client()
    job = create(client, wait=False).json()["jobId"]
    seen: list[dict[str, Any]] = []
    with client.stream("GET", f"{API}/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line[6:]))
                held.backend.release()
    assert seen[-1]["status"] == "finished"
    assert [found["step"] for found in seen] == sorted(found["step"] for found in seen)


def test_a_caller_who_hangs_up_leaves_the_job(held: RunningStudio) -> None:
    client = held.open_client()
    left: list[str] = []
    leave = held.studio.engine.leave
    held.studio.engine.leave = lambda job_id, user: left.append(job_id) or leave(job_id, user)
    with pytest.raises(httpx.ReadTimeout):
        client.post(f"{API}/create?wait=true", json={"prompt": "x"}, timeout=0.5)
    wait_until(lambda: bool(left))
    assert held.studio.engine.jobs(LOCAL_USER)[0].id == left[0]


def test_a_failed_job_answers_with_its_own_error(tmp_path: Path) -> None:
    backend = FakeBackend()
    backend.fail = lambda request, step: OutOfMemory(
        "Too big.", hint="Smaller.", details={"requested": 9, "available": 1}
    )
    with serve_studio(tmp_path, backend=backend) as served:
        client = served.open_client()
        answer = create(client)
        assert answer.status_code == 507
        assert (answer.json()["code"], answer.json()["details"]["requested"]) == ("GPU_OOM", 9)
        place = f"{API}/jobs/{answer.json()['details']['jobId']}"
        assert client.get(place).json()["error"]["code"] == "GPU_OOM"
        assert client.get(place + "/result").status_code == 507


def test_a_full_queue_is_refused_in_words(tmp_path: Path) -> None:
    with serve_studio(tmp_path, backend=FakeBackend(held=True), queue_limit_per_user=1) as served:
        client = served.open_client()
        answers = [create(client, wait=False) for _ in range(4)]
        assert answers[-1].status_code == 503
        assert answers[-1].json()["code"] == "QUEUE_FULL"


def test_models_show_what_they_can_and_what_is_wrong(tmp_path: Path) -> None:
    broken = Model(id="torn", title="Torn", family="", problem="the file is cut off")
    with serve_studio(tmp_path, backend=FakeBackend(Model(id="fake", title="Fake", family="fake"), broken)) as served:
        client = served.open_client()
        found = {model["id"]: model for model in client.get(f"{API}/models").json()["models"]}
        assert found["torn"]["problem"] == "the file is cut off"
        assert found["fake"]["default"]["steps"] == 20
        answer = create(client, model="torn")
        assert (answer.status_code, answer.json()["code"]) == (ModelBroken.status, "MODEL_BROKEN")


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        ({"prompt": "x", "promt": "y"}, 400, "INVALID_REQUEST", "promt"),
        ({}, 400, "INVALID_REQUEST", "prompt"),
        ({"prompt": 5}, 400, "INVALID_REQUEST", "prompt"),
        ({"prompt": "x", "steps": "20"}, 400, "INVALID_REQUEST", "steps"),
        ({"prompt": "x", "steps": 0}, 400, "INVALID_REQUEST", "steps"),
        ({"prompt": "x", "width": 100_000}, 400, "INVALID_REQUEST", "width"),
        ({"prompt": "x", "width": 65}, 400, "INVALID_REQUEST", "65"),
        ({"prompt": "x", "aspect_ratio": "wide"}, 400, "INVALID_REQUEST", "wide"),
        ({"prompt": "x", "hires": {"scael": 2}}, 400, "INVALID_REQUEST", "hires.scael"),
        ({"prompt": "x", "saving": "money"}, 400, "INVALID_REQUEST", "saving"),
        ({"prompt": "x", "seed": -1}, 400, "INVALID_REQUEST", "seed"),
        ({"prompt": "x" * 20_001}, 400, "INVALID_REQUEST", "prompt"),
        ({"prompt": "x\0y"}, 400, "INVALID_REQUEST", "NUL"),
        ({"prompt": "x", "model": "nowhere"}, 404, "UNKNOWN_MODEL", "nowhere"),
    ],
)
def test_what_is_wrong_is_named(
    served: RunningStudio, body: dict[str, Any], status: int, code: str, named: str
) -> None:
    answer = served.open_client().post(f"{API}/create", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert named in answer.json()["error"]
    assert answer.json()["details"]["hint"]


@pytest.mark.parametrize(
    "body",
    ['{"prompt": NaN}', '{"prompt": "x", "guidance_scale": Infinity}', '{"prompt": "\\ud800"}', "[1]", '"x"', "{"],
)
def test_json_that_is_none_is_refused(served: RunningStudio, body: str) -> None:
    answer = served.open_client().post(f"{API}/create", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "NOT_FOUND"),
        ("POST", "/api", 404, None),
        ("GET", f"{API}/create", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", f"{API}/jobs/x", 405, "METHOD_NOT_ALLOWED"),
        ("POST", f"{API}/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"{API}/jobs/x", 404, "NOT_FOUND"),
        ("DELETE", f"{API}/jobs/x", 404, "NOT_FOUND"),
        ("GET", f"{API}/jobs/x/result", 404, "NOT_FOUND"),
        ("GET", f"{API}/jobs/x/events", 404, "NOT_FOUND"),
        ("GET", f"{API}/images/x", 404, "NOT_FOUND"),
        ("GET", f"{API}/jobs?limit=0", 400, "INVALID_REQUEST"),
        ("GET", f"{API}/jobs?limit=x", 400, "INVALID_REQUEST"),
    ],
)
def test_frameworks_errors_have_our_shape(
    served: RunningStudio, method: str, path: str, status: int, code: str | None
) -> None:
    answer = served.open_client().request(method, path)
    assert answer.status_code == status
    if code:
        assert set(answer.json()) == {"error", "code", "details"}
        assert answer.json()["code"] == code
    if status == 405:
        assert answer.headers["Allow"]


def test_every_field_reaches_the_request() -> None:
    body = CreateBody.model_validate(
        {
            "prompt": "p",
            "negative_prompt": "n",
            "prompt_weight": 1.1,
            "negative_weight": 0.9,
            "model": "m",
            "aspect_ratio": "16:9",
            "enlarge": True,
            "compose": True,
            "scenery": True,
            "count": 2,
            "batch_size": 2,
            "seed": 3,
            "variation_seed": 4,
            "variation_strength": 0.5,
            "steps": 6,
            "guidance_scale": 7,
            "sampler": "Euler",
            "schedule": "Karras",
            "clip_skip": 2,
            "vae": "v",
            "loras": [{"name": "l", "weight": 0.5}],
            "hires": {"scale": 1.5, "denoising_strength": 0.4, "guidance_scale": 5},
            "regions": "rows",
            "region_ratios": "1,2",
            "region_base": 0.2,
            "region_common": True,
            "region_mode": "attention",
            "areas": [{"prompt": "sky", "height": 0.25}],
            "tiling": True,
            "guidance_rescale": 0.7,
            "pag_scale": 3,
            "freeu": "1.3, 1.4, 0.9, 0.2",
            "sag_scale": 0.5,
            "sag_blur": 1.5,
            "mimic_scale": 7,
            "threshold_percentile": 99,
            "tile_size": 512,
            "tile_overlap": 0.25,
            "tile_batch": 2,
            "token_merging_ratio": 0.3,
            "skip_layers": "7, 8",
            "skip_layer_scale": 3,
            "skip_layers_until": 0.15,
            "refiner": "r",
            "refiner_switch": 0.7,
            "detailers": [{"target": "hands", "guidance_scale": 5, "width": 512, "height": 768}, {}],
            "saving": "time",
            "fallbacks": ["b"],
            "axes": [{"parameter": "Steps", "values": ["1", "2"]}],
            "prompt_order": "combinations",
            "template": "{p|q}",
            "negative_template": "{n|m}",
            "noise_source": "NV",
            "batch_index": 1,
            "noise_seed_delta": 31337,
            "seed_resize": "512x768",
            "enlarged_size": "1024x768",
        }
    )
    request = body.to_request()
    assert (request.aspect, request.guidance, request.saving) == ("16:9", 7.0, Saving.TIME)
    assert request.loras == (LoraUse(name="l", weight=0.5),)
    assert request.hires == Hires(scale=1.5, strength=0.4, guidance=5.0)
    assert request.detailers == (Detailer(target="hands", guidance=5.0, width=512, height=768), Detailer())
    assert request.axes[0].values == ("1", "2")
    edited = {
        "task",
        "source",
        "batch",
        "mask",
        "background",
        "lighting",
        "strength",
        "resize",
        "loops",
        "inpaint",
        "outpaint",
        "search",
        "control",
        "references",
        "composed",
        "file",
    }
    elsewhere = {"upscale", "faces", "finish", "social", "then", "drawn"}
    missing = set(GenerationRequest.__dataclass_fields__) - set(request.to_json())
    assert missing == {"width", "height"} | edited | elsewhere


def test_the_documentation_needs_no_other_server(served: RunningStudio) -> None:
    client = served.open_client()
    page, schema = client.get("/api/docs").text, client.get("/api/openapi.json").json()
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    for path in schema["paths"]:
        assert path in page
    for field in CreateBody.model_fields:
        assert f"<code>{field}</code>" in page
    assert {path.removeprefix(API) for path in schema["paths"]} >= {
        "/create",
        "/jobs",
        "/jobs/{job_id}",
        "/jobs/{job_id}/result",
        "/jobs/{job_id}/events",
        "/images/{image_id}",
        "/models",
        "/health",
    }


def test_what_json_cannot_carry_is_cleaned() -> None:
    found = clean_json({"a": float("nan"), "b": ["\ud800", (1.5, float("inf"))]})
    assert found == {"a": None, "b": ["?", [1.5, None]]}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
NEARLY = st.fixed_dictionaries(
    {"prompt": st.text(max_size=50)},
    optional={
        "width": st.integers(-8, 40).map(lambda n: n * 8) | ANYTHING,
        "height": st.integers(0, 40).map(lambda n: n * 8),
        "aspect_ratio": st.sampled_from(["1:1", "16:9", "0:0", "1:1e9", "nan:1", ":"]) | st.text(max_size=8),
        "count": st.integers(-1, 3),
        "batch_size": st.integers(0, 4),
        "seed": st.integers(-1, 2**33),
        "variation_strength": st.floats(),
        "variation_seed": st.integers(0, 9),
        "steps": st.integers(0, 50),
        "guidance_scale": st.floats(),
        "sampler": st.sampled_from(["Euler", "Nope", ""]),
        "clip_skip": st.integers(0, 30),
        "vae": st.text(max_size=5),
        "loras": st.lists(st.fixed_dictionaries({"name": st.text(max_size=9)}), max_size=2) | ANYTHING,
        "hires": st.fixed_dictionaries({"scale": st.floats(), "width": st.none() | st.integers(0, 512)}) | ANYTHING,
        "axes": st.lists(
            st.fixed_dictionaries(
                {
                    "parameter": st.sampled_from(["Steps", "Seed", "Nope"]),
                    "values": st.lists(st.text(max_size=5), max_size=3),
                }
            ),
            max_size=4,
        ),
        "prompt_weight": st.floats(),
        "saving": st.sampled_from(["time", "memory", "x"]),
        "model": st.sampled_from(["", "fake", "x\0"]),
    },
)


@pytest.mark.slow
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=NEARLY | st.dictionaries(st.sampled_from(list(CreateBody.model_fields)), ANYTHING, max_size=6) | ANYTHING)
def test_no_body_makes_the_server_fail(served: RunningStudio, body: Any) -> None:
    answer = served.open_client().post(
        f"{API}/create", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 202 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 202:
        assert set(answer.json()) == {"error", "code", "details"}


def test_what_a_full_disk_refused_is_saved_when_there_is_room(
    held: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, backend = held.open_client(), held.backend
    place = create(client, wait=False, count=2).headers["Location"]

    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outputs_module, "write_synced", refuse)
        backend.release(8)
        wait_until(lambda: client.get(place).json()["status"] == "failed")
        assert client.get(place).json()["unsaved"] >= 1
        assert client.post(f"{place}/retry-save").status_code == 202
        wait_until(lambda: client.get(place).json()["status"] == "failed")
    assert client.post(f"{place}/retry-save").status_code == 202
    wait_until(lambda: client.get(place).json()["status"] == "finished")
    job = client.get(place).json()
    assert (len(job["images"]), job["unsaved"], job["error"], len(backend.seen)) == (2, 0, None, 2)
    again = client.post(f"{place}/retry-save")
    assert (again.status_code, again.json()["error"]) == (400, "All images of this job are already saved.")
