"""A server of one's own: the odd forms that such servers answer in, its models, and that what is free is tried
again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBackend, open_engine, wait_until_final
from providers import SENTINEL, FakeContext, FakeKeys, expect_error, make_service, render_images
from vendor_server import Reply, VendorServer, make_png, run_vendor_server
from vendors.compatible import MODELS, CompatibleServer

from studio.core.errors import MAY_BE_BILLED, InvalidRequest, ProviderError, Unreachable
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.providers.common.service_backend import Service
from studio.providers.compatible import PROVIDER

PATH = "/images/generations"


@pytest.fixture
def stand_in() -> CompatibleServer:
    return CompatibleServer()


@pytest.fixture
def server(stand_in: CompatibleServer) -> Iterator[VendorServer]:
    with run_vendor_server(stand_in) as server:
        yield server


@pytest.fixture
def own(server: VendorServer) -> Service:
    return make_service(PROVIDER, server, path="/v1")


def png(side: int = 32, red: int = 200) -> str:
    return base64.b64encode(make_png(side, side, (red, 3, 250))).decode()


def break_lines(text: str) -> str:
    return "\r\n".join(text[k : k + 76] for k in range(0, len(text), 76)) + "\r\n"


ODD_ENTRIES: dict[str, Callable[[int, str], Any]] = {
    "relative to the host": lambda k, host: {"url": "/files/a.png"},
    "relative to the base": lambda k, host: {"url": "b.png"},
    "data address": lambda k, host: {"url": f"data:image/png;base64,{png()}"},
    "another name": lambda k, host: {"url": "http://localhost:7777/files/a.png?sig=1"},
    "another scheme": lambda k, host: {"url": f"https://{host}/files/a.png"},
    "unresolvable name": lambda k, host: {"url": "http://gpu-box.internal/files/a.png"},
    "b64 with prefix": lambda k, host: {"b64_json": f"data:image/png;base64,{png()}"},
    "b64 with line breaks": lambda k, host: {"b64_json": break_lines(png())},
    "b64 url-safe": lambda k, host: {"b64_json": png().replace("+", "-").replace("/", "_")},
    "b64 unpadded": lambda k, host: {"b64_json": png().rstrip("=")},
    "a bare text": lambda k, host: png(),
    "null beside": lambda k, host: {"b64_json": None, "url": "/files/a.png", "revised_prompt": None},
    "empty beside": lambda k, host: {"b64_json": "", "url": "/files/a.png"},
    "nested address": lambda k, host: {"image_url": {"url": "/files/a.png"}},
}


@pytest.mark.parametrize("odd", list(ODD_ENTRIES))
def test_an_image_is_taken_in_whatever_form_it_comes(own: Service, stand_in: CompatibleServer, odd: str) -> None:
    stand_in.entry = ODD_ENTRIES[odd]
    drawn = render_images(own, seeds=2, model="compatible/default")
    assert [one.image.size for one in drawn] == [(32, 32)] * 2


@pytest.mark.parametrize(
    "wrap",
    [
        lambda entries: {"data": entries[0]},
        lambda entries: {"data": {"images": entries}},
        lambda entries: {"images": entries},
    ],
)
def test_one_image_alone_or_under_another_name_is_taken(
    own: Service, stand_in: CompatibleServer, wrap: Callable[[list[Any]], Any]
) -> None:
    stand_in.wrap = wrap
    assert len(render_images(own, seeds=2, model="compatible/default")) == 2


def test_a_server_that_gives_one_image_at_a_time_is_asked_for_the_rest(
    own: Service, server: VendorServer, stand_in: CompatibleServer
) -> None:
    stand_in.limit = 1
    drawn = render_images(own, seeds=4, model="compatible/default")
    assert [one.seed for one in drawn] == [7, 8, 9, 10]
    assert [seen.json["n"] for seen in server.find_requests(PATH)] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:notaport/x", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"]
)
def test_an_address_that_leads_nowhere_is_an_error_and_nobody_else_is_asked(
    own: Service, server: VendorServer, stand_in: CompatibleServer, url: str
) -> None:
    stand_in.entry = lambda k, host: {"url": url}
    error = expect_error(own, model="compatible/default")
    assert isinstance(error, ProviderError)
    assert MAY_BE_BILLED not in error.details


WORDS = "the scheduler has no such sampler"


@pytest.mark.parametrize("status", [200, 400, 422, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"detail": WORDS},
        {"detail": [{"loc": ["body", "size"], "msg": WORDS, "type": "value_error"}]},
        {"error": WORDS},
        {"error": {"message": WORDS, "code": 7}},
        {"error": {"detail": WORDS}},
        {"message": WORDS},
        {"errors": [WORDS]},
        WORDS,
        WORDS.encode(),
    ],
    ids=str,
)
def test_the_servers_own_words_are_told(own: Service, server: VendorServer, status: int, body: object) -> None:
    headers = {"Content-Type": "text/plain"} if isinstance(body, bytes) else {}
    server.fail(Reply(status=status, body=body, headers=headers), times=9, path=PATH)
    error = expect_error(own, model="compatible/default")
    assert WORDS in error.message
    assert MAY_BE_BILLED not in error.details


def test_pydantics_words_say_which_field_they_mean(own: Service, server: VendorServer) -> None:
    server.fail(Reply(status=422, body={"detail": [{"loc": ["body", "size"], "msg": "too large"}]}), path=PATH)
    assert "body.size: too large" in expect_error(own, model="compatible/default").message


def test_a_new_address_is_named(own: Service, server: VendorServer) -> None:
    server.fail(Reply(status=301, headers={"Location": "https://box.example/v1/images/generations"}), path=PATH)
    error = expect_error(own, model="compatible/default")
    assert isinstance(error, ProviderError)
    assert "https://box.example/v1/images/generations" in error.message
    assert "address" in error.hint


def test_an_address_without_its_v1_is_said_in_the_servers_words(server: VendorServer) -> None:
    error = expect_error(make_service(PROVIDER, server), model="compatible/default")
    assert isinstance(error, InvalidRequest)
    assert "404 page not found" in error.message
    assert "no /v1" in error.hint
    server.fail(Reply(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}))
    error = expect_error(make_service(PROVIDER, server), model="compatible/default")
    assert "not JSON" in error.message
    assert "no /v1" in error.hint


@pytest.mark.parametrize(
    "trouble", [Reply(status=503, body={"error": "model is loading"}), Reply(status=502), Reply(drop=True)]
)
def test_what_costs_nothing_is_tried_again(own: Service, server: VendorServer, trouble: Reply) -> None:
    server.fail(trouble, times=2, path=PATH)
    context = FakeContext()
    assert len(render_images(own, context, model="compatible/default")) == 1
    assert len(server.find_requests(PATH)) == 3
    server.fail(trouble, times=9, path=PATH)
    error = expect_error(own, model="compatible/default")
    assert MAY_BE_BILLED not in error.details
    assert "billed" not in f"{error.message} {error.hint}"


def test_another_model_draws_when_a_free_server_fails(own: Service, server: VendorServer, tmp_path: Path) -> None:
    server.fail(Reply(status=500, body={"detail": "out of memory"}), times=9, path=PATH)
    engine = open_engine(tmp_path, FakeBackend(), own)
    try:
        request = GenerationRequest(model="compatible/default", prompt="a fox", fallbacks=("fake",))
        ended = wait_until_final(engine.submit(request, LOCAL_USER))
        assert ended.status is Status.FINISHED
        assert "out of memory" in " ".join(ended.notices)
    finally:
        engine.close()


def test_a_server_that_is_too_slow_is_asked_once_and_may_be_replaced(
    own: Service, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.providers.common.openai_images._CALL_TIMEOUT", 0.2)
    server.fail(Reply(silent=True), times=9, path=PATH)
    error = expect_error(own, model="compatible/default")
    assert isinstance(error, Unreachable)
    assert MAY_BE_BILLED not in error.details
    assert len(server.find_requests(PATH)) == 1


def test_its_models_are_listed_once_it_was_asked_and_stay_after_a_restart(server: VendorServer, tmp_path: Path) -> None:
    folder = tmp_path / "user"

    def start() -> Service:
        return Service(PROVIDER, FakeKeys(), lambda: f"{server.url}/v1", folder)

    own = start()
    assert [model.id for model in own.models()] == ["compatible/default"]
    own.refresh_models(FakeContext())
    listed = ["compatible/default", *(f"compatible/{name}" for name in MODELS)]
    assert [model.id for model in own.models()] == listed
    again = start()
    assert [model.id for model in again.models()] == listed
    assert len(render_images(again, model="compatible/org/flux.1-dev")) == 1
    assert server.seen[-1].json["model"] == "org/flux.1-dev"
    elsewhere = Service(PROVIDER, FakeKeys(), lambda: "http://127.0.0.1:9/v1", folder)
    assert [model.id for model in elsewhere.models()] == ["compatible/default"]
    [file] = folder.glob("models-*.json")
    file.write_text("[1]")
    assert [model.id for model in start().models()] == ["compatible/default"]


def test_no_model_is_named_unless_one_is_chosen(own: Service, server: VendorServer) -> None:
    render_images(own, model="compatible/default")
    assert "model" not in server.seen[-1].json
    context = FakeContext()
    context.settings = Settings(compatible_model="org/flux.1-dev")
    render_images(own, context, model="compatible/default")
    assert server.seen[-1].json["model"] == "org/flux.1-dev"
    context.settings = Settings(compatible_model="gone")
    assert "model gone not found" in expect_error(own, context, model="compatible/default").message


def test_a_key_in_the_servers_words_or_names_is_struck_out(own: Service, server: VendorServer) -> None:
    data = [{"id": f"sd {SENTINEL}", "object": "model", "created": 1, "owned_by": "me"}]
    server.fail(Reply(body={"object": "list", "data": data}), times=2, path="/models")
    assert SENTINEL not in own.check(FakeContext())
    assert SENTINEL not in json.dumps([vars(model) for model in own.models()], default=str)


def test_seed_negative_prompt_and_steps_are_sent_as_local_servers_read_them(own: Service, server: VendorServer) -> None:
    render_images(own, model="compatible/default", negative_prompt="blurry", steps=7, guidance=3.0)
    sent = [seen for seen in server.seen if seen.path == f"/v1{PATH}"][-1].json
    assert sent["seed"] == 7
    assert (sent["negative_prompt"], sent["num_inference_steps"], sent["guidance_scale"]) == ("blurry", 7, 3.0)


def test_a_server_that_refuses_the_extra_fields_is_asked_without_them(
    own: Service, stand_in: CompatibleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = stand_in.__class__.__call__

    def refuse(self: CompatibleServer, seen: Any) -> Reply:
        if seen.json.get("seed") is not None:
            return Reply(status=400, body={"error": {"message": "Unknown parameter: 'seed'."}})
        return answered(self, seen)

    monkeypatch.setattr(CompatibleServer, "__call__", refuse)
    context = FakeContext()
    assert len(render_images(own, context, model="compatible/default")) == 1
    assert any("left out" in note for note in context.notes)
