"""Attacks on what users, tokens and other machines may reach, each as somebody would try it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from fakes import open_engine, wait_until_final
from PIL import Image
from serving import PASSWORDS, make_users, serve_studio

from studio.api.dialects.automatic1111.names import find_checkpoint
from studio.cluster.replica import ReplicaContext
from studio.cluster.wire import MAX_SEEDS, Order, decode_error, encode_png
from studio.core import grid_values
from studio.core.errors import ContentRefused, Forbidden, InvalidRequest, QuotaExceeded, RateLimited
from studio.core.grid import expand_cells
from studio.core.image_gate import ImageLimits
from studio.core.infotext import parse_infotext
from studio.core.model import Model
from studio.core.ports import ImageSeed
from studio.core.request import Axis, GenerationRequest
from studio.core.rights import Right, Role
from studio.core.settings import Settings
from studio.core.trust import MINORS, Stage
from studio.core.user import User
from studio.engine.api_tokens import TokenScope
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.serving.users import save_user
from studio.tabs.common.form_check import MAX_TEXT, FormValues
from studio.tabs.common.form_warnings import _tidy_commas  # pyright: ignore[reportPrivateUsage]
from studio.trust.moderator import Filters
from studio.trust.words import WordFilter

API = "/api/image-studio"
ANN = User("ann")
LONG = 400_000  # characters; what takes the square of it takes longer than any test may


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "@" * LONG,
        "a" + "!" * LONG,
        "naked 1" + " " * LONG + "x",
        "a!@" * (LONG // 3),
        "[a|" * (LONG // 3),
        "<a:" * (LONG // 3),
    ],
)
def test_no_prompt_keeps_the_word_lists_busy(text: str) -> None:
    WordFilter.load(Path("no such file")).check([text], Stage.PROMPT)


@pytest.mark.timeout(60)
def test_no_list_of_a_grid_keeps_the_studio_busy() -> None:
    with pytest.raises(InvalidRequest, match="not a number"):
        grid_values.parse_floats("CFG scale", ("1-" + " " * LONG + "x", "1"))


@pytest.mark.timeout(60)
def test_no_prompt_keeps_the_check_of_a_form_busy() -> None:
    assert _tidy_commas("a" + "\n" * LONG + "b") == "a" + "\n" * LONG + "b"
    assert _tidy_commas("a ,\n, , b,c, ,") == "a, b,c"


@pytest.mark.timeout(60)
def test_no_name_of_a_model_keeps_the_studio_busy() -> None:
    name = "a" + " " * LONG + "b"
    assert find_checkpoint(name, [Model(id="m", title="M", family="f")], []) is None
    assert find_checkpoint("m.safetensors [6ce0161689] ", [Model(id="m", title="M", family="f")], []) == "m"
    spaces = " " * 190_000
    parsed = parse_infotext(f"x\nSteps: 20, Seed: 7, Model: a{spaces}b")
    assert (parsed.request.seed, parse_infotext("x\nSteps: 2, Seed: 7, Model: m [6CE01616]").request.model) == (7, "m")


@pytest.mark.parametrize(
    "values",
    [{"prompt": "x" * 20_001}, {"axis_x_values": "1," * MAX_TEXT}, {"width": float("inf")}, {"lora_weight_1": 10**400}],
)
def test_what_no_form_holds_is_not_looked_at(values: dict[str, object]) -> None:
    assert FormValues(values={**values, "steps": 20}).values == {"steps": 20}


def open_moderated(root: Path, **settings: Any) -> Engine:
    return open_engine(root, lookups=Lookups(moderator=Filters(root / "words.toml")), **settings)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a naXed child", "axes": (Axis(parameter="Prompt S/R", values=("X", "k")),)},
        {"prompt": "a {naXed|naXed} child", "axes": (Axis(parameter="Prompt S/R", values=("X", "k")),)},
        {"prompt": "a room", "negative_prompt": "a naked child", "negative_weight": -1.0},
        {"prompt": "a {big|small} room", "negative_prompt": "a naked child", "negative_weight": -1.0},
    ],
)
def test_no_grid_and_no_weight_leads_past_the_rule_for_minors(tmp_path: Path, fields: dict[str, Any]) -> None:
    engine = open_moderated(tmp_path, moderation="off")
    with pytest.raises(ContentRefused) as caught:
        engine.submit(GenerationRequest(**fields), ANN)
    assert caught.value.details["category"] == MINORS
    engine.close()


def test_negative_prompts_and_grids_that_keep_it_out_still_pass(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="block")
    axis = Axis(parameter="Prompt S/R", values=("X", "red", "blue"))
    request = GenerationRequest(prompt="an X room", negative_prompt="a naked child", axes=(axis,))
    assert len(wait_until_final(engine.submit(request, ANN)).assets) == 4
    engine.close()


def test_no_grid_builds_a_prompt_of_any_length(tmp_path: Path) -> None:
    axis = Axis(parameter="Prompt S/R", values=("a", "b" * 20_000))
    with pytest.raises(InvalidRequest, match="characters"):
        expand_cells(GenerationRequest(prompt="a" * 20_000, axes=(axis,)))


@pytest.mark.parametrize(
    "text",
    [
        "naked chi<lora:ink:0>ld",
        "naked [chi|chi]ld",
        "na<lora:a:1>ked <lora:b:1>ch[il|x]d",
        "nude, age: 12",
        "nude 9 y.o.",
    ],
)
def test_no_syntax_of_prompts_hides_a_word(text: str) -> None:
    [found] = WordFilter.load(Path("no such file")).check([text], Stage.PROMPT)
    assert found.category == MINORS


ORDER = Order(request=GenerationRequest(prompt="a pear", model="fake"), seeds=(ImageSeed(seed=1),), images={}).to_json()
PIXEL = base64.b64encode(encode_png(Image.new("RGB", (40, 40)))).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": []},
        {"seeds": [[1, None]] * (MAX_SEEDS + 1)},
        {"images": {"0" * 64: PIXEL}},
        {
            "request": {"prompt": "a pear", "model": "fake", "batch": ["0" * 64, "1" * 64]},
            "images": {"0" * 64: PIXEL, "1" * 64: PIXEL},
        },
    ],
)
def test_an_order_asks_for_no_more_than_a_pass_needs(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="not an order"):
        Order.from_json({**ORDER, **change}, ImageLimits())


def test_the_images_of_an_order_are_bounded_together() -> None:
    names = [f"{number:064x}" for number in range(6)]
    control = [{"model": "canny", "image": name} for name in names[:3]]
    request = {"source": names[3], "mask": names[4], "background": names[5], "control": control}
    order = {**ORDER, "request": request, "images": dict.fromkeys(names, PIXEL)}
    assert len(Order.from_json(order, ImageLimits()).images) == 6
    with pytest.raises(InvalidRequest, match="not an order"):
        Order.from_json(order, ImageLimits(max_pixels=2000))


def test_drawing_for_other_studios_counts_among_the_images_of_a_day(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    ann = User("ann", limits=(("images_per_day", 2),))
    order = Order.from_json(ORDER, ImageLimits())
    for _ in range(2):
        engine.passes.admit(ann, order.request, 1)
        context = ReplicaContext(order, "ann", Settings(), lambda line: None)
        assert len(engine.passes.render(order.request, order.seeds, context)) == 1
    with pytest.raises(QuotaExceeded):
        engine.passes.admit(ann, order.request, 1)
    engine.passes.admit(User("bob", limits=(("images_per_day", 2),)), order.request, 1)
    with pytest.raises(Forbidden):
        engine.passes.admit(User("reader").without(Right.GENERATE), order.request, 1)
    engine.close()


def test_an_order_shows_the_filters_what_it_draws(tmp_path: Path) -> None:
    engine = open_moderated(tmp_path, moderation="off")
    hiding = {"prompt": "a naked child", "model": "fake", "drawn": [["a pear", ""]]}
    order = Order.from_json({**ORDER, "request": hiding}, ImageLimits())
    context = ReplicaContext(order, "ann", Settings(), lambda line: None)
    with pytest.raises(ContentRefused):
        engine.passes.render(order.request, order.seeds, context)
    engine.close()


def test_an_error_of_a_machine_has_no_field_of_its_making() -> None:
    error = decode_error({"code": "RATE_LIMITED", "details": {"retry_after": "soon"}})
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


def test_what_a_user_brings_takes_no_more_than_the_disk_space(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    ann = User("ann", limits=(("disk_gb_per_user", 1e-6),))  # 1074 bytes
    noise = Image.effect_noise((40, 40), 60)
    data = encode_png(noise)
    assert len(data) > 1074
    engine.keep_image(data, ann)
    for bring in (lambda: engine.keep_image(data, ann), lambda: engine.keep_version(noise, data, ann)):
        with pytest.raises(QuotaExceeded):
            bring()
    engine.keep_image(data, User("bob", limits=ann.limits))
    assert User("guest-00000000000000aa", Role.GUEST).adjust_settings(Settings()).disk_gb_per_user == 1.0
    engine.close()


def test_no_token_reaches_the_account_of_its_user(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True) as served:
        ann, program = served.open_client("ann"), served.open_client()
        secret = served.studio.engine.tokens.create("ann", "program", TokenScope.SPEND)
        program.headers["Authorization"] = f"Bearer {secret}"
        assert program.get(f"{API}/me").status_code == 200
        [session] = ann.get(f"{API}/sessions").json()["sessions"]
        tries = (
            ("GET", "/me/export", None),
            ("GET", "/sessions", None),
            ("POST", "/sessions/end", None),
            ("DELETE", f"/sessions/{session['id']}", None),
            ("POST", "/me/data/delete", {"confirm": "ann"}),
            ("PUT", "/me/password", {"old": PASSWORDS["ann"], "new": "a new password"}),
        )
        for method, path, body in tries:
            answer = program.request(method, API + path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), path
        assert ann.get(f"{API}/me").status_code == 200
        assert program.get(f"{API}/me").status_code == 200


@pytest.mark.parametrize("name", ["guest-bob", "guest-0123456789abcdef", f"openid-{'0' * 32}"])
def test_no_user_takes_the_name_of_a_visitor(tmp_path: Path, name: str) -> None:
    users = make_users(tmp_path)
    with pytest.raises(InvalidRequest, match="visitors"):
        users.add(name, "a long password", Role.MEMBER, {})
    with pytest.raises(InvalidRequest, match="visitors"):
        save_user(tmp_path / "users.json", name, "a long password")
    assert users.get(name) is None


class CountingCaptioner:
    """A captioner that notes who looked."""

    caption_problem = ""

    def __init__(self) -> None:
        self.calls = 0

    def write_caption(self, image: Image.Image, ctx: Any, is_cancelled: Any) -> tuple[str, str]:
        self.calls += 1
        return "a pear", "Counting"


def test_no_guest_keeps_the_gpu_busy_with_captions(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True, guests=True) as served:
        captioner = CountingCaptioner()
        object.__setattr__(served.studio, "captioner", captioner)
        guest, ann = served.open_client(), served.open_client("ann")
        guest.get("/", headers={"Accept": "text/html"})
        native = {"image": PIXEL, "by": "captioner"}
        old = {"image": PIXEL, "model": "clip"}
        assert guest.post(f"{API}/prompts/interrogate", json=native).status_code == 403
        assert guest.post("/sdapi/v1/interrogate", json=old).status_code == 403
        assert captioner.calls == 0
        assert ann.post(f"{API}/prompts/interrogate", json=native).json()["source"] == "Counting"
        assert ann.post("/sdapi/v1/interrogate", json=old).json() == {"caption": "a pear"}
