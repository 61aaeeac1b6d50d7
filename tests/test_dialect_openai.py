"""OpenAI's images API: its own client against a served studio."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from dialect_studio import decode_image, encode, make_backend, make_png, serve_dialects
from fakes import draw_fake_image
from PIL import Image
from serving import RunningStudio, wait_until

from studio.api.job_waiting import WaiterPool
from studio.core.errors import ModelBroken
from studio.core.events import Snapshot
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.api_tokens import TokenScope


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("openai"), preview_interval=0.1) as found:
        yield found


def connect(served: RunningStudio, key: str = "none needed") -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url + "/v1", api_key=key)


@pytest.fixture
def client(served: RunningStudio) -> openai.OpenAI:
    return connect(served)


def test_an_image_comes_in_base64_with_its_facts(client: openai.OpenAI, served: RunningStudio) -> None:
    answer = client.images.generate(
        model="fake",
        prompt="a red apple",
        n=2,
        size="64x64",
        extra_body={"seed": 5, "steps": 7, "cfg_scale": 3, "negative_prompt": "blurry", "sampler": "DPM++ 2M"},
    )
    for entry, seed in zip(answer.data, (5, 6), strict=True):
        assert decode_image(entry.b64_json).tobytes() == draw_fake_image(seed, 64, 64).tobytes()
    assert (answer.size, answer.output_format, answer.background) == ("64x64", "png", "opaque")
    assert answer.usage.total_tokens == 0
    request, _ = served.backend.seen[-1]
    assert (request.steps, request.guidance, request.negative_prompt) == (7, 3.0, "blurry")
    assert request.sampler == "DPM++ 2M"


def test_an_address_leads_to_the_file(client: openai.OpenAI, served: RunningStudio) -> None:
    answer = client.images.generate(model="fake", prompt="a red apple", response_format="url")
    assert served.open_client().get(answer.data[0].url).headers["content-type"] == "image/png"


def test_names_of_openais_own_models_mean_the_default(client: openai.OpenAI) -> None:
    for name in ("dall-e-2", "gpt-image-1.5", "chatgpt-image-latest"):
        answer = client.images.generate(model=name, prompt="a red apple", quality="standard", style="vivid")
        assert name in answer.model_extra["notices"][0]


@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_the_output_format_is_the_files(client: openai.OpenAI, kind: Any) -> None:
    answer = client.images.generate(model="fake", prompt="a red apple", output_format=kind, output_compression=60)
    assert decode_image(answer.data[0].b64_json).format == kind.upper()


def test_a_stream_sends_previews_and_then_the_image(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, backend=make_backend(held=True), preview_interval=0.1) as served:
        served.backend.release(2)
        events = connect(served).images.generate(
            model="fake", prompt="a red apple", stream=True, partial_images=2, extra_body={"seed": 5}
        )
        first = next(iter(events))
        assert (first.type, first.partial_image_index) == ("image_generation.partial_image", 0)
        assert decode_image(first.b64_json).format == "PNG"
        served.backend.release(10)
        last = list(events)[-1]
        assert last.type == "image_generation.completed"
        assert decode_image(last.b64_json).tobytes() == draw_fake_image(5, 64, 64).tobytes()
        assert last.usage.total_tokens == 0


def test_a_stream_sends_no_preview_behind_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = WaiterPool.stream_snapshots

    async def stream_late(*args: Any) -> AsyncIterator[Snapshot]:
        async for now in stream(*args):
            if now.assets:  # as a slow reader sees it: the image together with its last preview
                yield now

    monkeypatch.setattr(WaiterPool, "stream_snapshots", stream_late)
    with serve_dialects(tmp_path, backend=make_backend(held=True), preview_interval=60.0) as served:
        body = {"prompt": "x", "n": 2, "size": "64x64", "stream": True, "partial_images": 3}
        client, answers = served.open_client(), list[str]()
        thread = threading.Thread(target=lambda: answers.append(client.post("/v1/images/generations", json=body).text))
        thread.start()
        served.backend.release(4)
        wait_until(lambda: any(job.snapshot.assets for job in served.studio.engine.jobs(LOCAL_USER, 5)))
        time.sleep(0.3)  # until the stream has seen it
        served.backend.release(4)
        thread.join(30)
    kinds = [line[7:] for line in answers[0].splitlines() if line.startswith("event: ")]
    assert kinds == ["image_generation.completed"] * 2


def test_a_stream_that_is_given_up_leaves_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_dialects(tmp_path, backend=make_backend(held=True), preview_interval=0.1) as served:
        left: list[str] = []
        monkeypatch.setattr(served.studio.engine, "leave", lambda job_id, user: left.append(job_id))
        served.backend.release(2)
        events = connect(served).images.generate(model="fake", prompt="x", stream=True, partial_images=1)
        next(iter(events))
        events.close()
        wait_until(lambda: left)


def test_an_error_within_a_stream_is_raised_by_the_client(tmp_path: Path) -> None:
    backend = make_backend()
    backend.fail = lambda request, step: ModelBroken("The file is broken.", hint="Replace it.")
    with serve_dialects(tmp_path, backend=backend) as served:
        events = connect(served).images.generate(model="fake", prompt="a red apple", stream=True)
        with pytest.raises(openai.APIError, match="The file is broken"):
            list(events)


def test_an_edit_with_a_mask_changes_what_is_transparent(client: openai.OpenAI, served: RunningStudio) -> None:
    mask = Image.new("RGBA", (64, 64), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    out = io.BytesIO()
    mask.save(out, "PNG")
    answer = client.images.edit(
        model="fake",
        image=("a.png", make_png()),
        mask=("mask.png", out.getvalue()),
        prompt="a pear",
        extra_body={"seed": "9", "strength": "0.5"},
    )
    assert decode_image(answer.data[0].b64_json)
    request, _ = served.backend.seen[-1]
    assert (request.task, request.strength, request.seed) == (Task.INPAINT, 0.5, 9)
    kept = Image.open(served.studio.engine.get_kept_file(request.mask, LOCAL_USER))
    assert (kept.getpixel((8, 8)), kept.getpixel((60, 8))) == (255, 0)


def test_an_edit_takes_one_image_or_several_and_json(client: openai.OpenAI, served: RunningStudio) -> None:
    files = [("a.png", make_png()), ("b.png", make_png("blue"))]
    client.images.edit(model="fake", image=files, prompt="both")
    request, _ = served.backend.seen[-1]
    assert request.task is Task.EDIT
    assert len(request.references) == 1
    body = {"prompt": "a pear", "images": [{"image_url": "data:image/png;base64," + encode(make_png())}]}
    assert served.open_client().post("/v1/images/edits", json=body).status_code == 200
    assert client.images.create_variation(image=("a.png", make_png()), n=2).data


def test_models_are_listed_by_id(client: openai.OpenAI) -> None:
    assert {"fake", "other", "cloud/paid"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("cloud/paid").owned_by == "cloud"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none such")


@pytest.mark.parametrize(
    ("sent", "parameter"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "n": 11}, "n"),
        ({"prompt": "x", "size": "large"}, "size"),
        ({"prompt": "x", "output_format": "svg"}, "output_format"),
        ({"prompt": "x", "partial_images": 4, "stream": True}, "partial_images"),
        ({"prompt": "x", "extra_body": {"seed": "many"}}, "seed"),
        ({"prompt": "y" * 20_001}, "prompt"),
    ],
)
def test_a_wrong_value_is_a_typed_error_and_not_sent_again(
    client: openai.OpenAI, sent: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model="fake", **sent)
    assert (refused.value.param, refused.value.type) == (parameter, "invalid_request_error")
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_an_unknown_model_is_named_as_such(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(model="none such", prompt="a red apple")
    assert refused.value.code == "model_not_found"


def test_a_full_queue_is_a_rate_limit_with_a_time(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, backend=make_backend(held=True), queue_limit_per_user=1) as served:
        client = served.open_client()
        for _ in range(2):
            client.post("/api/image-studio/create", json={"prompt": "a red apple"})
        answer = client.post("/v1/images/generations", json={"prompt": "x"})
        assert answer.status_code == 429
        assert answer.headers["Retry-After"]
        assert "x-should-retry" not in answer.headers


def test_a_key_is_a_token_of_the_user(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        secret = served.studio.engine.tokens.create("ann", "mine", TokenScope.GENERATE)
        assert connect(served, secret).images.generate(model="fake", prompt="a red apple").data
        with pytest.raises(openai.AuthenticationError):
            connect(served, "sk-wrong").models.list()
        with pytest.raises(openai.PermissionDeniedError):
            connect(served, secret).images.generate(model="cloud/paid", prompt="a red apple")


def test_options_without_an_origin_is_answered(served: RunningStudio) -> None:
    assert served.open_client().options("/v1/images/generations").is_success
    unknown = served.open_client().post("/v1/chat/completions", json={})
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")


def test_files_that_are_no_images_and_foreign_addresses_are_refused(served: RunningStudio) -> None:
    client = served.open_client()
    pickle = b"cposix\nsystem\n(S'id'\ntR."
    for files in ({"image": ("a.png", pickle)}, {"image": ("a.png", b"")}):
        answer = client.post("/v1/images/edits", data={"prompt": "x"}, files=files)
        assert answer.status_code == 400
    for address in ("http://127.0.0.1:1/a.png", "http://localhost/a.png", "file:///etc/passwd"):
        answer = client.post("/v1/images/edits", json={"prompt": "x", "image": address})
        assert answer.status_code == 400


def test_a_body_beyond_the_limit_is_refused_in_the_apis_own_shape(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, max_upload_mb=1) as served:
        client = served.open_client()
        body = b'{"prompt": "' + b"x" * (3 * 2**20) + b'"}'
        refused = client.post("/v1/images/generations", content=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
        assert client.post("/sdapi/v1/txt2img", content=body).json()["error"] == "HTTPException"


def test_base64_of_a_result_can_be_sent_back(client: openai.OpenAI) -> None:
    made = client.images.generate(model="fake", prompt="a red apple")
    data = base64.b64decode(made.data[0].b64_json)
    assert client.images.edit(model="fake", image=("a.png", data), prompt="a pear").data
