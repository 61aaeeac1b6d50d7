"""What AUTOMATIC1111's own tests, SillyTavern and open-webui send, and what they read of the answers."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from dialect_studio import DRAWING, OTHER, SCHEDULES, TOOLS, decode_image, encode, make_png, serve_dialects
from fakes import FakeBackend
from serving import RunningStudio

from studio.core.model import Sampling
from studio.core.request import GenerationRequest
from studio.core.request_parts import Hires
from studio.core.task import Task

API = "/sdapi/v1"
SAMPLERS = ("Euler", "Euler a", "DPM++ 2M", "DDIM", "PLMS", "UniPC")
COMMON: dict[str, Any] = {
    "batch_size": 1,
    "cfg_scale": 7,
    "eta": 0,
    "height": 64,
    "n_iter": 1,
    "negative_prompt": "",
    "prompt": "example prompt",
    "restore_faces": False,
    "s_churn": 0,
    "s_noise": 1,
    "s_tmax": 0,
    "s_tmin": 0,
    "sampler_index": "Euler a",
    "seed": -1,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "steps": 3,
    "styles": [],
    "subseed": -1,
    "subseed_strength": 0,
    "tiling": False,
    "width": 64,
}
TXT2IMG = COMMON | {"denoising_strength": 0, "enable_hr": False, "firstphase_height": 0, "firstphase_width": 0}
IMG2IMG = COMMON | {
    "denoising_strength": 0.75,
    "include_init_images": False,
    "init_images": [encode(make_png())],
    "inpaint_full_res": False,
    "inpaint_full_res_padding": 0,
    "inpainting_fill": 0,
    "inpainting_mask_invert": False,
    "mask": None,
    "mask_blur": 4,
    "override_settings": {},
    "resize_mode": 0,
}
EXTRAS: dict[str, Any] = {
    "resize_mode": 0,
    "show_extras_results": True,
    "gfpgan_visibility": 0,
    "codeformer_visibility": 0,
    "codeformer_weight": 0,
    "upscaling_resize": 2,
    "upscaling_resize_w": 128,
    "upscaling_resize_h": 128,
    "upscaling_crop": True,
    "upscaler_1": "Lanczos",
    "upscaler_2": "None",
    "extras_upscaler_2_visibility": 0,
    "image": encode(make_png()),
}
PROMPT = "((emphasis)), (emphasis1:1.1), [to:1], [from::2], [from:to:0.3], [alt|alt1]"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    sampling = Sampling(combinations=dict.fromkeys(SAMPLERS, SCHEDULES))
    backend = FakeBackend(dataclasses.replace(DRAWING, sampling=sampling), OTHER, *TOOLS)
    with serve_dialects(tmp_path_factory.mktemp("webui"), backend=backend) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client()


def post(client: httpx.Client, path: str, body: dict[str, Any], **options: Any) -> Any:
    answer = client.post(f"{API}/{path}", json=body, **options)
    assert answer.status_code == 200, answer.text
    assert float(answer.headers["X-Process-Time"]) >= 0
    return answer.json()


def get_last(served: RunningStudio, task: Task = Task.TXT2IMG) -> GenerationRequest:
    return next(request for request, _ in reversed(served.backend.seen) if request.task is task)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"steps": 3, "guidance": 7.0, "sampler": "Euler a", "width": 64, "height": 64}),
        ({"negative_prompt": "example negative prompt"}, {"negative_prompt": "example negative prompt"}),
        ({"prompt": PROMPT}, {"prompt": PROMPT}),
        ({"height": 128}, {"width": 64, "height": 128}),
        ({"sampler_index": "PLMS"}, {"sampler": "PLMS"}),
        ({"sampler_index": "DDIM"}, {"sampler": "DDIM"}),
        ({"sampler_index": "UniPC"}, {"sampler": "UniPC"}),
        ({"n_iter": 2}, {"batch_size": 1}),
        ({"batch_size": 2}, {"count": 2, "batch_size": 2}),
        ({"tiling": True}, {}),
        ({"restore_faces": True}, {}),
        ({"unknown_field": {"nested": [1]}, "seed_enable_extras": True, "s_tmax": None}, {}),
    ],
)
def test_the_webuis_own_requests_for_text_are_answered(
    client: httpx.Client, served: RunningStudio, change: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer = post(client, "txt2img", TXT2IMG | change)
    assert len(answer["images"]) == change.get("n_iter", 1) * change.get("batch_size", 1)
    assert decode_image(answer["images"][0]).size == (64, change.get("height", 64))
    drawn = get_last(served)
    assert {name: getattr(drawn, name) for name in expected} == expected


def test_the_webuis_own_hires_fix_is_a_second_pass(client: httpx.Client, served: RunningStudio) -> None:
    post(client, "txt2img", TXT2IMG | {"enable_hr": True})
    hires = get_last(served).hires
    assert isinstance(hires, Hires)
    assert (hires.scale, hires.strength) == (2.0, 0.0)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_webuis_own_requests_for_images_are_answered(
    client: httpx.Client, served: RunningStudio, *, masked: bool, inverted: bool
) -> None:
    mask = encode(make_png("white", mode="L")) if masked else None
    answer = post(client, "img2img", IMG2IMG | {"mask": mask, "inpainting_mask_invert": inverted})
    assert len(answer["images"]) == 1
    assert answer["parameters"]["init_images"] is None
    assert answer["parameters"]["mask"] is None
    drawn = get_last(served, Task.INPAINT if masked else Task.IMG2IMG)
    assert (drawn.strength, bool(drawn.mask)) == (0.75, masked)


def test_the_webuis_own_upscale_script_enlarges(client: httpx.Client, served: RunningStudio) -> None:
    script = {"script_name": "sd upscale", "script_args": ["", 8, "Lanczos", 2.0]}
    assert len(post(client, "img2img", IMG2IMG | script)["images"]) == 1
    upscale = get_last(served, Task.UPSCALE).upscale
    assert upscale is not None
    assert (upscale.scale, upscale.overlap) == (2.0, 8)


@pytest.mark.parametrize("body", [EXTRAS, {"image": EXTRAS["image"]}, {"image": EXTRAS["image"], "model": "clip"}])
def test_the_webuis_own_extras_are_answered(client: httpx.Client, served: RunningStudio, body: dict[str, Any]) -> None:
    before = len(served.backend.seen)
    assert decode_image(post(client, "extra-single-image", body)["image"])
    asked = [request.upscale.scale for request, _ in served.backend.seen[before:]]
    assert asked == ([2.0] if "upscaler_1" in body else [])


def test_an_option_that_is_written_is_read_again(client: httpx.Client) -> None:
    before = client.get(f"{API}/options").json()["send_seed"]
    assert post(client, "options", {"send_seed": not before}) is None
    assert client.get(f"{API}/options").json()["send_seed"] is not before
    post(client, "options", {"send_seed": before})


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("cmd-flags", {}),
        ("samplers", [{"name", "aliases", "options"}]),
        ("schedulers", [{"name", "label", "aliases", "default_rho", "need_inner_model"}]),
        ("upscalers", [{"name", "model_name", "model_path", "model_url", "scale"}]),
        ("latent-upscale-modes", [{"name"}]),
        ("sd-models", [{"title", "model_name", "hash", "sha256", "filename", "config"}]),
        ("sd-vae", []),
        ("hypernetworks", []),
        ("face-restorers", [{"name", "cmd_dir"}]),
        ("realesrgan-models", [{"name", "path", "scale"}]),
        ("prompt-styles", [{"name", "prompt", "negative_prompt"}]),
        ("embeddings", {"loaded", "skipped"}),
        ("loras", []),
        ("memory", {"ram", "cuda"}),
        ("scripts", {"txt2img", "img2img"}),
        ("script-info", [{"name", "is_alwayson", "is_img2img", "args"}]),
        ("extensions", []),
        ("progress", {"progress", "eta_relative", "state", "current_image", "textinfo"}),
    ],
)
def test_every_list_has_the_shape_of_the_webuis(client: httpx.Client, path: str, shape: Any) -> None:
    answer = client.get(f"{API}/{path}")
    assert answer.status_code == 200
    assert float(answer.headers["X-Process-Time"]) >= 0
    found = answer.json()
    if isinstance(shape, list):
        assert isinstance(found, list)
        assert all(set(one) == keys for one in found for keys in shape)
        assert bool(found) or not shape
    else:
        assert isinstance(found, dict)
        assert set(shape) <= set(found)


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("interrupt", {}),
        ("skip", None),
        ("refresh-checkpoints", None),
        ("refresh-vae", None),
        ("refresh-embeddings", None),
        ("refresh-loras", None),
        ("unload-checkpoint", {}),
    ],
)
def test_every_action_answers_json_as_the_webui_does(client: httpx.Client, path: str, answered: Any) -> None:
    answer = client.post(f"{API}/{path}")
    assert (answer.status_code, answer.json()) == (200, answered)


@pytest.mark.parametrize("path", ["create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"])
def test_training_fails_as_it_does_at_the_webui(client: httpx.Client, path: str) -> None:
    told = post(client, path, {"name": "x"})["info"]
    assert told.startswith(path.replace("/", " ") + " error")


@pytest.mark.parametrize("path", ["server-kill", "server-restart", "server-stop"])
def test_nobody_stops_the_server(client: httpx.Client, path: str) -> None:
    assert client.post(f"{API}/{path}").status_code in (404, 405)
    assert client.get(f"{API}/progress").status_code == 200


def test_a_checkpoint_that_is_not_there_is_an_error_of_the_webuis_kind(client: httpx.Client) -> None:
    answer = client.post(f"{API}/options", json={"sd_model_checkpoint": "none such"})
    assert answer.status_code == 500
    assert answer.json()["error"] == "RuntimeError"


def test_images_are_left_out_where_they_are_not_wanted(client: httpx.Client) -> None:
    answer = post(client, "txt2img", TXT2IMG | {"send_images": False})
    assert answer["images"] == []
    assert json.loads(answer["info"])["seed"] >= 0


def test_init_images_come_back_where_they_are_wanted_and_may_have_a_prefix(client: httpx.Client) -> None:
    source = "data:image/png;base64," + encode(make_png())
    answer = post(client, "img2img", IMG2IMG | {"init_images": [source], "include_init_images": True})
    assert answer["parameters"]["init_images"] == [source]


def test_an_image_that_tells_nothing_has_empty_info(client: httpx.Client) -> None:
    answer = post(client, "png-info", {"image": encode(make_png())})
    assert (answer["info"], answer["parameters"]) == ("", {})


@pytest.mark.parametrize("header", ["Basic", "Basic dW5kZWZpbmVk", "Bearer", "Bearer None", "Bearer any-key"])
def test_stray_logins_are_passed_over_where_there_are_no_users(client: httpx.Client, header: str) -> None:
    for path in (f"{API}/options", "/v1/models", "/object_info", "/controlnet/version"):
        assert client.get(path, headers={"Authorization": header}).status_code == 200, path


SILLY = {"Authorization": "Basic dW5kZWZpbmVk", "Content-Type": "application/json"}


def test_sillytavern_fills_its_lists(client: httpx.Client) -> None:
    def fetch(path: str) -> Any:
        answer = client.get(f"{API}/{path}", headers={"Authorization": SILLY["Authorization"]})
        assert answer.status_code == 200
        return answer.json()

    assert "forge_preset" not in fetch("options")
    upscalers = [one["name"] for one in fetch("upscalers")]
    latent = [one["name"] for one in fetch("latent-upscale-modes")]
    assert (upscalers[0], latent[0], len(latent)) == ("None", "Latent", 6)
    for path in ("sd-vae", "sd-modules"):
        assert isinstance(fetch(path), list)
    assert {one["name"] for one in fetch("samplers")} == set(SAMPLERS)
    assert fetch("schedulers")[0]["name"] == "automatic"
    titles = [one["title"] for one in fetch("sd-models")]
    assert fetch("options")["sd_model_checkpoint"] in titles


def test_sillytavern_sets_a_model_waits_for_it_and_draws(client: httpx.Client, served: RunningStudio) -> None:
    other = client.get(f"{API}/sd-models").json()[1]["title"]
    assert client.post(f"{API}/options", content=json.dumps({"sd_model_checkpoint": other}), headers=SILLY).is_success
    progress = client.get(f"{API}/progress").json()
    assert (progress["progress"], progress["state"]["job_count"]) == (0.0, 0)
    assert client.get(f"{API}/options").json()["sd_model_checkpoint"] == other
    body = {
        "url": served.url,
        "auth": "",
        "prompt": "a red apple",
        "negative_prompt": "blurry",
        "sampler_name": "DPM++ 2M",
        "scheduler": "karras",
        "steps": 4,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 1,
        "hr_additional_modules": [],
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_vae": "Automatic"},
        "override_settings_restore_afterwards": True,
        "clip_skip": 2,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    }
    answer = client.post(f"{API}/txt2img", content=json.dumps(body), headers=SILLY)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 1
    drawn = get_last(served)
    assert (drawn.model, drawn.sampler, drawn.schedule) == ("other", "DPM++ 2M", "Karras")
    client.post(f"{API}/options", json={"sd_model_checkpoint": "fake"})


def test_open_webui_draws_through_the_webuis_api(client: httpx.Client, served: RunningStudio) -> None:
    headers = {"authorization": "Basic"}
    options = client.get(f"{API}/options", headers=headers).json()
    options["sd_model_checkpoint"] = client.get(f"{API}/sd-models", headers=headers).json()[0]["title"]
    assert client.post(f"{API}/options", json=options, headers=headers).is_success
    body = {"prompt": "a red apple", "batch_size": 2, "width": 512, "height": 512, "steps": 4}
    sent = body | {"negative_prompt": "blurry", "cfg_scale": 5}  # its extra parameters come on top
    answer = client.post(f"{API}/txt2img", json=sent, headers=headers).json()
    assert [decode_image(image).size for image in answer["images"]] == [(512, 512)] * 2
    assert isinstance(answer["info"], str)
    assert get_last(served).guidance == 5


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1.5", ""])
def test_open_webui_draws_through_openais_api(client: httpx.Client, model: str) -> None:
    body = {"model": model, "prompt": "a red apple", "n": 1, "size": "512x512", "response_format": "b64_json"}
    headers = {"Authorization": "Bearer", "Content-Type": "application/json"}
    answer = client.post("/v1/images/generations?api-version=2025-04-01", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["data"]
    assert not image.get("url")
    assert decode_image(image["b64_json"]).size == (512, 512)


@pytest.mark.parametrize("field", ["image", "image[]"])
def test_open_webui_edits_through_openais_api(client: httpx.Client, served: RunningStudio, field: str) -> None:
    form = {"model": "", "prompt": "a pear", "n": "1", "size": "64x64", "response_format": "b64_json"}
    files = {field: ("3f.png", make_png(), "image/png")}
    answer = client.post(
        "/v1/images/edits", data=form | {"background": "auto"}, files=files, headers={"Authorization": "Bearer"}
    )
    assert answer.status_code == 200, answer.text
    assert base64.b64decode(answer.json()["data"][0]["b64_json"])[:4] == b"\x89PNG"
    assert served.backend.seen[-1][0].source
