"""What the page is told of a form while it is filled in: states of closed accordions, warnings with remedies, locks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from fakes import FAKE_MODEL, FakeBackend
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts
from test_catalog import lora, write
from test_page import store

from studio.core.model import Feature, Model, Sizes
from studio.engine.money.cloud_accounts import CloudAccounts
from studio.engine.money.keys import KeyStore
from studio.page import mount
from studio.providers.comfyui import PROVIDER as COMFYUI
from studio.providers.common.service_backend import Service
from studio.providers.openai import PROVIDER
from studio.tabs.common.accordion_states import MAX_STATE_CHARS, describe_accordions
from studio.tabs.common.form_fields import build_detail_fields
from studio.tabs.common.hires_fields import build_hires_accordion

LORA_TENSOR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TRAINED = dataclasses.replace(FAKE_MODEL, id="trained", title="Trained", sizes=Sizes(liked=((512, 512), (512, 768))))
BROKEN = dataclasses.replace(FAKE_MODEL, id="broken", title="Broken", problem="It is not whole.")
PLAIN = Model(id="plain", title="Plain", family="fake", features=frozenset({Feature.SEED}))
LONG = "cat, " * 151


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("studio")
    for name in ("sd15/Ink Wash", "caf\u00e9"):
        write(folder / "models" / "loras" / f"{name}.safetensors", lora(LORA_TENSOR))
    write(folder / "models" / "embeddings" / "easynegative.safetensors", {"emb_params": (4, 768)})
    social, _, backends = make_social_parts(folder)
    keys = KeyStore(folder / "keys.json", {})
    openai = Service(PROVIDER, keys, lambda: "http://127.0.0.1:9/v1")
    backends[0] = FakeBackend(FAKE_MODEL, TRAINED, BROKEN, PLAIN)
    comfyui = Service(COMFYUI, keys, lambda: "")
    backends += [openai, comfyui]
    with serve_studio(
        folder, page=mount, backend=backends, social=social, models=store(folder / "models"), default_model="fake",
        users=True,
    ) as served:  # fmt: skip
        accounts = CloudAccounts([openai, comfyui], keys, lambda: served.studio.settings.current)
        object.__setattr__(served.studio, "clouds", accounts)
        yield served


def check(served: RunningStudio, user: str = "ann", **values: Any) -> dict[str, Any]:
    answer = served.open_client(user).post("/page/form-check", json={"values": {"model": "fake", **values}})
    assert answer.status_code == 200, answer.text
    return answer.json()


def warn(served: RunningStudio, **values: Any) -> list[dict[str, Any]]:
    return check(served, **values)["warnings"]


def test_a_form_without_wishes_says_nothing(served: RunningStudio) -> None:
    said = check(served, prompt="a pear <lora:ink wash:0.8>", width=64, height=64)
    assert set(said.pop("accordions").values()) == {""}
    assert said == {"warnings": [], "locked": None}


def test_a_prompt_beyond_four_chunks_can_be_cut(served: RunningStudio) -> None:
    [warning] = warn(served, prompt="a pear", negative_prompt=LONG)
    assert "negative prompt takes 5 chunks" in warning["text"]
    shorter = warning["changes"]["negative_prompt"]
    assert LONG.startswith(shorter)
    assert warn(served, prompt="a pear", negative_prompt=shorter) == []
    assert warn(served, model="plain", prompt=LONG) == [], "a model that reads it otherwise"


def test_a_dynamic_prompt_is_counted_as_it_is_drawn_and_not_cut(served: RunningStudio) -> None:
    assert warn(served, prompt="{a|b} " + "cat, " * 100) == []
    [warning] = warn(served, prompt="{a|b} " + LONG)
    assert warning["remedy"] == ""


@pytest.mark.parametrize("tag", ["sd15/Ink Wash", "ink wash", "cafe\u0301", "CAF\u00c9", "caf\u00e9.safetensors"])
def test_loras_that_are_here_are_found_however_they_are_written(served: RunningStudio, tag: str) -> None:
    assert warn(served, prompt=f"a pear <lora:{tag}:1>") == []


def test_an_unknown_lora_is_removed_or_replaced_by_the_one_that_was_meant(served: RunningStudio) -> None:
    [gone] = warn(served, prompt="a pear, <lora:foo:0.8>, red")
    assert (gone["text"], gone["remedy"]) == ("There is no LoRA “foo”.", "Remove it")
    assert gone["changes"] == {"prompt": "a pear, red"}
    [near] = warn(served, prompt="a pear <lora:inkwash:0.8:0.5>")
    assert near["changes"] == {"prompt": "a pear <lora:sd15/Ink Wash:0.8:0.5>"}
    assert warn(served, **near["changes"]) == []
    [unread] = warn(served, prompt="<lora:ink wash:much>")
    assert "not a number" in unread["text"]
    assert warn(served, model="plain", prompt="<lora:foo:1>") == [], "it takes none, which is said beside"


def test_an_unknown_embedding_is_removed_or_replaced(served: RunningStudio) -> None:
    assert warn(served, negative_prompt="embedding:EasyNegative, blurry") == []
    [gone] = warn(served, negative_prompt="blurry, embedding:hands, snow")
    assert gone["changes"] == {"negative_prompt": "blurry, snow"}
    [near] = warn(served, negative_prompt="(embedding:easy_negative:1.2)")
    assert near["changes"] == {"negative_prompt": "(embedding:easynegative:1.2)"}


@pytest.mark.parametrize("model", ["nowhere", "broken"])
def test_a_model_that_is_missing_or_broken_is_replaced_by_one_that_works(served: RunningStudio, model: str) -> None:
    [warning] = warn(served, model=model)
    assert warning["changes"] == {"model": "fake"}
    assert warn(served, model="auto:draft") == []


@pytest.mark.parametrize(
    ("size", "better"),
    [((1536, 1536), (512, 512)), ((128, 192), (416, 624)), ((2048, 1024), (728, 360))],
)
def test_a_size_far_from_the_trained_one_is_fitted(
    served: RunningStudio, size: tuple[int, int], better: tuple[int, int]
) -> None:
    [warning] = warn(served, model="trained", width=size[0], height=size[1])
    assert "512 × 512" in warning["text"]
    assert (warning["changes"]["width"], warning["changes"]["height"]) == better
    assert warn(served, model="trained", **warning["changes"]) == []


@pytest.mark.parametrize("size", [(2304, 2304), (2304, 512), (2305, 2305)])
def test_a_size_that_the_model_refuses_is_told_as_generate_tells_it(
    served: RunningStudio, size: tuple[int, int]
) -> None:
    [warning] = warn(served, model="trained", width=size[0], height=size[1])
    said = f"The size {size[0]}×{size[1]} is outside what Trained can draw. Sides from 64 to 2048 px, "
    assert warning["text"] == said + "at most 4.2 megapixels."
    assert warn(served, model="trained", **warning["changes"]) == []


def test_sizes_near_the_trained_one_and_those_of_services_are_not_warned_of(served: RunningStudio) -> None:
    for width, height in ((512, 768), (640, 640), (448, 448), (None, 4000)):
        assert warn(served, model="trained", width=width, height=height) == []
    assert warn(served, model="trained", width=2048, height=2048, own_size=False) == []
    assert warn(served, model="openai/gpt-image-2", width=2048, height=2048) == []


def test_a_locked_model_names_the_service_whose_key_is_missing(served: RunningStudio) -> None:
    locked = check(served, model="openai/gpt-image-2")["locked"]
    assert (locked["title"], locked["missing"]) == ("OpenAI", "key")
    assert "needs a key" in locked["reason"]
    assert locked["mayUnlock"] is False
    assert check(served, "root", model="openai/gpt-image-2")["locked"]["mayUnlock"] is True
    server = check(served, model="comfyui/checkpoint")["locked"]
    assert (server["title"], server["missing"]) == ("ComfyUI", "address")


def test_closed_accordions_say_what_is_set_in_them(served: RunningStudio) -> None:
    accordions = check(
        served,
        hires_on=True,
        hires_scale=2,
        hires_upscaler="Latent",
        lora_0="styles/neon",
        lora_weight_0=0.8,
        axis_x="Steps",
        axis_x_values="10-12",
        axis_y="CFG scale",
        axis_y_values="4, 7",
        unit_0_on=True,
        unit_0_model="sd15/canny",
        afterwards="my chain",
        clip_skip=2,
        fallbacks=["a", "b"],
        for_pack=["instagram"],
    )["accordions"]
    assert accordions.pop("make-for") != ""
    assert {name: state for name, state in accordions.items() if state} == {
        "hires": "2× Latent",
        "loras": "neon 0.8",
        "grid": "3 × 2",
        "control": "canny",
        "post": "my chain",
        "advanced": "2 fallback models, Clip skip 2",
    }


def test_the_accordion_of_a_grid_on_one_axis_or_with_unreadable_values_says_so() -> None:
    assert describe_accordions({"axis_x": "Steps", "axis_x_values": "10, 20"})["grid"] == "2 values"
    assert (
        describe_accordions({"axis_x": "Steps", "axis_x_values": "ten", "axis_y": "Seed", "axis_y_values": "1-3"})[
            "grid"
        ]
        == "? × 3"
    )
    many = describe_accordions({f"lora_{n}": f"a very long name of a file {n}" for n in range(4)})["loras"]
    assert len(many) <= MAX_STATE_CHARS
    assert many.endswith("…")


def test_the_form_that_the_page_begins_with_has_no_states() -> None:
    with gr.Blocks():
        fields = build_detail_fields() | build_hires_accordion(FAKE_MODEL)
    states = describe_accordions({name: getattr(field, "value", None) for name, field in fields.items()})
    assert set(states.values()) == {""}


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": ["no"], "lora_0": {"a": 1}, "fallbacks": "x", "for_pack": [3], "axis_x": [], "hires_on": "yes"},
        {"width": "wide", "height": [], "model": 3, "mode": {}, "batch": 5, "unit_0_on": 1, "for_format": []},
        {"prompt": "<lora:" * 4000, "negative_prompt": "embedding:" * 2000},
        {"width": 1e308, "height": -5, "model": "trained"},
    ],
)
def test_values_of_any_kind_are_looked_at_without_an_error(served: RunningStudio, values: dict[str, Any]) -> None:
    assert set(check(served, **values)) == {"accordions", "warnings", "locked"}


def test_only_those_who_are_logged_in_are_answered_and_only_from_this_page(served: RunningStudio) -> None:
    body = {"values": {"model": "fake"}}
    assert served.open_client().post("/page/form-check", json=body).status_code in (302, 303, 401)
    foreign = {"Origin": "https://evil.example"}
    assert served.open_client("ann").post("/page/form-check", json=body, headers=foreign).status_code == 403
    many = {"values": {str(number): 0 for number in range(500)}}
    assert served.open_client("ann").post("/page/form-check", json=many).status_code in (400, 422)


def test_formats_of_ones_own_are_named_to_their_owner_alone(served: RunningStudio) -> None:
    assert served.studio.social is not None
    own = served.studio.social.platforms.of("ann").save("Secret poster", 600, 900)
    assert "Secret poster" in check(served, "ann", for_format=own.id)["accordions"]["make-for"]
    assert check(served, "bob", for_format=own.id)["accordions"]["make-for"] == ""


def test_models_come_in_groups_local_ones_first_and_locked_services_last(served: RunningStudio) -> None:
    groups = served.open_client("ann").get("/page/models").json()
    assert [group["title"] for group in groups] == ["On this computer", "Chosen automatically", "OpenAI", "ComfyUI"]
    local, _, openai, comfyui = groups
    assert comfyui["state"] == "no address"
    assert local["local"] is True
    assert [model["id"] for model in local["models"]][-1] == "broken"
    assert local["models"][-1]["state"] == "unavailable"
    assert (openai["state"], {model["state"] for model in openai["models"]}) == ("no key", {"no key"})
    edits = served.open_client("ann").get("/page/models", params={"mode": "Edit", "operation": "Erase"}).json()
    assert [group["title"] for group in edits] == ["Chosen automatically", "OpenAI"], "no local model erases"
    assert served.open_client().get("/page/models").status_code in (302, 303, 401)


def test_a_body_that_is_nested_too_deeply_is_refused(served: RunningStudio) -> None:
    body = '{"values": {"a": ' + "[" * 50_000 + "]" * 50_000 + "}}"
    headers = {"Content-Type": "application/json"}
    answer = served.open_client("ann").post("/page/form-check", content=body, headers=headers)
    assert answer.status_code in (400, 413, 422)
