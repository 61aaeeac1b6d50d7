"""Seeds of 64 bits, as ComfyUI and Fooocus draw them, keep every digit on all their ways."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FAKE_MODEL, open_engine, wait_until_final
from PIL import Image
from providers import FakeContext, make_service
from serving import serve_studio, wait_until
from vendor_server import run_vendor_server

from studio.core.errors import InvalidRequest
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.ports import ImageSeed
from studio.core.request import MAX_SEED, Axis, GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.jobs.passes import make_random_seed, plan_images
from studio.engine.metadata.image_info import read_image_info
from studio.tabs.common.browser_memory import filter_saved_values
from studio.tabs.common.field_widgets import build_widget
from studio.tabs.common.form_values import read_form, write_form

SEEDS = [2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2, MAX_SEED]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_image_keeps_its_seed_in_library_file_and_index(tmp_path: Path, seed: int) -> None:
    engine = open_engine(tmp_path)
    request = GenerationRequest(model="fake", prompt="a fox", seed=seed, variation_seed=seed, variation_strength=0.5)
    [asset] = wait_until_final(engine.submit(request, LOCAL_USER)).assets
    assert (asset.seed, asset.request.seed, asset.request.variation_seed) == (seed, seed, seed)
    info = read_image_info(asset.path, Settings())
    assert info.request is not None
    assert (info.request.seed, info.request.variation_seed) == (seed, seed)
    assert parse_infotext(info.infotext).request.seed == seed
    engine.close()

    engine = open_engine(tmp_path)
    assert engine.asset(asset.id, LOCAL_USER).seed == seed
    engine.close()
    (tmp_path / "library.db").unlink()
    engine = open_engine(tmp_path)
    wait_until(lambda: engine.library.list_job_assets(asset.job_id))  # the index is written anew in the background
    assert engine.asset(asset.id, LOCAL_USER).seed == seed
    engine.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_form_shows_a_seed_as_text_and_reads_it_back(seed: int) -> None:
    request = GenerationRequest(model="fake", prompt="a fox", seed=seed, variation_seed=seed, variation_strength=0.5)
    values = {**dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule")), **write_form(request)}
    assert (values["seed"], values["variation_seed"]) == (str(seed), str(seed))
    assert read_form(values, FAKE_MODEL) == request


@pytest.mark.parametrize(
    ("typed", "wanted"), [("", None), ("-1", None), (-1, None), (" 7 ", 7), ("+7", 7), (7, 7), ("0", 0)]
)
def test_what_is_typed_as_a_seed(typed: object, wanted: int | None) -> None:
    values = {**dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule"))}
    values |= write_form(GenerationRequest(model="fake")) | {"seed": typed}
    assert read_form(values, FAKE_MODEL).seed == wanted


@pytest.mark.parametrize("typed", ["seven", "1.5", "0x10", "-2", str(2**64), "9" * 41, [], {}])
def test_what_is_no_seed_is_refused_by_name(typed: object) -> None:
    values = {**dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule"))}
    values |= write_form(GenerationRequest(model="fake")) | {"seed": typed}
    with pytest.raises(InvalidRequest, match=r"[Ss]eed"):
        read_form(values, FAKE_MODEL)


def test_a_seed_that_a_browser_of_version_01_kept_comes_back() -> None:
    from studio.core.field_spec import get_field
    from studio.tabs.common.form import Form

    form = Form({"seed": build_widget(get_field(GenerationRequest.FIELDS, "seed"))})
    assert filter_saved_values({"seed": 42}, form) == {"seed": "42"}
    assert filter_saved_values({"seed": "42"}, form) == {"seed": "42"}
    assert filter_saved_values({"seed": True}, form) == {}


def test_http_takes_and_gives_every_digit(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        answer = client.post("/api/image-studio/create?wait=true", json={"prompt": "a fox", "seed": MAX_SEED})
        assert f'"seed":{MAX_SEED}' in answer.text.replace(" ", "")
        [image] = answer.json()["images"]
        details = client.get(f"/api/image-studio/assets/{image['id']}").json()
        assert (details["seed"], details["seed_text"]) == (MAX_SEED, str(MAX_SEED))
        assert json.loads(details["request_text"]) == details["request"]
        assert f'"seed": {MAX_SEED}' in details["request_text"]
        refused = client.post("/api/image-studio/create", json={"prompt": "a fox", "seed": MAX_SEED + 1})
        assert refused.status_code in (400, 422)


def test_images_count_on_from_a_large_seed_and_begin_anew_behind_the_largest() -> None:
    request = GenerationRequest(model="fake", seed=MAX_SEED - 1, count=3)
    assert [one.seed.seed for one in plan_images(request)] == [MAX_SEED - 1, MAX_SEED, 0]
    assert all(make_random_seed() < 2**32 for _ in range(100))


def test_a_grid_runs_over_large_seeds() -> None:
    cases = {
        "18446744073709551610-18446744073709551613": [MAX_SEED - 5, MAX_SEED - 4, MAX_SEED - 3, MAX_SEED - 2],
        "9007199254740993-9007199254740997 (+2)": [2**53 + 1, 2**53 + 3, 2**53 + 5],
        "9007199254740993-9007199254740997 [3]": [2**53 + 1, 2**53 + 3, 2**53 + 5],
        "10-1 [3]": [10, 5, 1],
    }
    for typed, wanted in cases.items():
        request = GenerationRequest(model="fake", axes=(Axis(parameter="Seed", values=(typed,)),))
        assert [one.request.seed for one in plan_images(request)] == wanted


def test_a_text_of_ours_and_of_others_keeps_every_digit() -> None:
    for seed in SEEDS:
        text = format_infotext(GenerationRequest(prompt="x"), model=FAKE_MODEL, width=64, height=64, seed=seed)
        assert parse_infotext(text).request.seed == seed


RANGES = {  # the seeds that a service takes, where it says so
    "stability": ("stability/core", 0, 4294967294),
    "ideogram": ("ideogram/ideogram-3", 0, 2**31 - 1),
    "wavespeed": ("wavespeed/qwen-image", 0, 2**31 - 1),
    "huggingface": ("huggingface/Qwen-Image", 0, 2**31 - 1),
    "bfl": ("bfl/flux-2-pro", 0, 2**32 - 1),
}


def _find_seed(seen: Any) -> int:
    if "seed" in seen.form:
        return int(seen.form["seed"])
    body = json.loads(seen.body)
    return body["parameters"]["seed"] if "parameters" in body else body["seed"]


@pytest.mark.parametrize("name", RANGES)
def test_services_get_a_seed_that_they_take(name: str) -> None:
    model, low, high = RANGES[name]
    vendor = importlib.import_module(f"vendors.{name}").VENDOR
    with run_vendor_server(vendor.stand_in()) as server:
        found = make_service(vendor.spec, server)
        sent = []
        for seed in (0, 7, 2**31 - 1, *SEEDS):
            before = len(server.seen)
            request = GenerationRequest(model=model, prompt="a fox")
            found.render(request, [ImageSeed(seed=seed)], FakeContext(Image.new("RGB", (64, 64))))
            sent.append(_find_seed(next(seen for seen in server.seen[before:] if seen.method == "POST")))
        assert sent[:3] == [0, 7, 2**31 - 1], "small seeds are sent as they always were"
        assert all(low <= seed <= high for seed in sent)
        if name == "stability":
            assert 0 not in sent[1:], "0 draws a random seed there"


@pytest.mark.torch
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE"])
def test_local_models_draw_from_a_large_seed(tmp_path: Path, sampler: str) -> None:
    from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
    from tests.tiny_models import make_tiny_sd15

    catalog = FolderCatalog({"tiny": make_tiny_sd15(tmp_path / "tiny")})
    backend, settings = make_local_pipelines(tmp_path, catalog)

    def draw(seed: int) -> bytes:
        request = make_request("tiny", sampler=sampler, variation_strength=0.3)
        seeds = make_seeds(seed, variation=seed)
        return backend.render(request, seeds, RecordingContext(settings))[0].image.tobytes()

    assert draw(MAX_SEED) == draw(MAX_SEED)
    assert draw(MAX_SEED) != draw(MAX_SEED - 1)
