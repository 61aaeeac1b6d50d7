"""AUTOMATIC1111's API: its own client and plain HTTP against a served studio."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import webuiapi
from dialect_studio import DRAWING, decode_image, encode, make_backend, make_png, read_info, serve_dialects
from fakes import FakeBackend, draw_fake_image
from PIL import Image
from serving import PASSWORDS, RunningStudio, wait_until
from test_catalog import lora, write

from studio.core.detailer import Detailer
from studio.core.request_choices import MaskedContent, Resize
from studio.core.request_parts import ControlMode
from studio.core.source_type import EDITED, GENERATED
from studio.core.task import Task
from studio.core.user import LOCAL_USER

API = "/sdapi/v1"
INFO_KEYS = set(
    "prompt all_prompts negative_prompt all_negative_prompts seed all_seeds subseed all_subseeds subseed_strength width"
    " height sampler_name cfg_scale steps batch_size restore_faces face_restoration_model sd_model_name sd_model_hash"
    " sd_vae_name sd_vae_hash seed_resize_from_w seed_resize_from_h denoising_strength extra_generation_params"
    " index_of_first_image infotexts styles job_timestamp clip_skip is_using_inpainting_conditioning version".split()
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("a1111")) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client(headers={"Accept": "application/json"})


def draw(client: httpx.Client, kind: str = "txt2img", **body: Any) -> dict[str, Any]:
    answer = client.post(f"{API}/{kind}", json={"prompt": "a red apple", "width": 64, "height": 64, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_images_come_with_their_infotext_and_all_facts(client: httpx.Client) -> None:
    answer = draw(client, seed=5, n_iter=2, batch_size=2, negative_prompt="blurry", steps=8)
    info = read_info(answer)
    assert set(info) >= INFO_KEYS
    assert info["all_seeds"] == [5, 6, 7, 8]
    for text, seed, infotext in zip(answer["images"], info["all_seeds"], info["infotexts"], strict=True):
        image = decode_image(text)
        assert image.tobytes() == draw_fake_image(seed, 64, 64).tobytes()
        assert image.info["parameters"] == infotext
        assert infotext.startswith("a red apple\nNegative prompt: blurry\nSteps: 8, Sampler: Euler")
        assert f"Seed: {seed}" in infotext


def test_comments_in_prompts_are_left_out_unless_the_option_is_off(client: httpx.Client) -> None:
    text = "a red apple # ripe"
    assert read_info(draw(client, prompt=text))["prompt"] == "a red apple"
    kept = draw(client, prompt=text, override_settings={"enable_prompt_comments": False})
    assert read_info(kept)["prompt"] == text


def test_the_noise_fields_of_a_body_and_of_the_options_are_taken(client) -> None:
    overrides = {"randn_source": "GPU", "eta_noise_seed_delta": 31337}
    answer = draw(client, seed=5, seed_resize_from_w=512, seed_resize_from_h=768, override_settings=overrides)
    info = read_info(answer)
    assert (info["seed_resize_from_w"], info["seed_resize_from_h"]) == (512, 768)
    assert {"RNG: NV", "ENSD: 31337", "Seed resize from: 512x768"} <= set(info["infotexts"][0].split(", "))
    plain = read_info(draw(client, seed=5))
    assert (plain["seed_resize_from_w"], plain["seed_resize_from_h"]) == (-1, -1)
    assert "RNG: CPU" in plain["infotexts"][0].split(", ")


def test_what_is_left_out_has_the_defaults_of_automatic1111(client: httpx.Client, served: RunningStudio) -> None:
    answer = client.post(f"{API}/txt2img", json={}).json()
    request, _ = served.backend.seen[-1]
    assert (request.steps, request.guidance, request.sampler, request.schedule) == (50, 7.0, "Euler", None)
    assert (request.width, request.height) == (512, 512)
    assert answer["parameters"]["steps"] == 50
    assert answer["parameters"]["sampler_index"] == "Euler"
    assert answer["parameters"]["seed"] == -1


def test_a_sampler_may_carry_its_schedule_and_a_schedule_has_a_name_and_a_label(
    client: httpx.Client, served: RunningStudio
) -> None:
    for sent in ({"sampler_name": "DPM++ 2M Karras"}, {"sampler_name": "dpm++ 2m", "scheduler": "karras"}):
        draw(client, **sent)
        request, _ = served.backend.seen[-1]
        assert (request.sampler, request.schedule) == ("DPM++ 2M", "Karras")
    draw(client, sampler_name="Euler", scheduler="align_your_steps")
    assert served.backend.seen[-1][0].schedule == "Align Your Steps"
    draw(client, sampler_index="Euler", scheduler="automatic")
    assert served.backend.seen[-1][0].schedule is None


def test_errors_have_the_status_and_the_shape_of_automatic1111(client: httpx.Client) -> None:
    for kind, body, status, detail in (
        ("txt2img", {"sampler_name": "none such"}, 400, "Sampler not found"),
        ("txt2img", {"script_name": "none such"}, 422, "Script 'none such' not found"),
        ("txt2img", {"alwayson_scripts": {"none such": {"args": []}}}, 422, "always on script none such not found"),
        ("img2img", {}, 404, "Init image not found"),
        ("img2img", {"init_images": ["no image"]}, 500, "Invalid encoded image"),
    ):
        answer = client.post(f"{API}/{kind}", json=body)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error", "detail", "body", "errors"}
        assert answer.json()["detail"] == detail
        assert float(answer.headers["X-Process-Time"]) >= 0
    refused = client.post(f"{API}/txt2img", json={"steps": "many"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "steps"]


def test_an_image_is_fetched_only_from_a_listed_host(client: httpx.Client) -> None:
    for address in ("http://127.0.0.1:1/x.png", "http://169.254.169.254/latest", "https://example.org/x.png"):
        answer = client.post(f"{API}/img2img", json={"init_images": [address]})
        assert answer.status_code == 500
        assert answer.json()["detail"].startswith("Requests not allowed")


def test_a_pickle_in_base64_is_not_an_image(client: httpx.Client) -> None:
    pickle = b"cposix\nsystem\n(S'id'\ntR."
    answer = client.post(f"{API}/img2img", json={"init_images": [encode(pickle)]})
    assert answer.json()["detail"] == "Invalid encoded image"
    unit = {"module": "canny", "model": "x", "image": encode(pickle), "ipadapter_input": [encode(pickle)]}
    answer = client.post(f"{API}/txt2img", json={"alwayson_scripts": {"ControlNet": {"args": [unit]}}})
    assert answer.status_code in (422, 500)


def test_img2img_knows_whether_a_model_made_its_source(client: httpx.Client, served: RunningStudio) -> None:
    for source, expected in ((draw(client, seed=6)["images"][0], GENERATED), (encode(make_png()), EDITED)):
        draw(client, "img2img", init_images=[source])
        assert served.studio.engine.assets(LOCAL_USER, 1)[0].source_type == expected


def test_img2img_with_a_mask_becomes_inpainting(client: httpx.Client, served: RunningStudio) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    sent = {
        "init_images": ["data:image/png;base64," + encode(make_png())],
        "mask": encode(make_png("white", mode="L")),
        "mask_blur": 7,
        "inpainting_fill": 2,
        "inpaint_full_res": True,
        "inpaint_full_res_padding": 24,
        "resize_mode": 2,
        "denoising_strength": 0.4,
    }
    answer = draw(client, "img2img", **sent)
    request, _ = served.backend.seen[-1]
    assert request.task is Task.INPAINT
    assert (request.strength, request.resize) == (0.4, Resize.FILL)
    inpaint = request.inpaint
    assert (inpaint.mask_blur, inpaint.fill, inpaint.only_masked, inpaint.padding) == (7, MaskedContent.NOISE, True, 24)
    assert answer["parameters"]["init_images"] is None
    assert answer["parameters"]["mask"] is None
    echoed = draw(client, "img2img", **{**sent, "include_init_images": True})
    assert echoed["parameters"]["init_images"] == sent["init_images"]


def test_the_hires_fix_is_a_second_pass(client: httpx.Client, served: RunningStudio) -> None:
    sent = {"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+", "hr_scale": 1.5, "hr_second_pass_steps": 3}
    answer = draw(client, denoising_strength=0.5, hr_sampler_name="DPM++ 2M Karras", **sent)
    hires = served.backend.seen[-1][0].hires
    assert (hires.upscaler, hires.scale, hires.steps, hires.strength) == ("RealESRGAN_x4plus", 1.5, 3, 0.5)
    assert (hires.sampler, hires.schedule) == ("DPM++ 2M", "Karras")
    assert decode_image(answer["images"][0]).size == (96, 96)
    unknown = client.post(f"{API}/txt2img", json={"enable_hr": True, "hr_upscaler": "none such"})
    assert "could not find upscaler named none such" in unknown.json()["detail"]


def test_the_options_for_token_merging_are_taken(client: httpx.Client, served: RunningStudio) -> None:
    overrides = {"token_merging_ratio": 0.3, "token_merging_ratio_img2img": 0.5, "token_merging_ratio_hr": 0.4}
    draw(client, enable_hr=True, hr_upscaler="Latent", override_settings=overrides)
    request = served.backend.seen[-1][0]
    assert (request.token_merging_ratio, request.hires.token_merging_ratio) == (0.3, 0.4)
    draw(client, "img2img", init_images=[encode(make_png())], override_settings=overrides)
    assert served.backend.seen[-1][0].token_merging_ratio == 0.5
    draw(client, override_settings={"token_merging_ratio": "much"})
    assert served.backend.seen[-1][0].token_merging_ratio == 0


def test_a_grid_stands_first_where_images_are_saved(client: httpx.Client) -> None:
    answer = draw(client, batch_size=4, save_images=True, seed=1)
    assert [decode_image(text).size for text in answer["images"]] == [(128, 128), *[(64, 64)] * 4]
    assert read_info(answer)["index_of_first_image"] == 1
    assert draw(client, send_images=False)["images"] == []


def test_an_infotext_fills_what_is_left_out(client: httpx.Client, served: RunningStudio) -> None:
    text = "a blue pear\nNegative prompt: red\nSteps: 9, Sampler: DPM++ 2M, CFG scale: 3, Seed: 77, Size: 64x64"
    answer = client.post(f"{API}/txt2img", json={"infotext": text, "steps": 4}).json()
    request, _ = served.backend.seen[-1]
    assert (request.prompt, request.negative_prompt) == ("a blue pear", "red")
    assert (request.steps, request.guidance, request.sampler) == (4, 3.0, "DPM++ 2M")
    assert read_info(answer)["seed"] == 77


def test_an_infotext_of_this_studio_is_composed_and_enlarged_as_its_image_was(tmp_path: Path) -> None:
    sampling = dataclasses.replace(DRAWING.sampling, compose=True, enlarge=True)
    model = dataclasses.replace(DRAWING, sampling=sampling)
    line = "a cat and a dog\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 7, Size: 64x64"
    with serve_dialects(tmp_path, backend=FakeBackend(model)) as served:
        client = served.open_client()
        for more, expected in (
            (", Version: Easel 0.1.0", (False, False)),
            (", Compose: True, Enlarge: True, Version: Easel 0.1.0", (True, True)),
            (", Version: v1.10.1", (True, False)),
        ):
            client.post(f"{API}/txt2img", json={"infotext": line + more}).raise_for_status()
            request, _ = served.backend.seen[-1]
            assert (request.compose, request.enlarge) == expected, more


def test_xyz_plots_and_the_other_scripts_give_grids_and_images(client: httpx.Client, served: RunningStudio) -> None:
    plot = ["Seed", "1-3", [], "Steps", "4,5", [], 0, "", [], True, True]
    answer = draw(client, script_name="X/Y/Z plot", script_args=plot)
    assert len(answer["images"]) == 7
    assert decode_image(answer["images"][0]).width > 3 * 64
    bare = draw(client, script_name="x/y/z plot", script_args=[1, "1-3", [], 0, "", [], 0, "", [], True, False])
    assert len(bare["images"]) == 1
    matrix = draw(client, prompt="apple|red|small", script_name="Prompt matrix", script_args=[])
    assert read_info(matrix)["all_prompts"] == ["apple", "apple, red", "apple, small", "apple, red, small"]
    assert len(set(read_info(matrix)["all_seeds"])) == 1
    assert len(matrix["images"]) == 5
    lines = draw(
        client, prompt="", script_name="prompts from file or textbox", script_args=[True, False, "start", "a\nb"]
    )
    assert read_info(lines)["all_prompts"] == ["a", "b"]
    loops = draw(
        client, "img2img", init_images=[encode(make_png())], script_name="loopback", script_args=[3, 0.2, "Linear"]
    )
    assert len(loops["images"]) == 4
    upscale = ["", 8, "Lanczos", 2.0]
    draw(client, "img2img", init_images=[encode(make_png())], script_name="SD upscale", script_args=upscale)
    request, _ = served.backend.seen[-1]
    assert (request.task, request.upscale.scale, request.upscale.base) == (Task.UPSCALE, 2.0, "Lanczos")
    grow = ["", 64, 8, ["left", "up"], 1.0, 0.05]
    draw(client, "img2img", init_images=[encode(make_png())], script_name="Outpainting mk2", script_args=grow)
    outpaint = served.backend.seen[-1][0].outpaint
    assert (outpaint.left, outpaint.top, outpaint.right, outpaint.bottom) == (64, 64, 0, 0)
    missing = client.post(f"{API}/txt2img", json={"script_name": "x/y/z plot", "script_args": ["Eta", "1,2", []]})
    assert missing.status_code == 422


def test_options_are_each_users_own(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        whole = ann.get(f"{API}/options").json()
        assert {"sd_model_checkpoint", "sd_checkpoint_hash", "samples_format", "send_seed"} <= set(whole)
        assert ann.post(f"{API}/options", json={**whole, "sd_model_checkpoint": "other.safetensors"}).json() is None
        assert ann.get(f"{API}/options").json()["sd_model_checkpoint"] == "other.safetensors"
        assert bob.get(f"{API}/options").json()["sd_model_checkpoint"] == "fake.safetensors"
        assert read_info(draw(ann))["sd_model_name"] == "other"
        assert read_info(draw(bob))["sd_model_name"] == "fake"
        unknown = ann.post(f"{API}/options", json={"sd_model_checkpoint": "none such"})
        assert (unknown.status_code, unknown.json()["error"]) == (500, "RuntimeError")


def test_progress_and_interrupt_are_each_users_own(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True, backend=make_backend(held=True)) as served:
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        idle = ann.get(f"{API}/progress").json()
        assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0.0, 0, None)
        answers: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: answers.append(draw(ann, force_task_id="mine", batch_size=1)))
        thread.start()
        assert served.backend.entered.acquire(timeout=20)
        served.backend.release(2)
        wait_until(lambda: ann.get(f"{API}/progress").json()["state"]["sampling_step"] == 2)
        assert ann.get(f"{API}/progress").json()["progress"] == 0.5
        wait_until(lambda: ann.get(f"{API}/progress").json()["current_image"] is not None)
        assert ann.post("/internal/progress", json={"id_task": "mine"}).json()["active"] is True
        assert bob.post("/internal/progress", json={"id_task": "mine"}).json()["active"] is False
        assert bob.get(f"{API}/progress").json()["state"]["job_count"] == 0
        assert bob.post(f"{API}/interrupt").json() == {}
        assert ann.get(f"{API}/progress").json()["state"]["interrupted"] is False
        assert ann.post(f"{API}/interrupt").json() == {}
        served.backend.release(10)
        thread.join(20)
        assert answers[0]["images"] == []
        assert ann.post(f"{API}/skip").json() is None


def test_a_login_is_asked_for_with_http_basic(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        stranger = served.open_client()
        for path in ("/sdapi/v1/options", "/controlnet/model_list", "/internal/pending-tasks"):
            answer = stranger.get(path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
            assert answer.json()["error"] == "HTTPException"
        for header in ("Basic", "Basic dW5kZWZpbmVk", "Bearer None"):
            assert stranger.get(f"{API}/options", headers={"Authorization": header}).status_code == 401


def test_a_stray_authorization_does_no_harm_without_users(client: httpx.Client) -> None:
    for header in ("Basic", "Basic dW5kZWZpbmVk", "Bearer None", "Bearer sk-any"):
        assert client.get(f"{API}/options", headers={"Authorization": header}).status_code == 200


def test_a_foreign_page_may_neither_read_nor_write(client: httpx.Client) -> None:
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.get(f"{API}/options", headers=headers).status_code == 403
    assert client.post(f"{API}/txt2img", json={}, headers=headers).status_code == 403


def test_the_dialect_can_be_switched_off(served: RunningStudio, client: httpx.Client) -> None:
    served.studio.settings.change({"api_automatic1111": False})
    try:
        assert client.get(f"{API}/options").status_code == 404
        assert client.get("/controlnet/version").status_code == 404
    finally:
        served.studio.settings.change({"api_automatic1111": True})


def test_lists_have_the_shapes_that_clients_read(client: httpx.Client) -> None:
    def fetch(path: str) -> Any:
        answer = client.get(f"{API}/{path}")
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    assert [one["name"] for one in fetch("samplers")] == ["Euler", "DPM++ 2M"]
    assert {"name": "karras", "label": "Karras"}.items() <= fetch("schedulers")[1].items()
    assert [one["name"] for one in fetch("upscalers")][:2] == ["None", "Lanczos"]
    assert len(fetch("latent-upscale-modes")) == 6
    assert {one["title"] for one in fetch("sd-models")} == {"fake.safetensors", "other.safetensors"}
    assert fetch("embeddings") == {"loaded": {}, "skipped": {}}
    assert fetch("face-restorers") == [{"name": "codeformer", "cmd_dir": None}]
    assert fetch("prompt-styles")[0].keys() == {"name", "prompt", "negative_prompt"}
    assert {"ram", "cuda"} == set(fetch("memory"))
    for path in ("sd-vae", "hypernetworks", "loras", "realesrgan-models", "cmd-flags", "scripts", "script-info"):
        fetch(path)
    assert fetch("extensions") == []
    for path in ("refresh-checkpoints", "refresh-vae", "refresh-embeddings", "refresh-loras"):
        assert client.post(f"{API}/{path}").json() is None
    assert client.post(f"{API}/server-kill").status_code in (404, 405)
    assert client.post(f"{API}/interrogate", json={"image": "x", "model": "clip"}).status_code == 404


def test_loras_are_listed_with_what_their_files_say(tmp_path: Path) -> None:
    tensor = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    facts = {
        "ss_output_name": "neon",
        "ss_tag_frequency": '{"10_cat": {"cat": 40}}',
        "ss_odd": '{"a": NaN}',
        "ss_broken": '{"a":' * 5000,
        "ss_deep": '{"a":' * 300 + "1" + "}" * 300,
        "ssmd_cover_images": "[]",
    }
    write(tmp_path / "models" / "loras" / "styles" / "neon.safetensors", lora(tensor), facts)
    write(tmp_path / "models" / "loras" / "plain.safetensors", lora(tensor))
    with serve_dialects(tmp_path) as served:
        answer = served.open_client().get(f"{API}/loras")
        found = {one["name"]: one for one in answer.json()}
    assert found.keys() == {"styles/neon", "plain"}
    told = found["styles/neon"]["metadata"]
    assert told == {
        "ss_output_name": "neon",
        "ss_tag_frequency": {"10_cat": {"cat": 40}},
        "ss_odd": {"a": None},
        "ss_broken": facts["ss_broken"],
        "ss_deep": facts["ss_deep"],
    }
    assert found["plain"]["metadata"] == {}
    assert str(tmp_path) not in answer.text


def test_extras_enlarge_and_png_info_reads(client: httpx.Client, served: RunningStudio) -> None:
    body = {"image": encode(make_png()), "upscaling_resize": 2, "upscaler_1": "R-ESRGAN 4x+", "upscaler_2": "Lanczos"}
    answer = client.post(f"{API}/extra-single-image", json={**body, "extras_upscaler_2_visibility": 0.3}).json()
    request, _ = served.backend.seen[-1]
    assert (request.model, request.upscale.scale) == ("upscaler/RealESRGAN_x4plus", 2)
    assert (request.upscale.second, request.upscale.second_weight) == ("Lanczos", 0.3)
    assert decode_image(answer["image"])
    same = client.post(f"{API}/extra-single-image", json={"image": encode(make_png("blue"))}).json()
    assert decode_image(same["image"]).getpixel((0, 0)) == (0, 0, 255)
    files = [{"data": encode(make_png(colour)), "name": colour} for colour in ("red", "blue")]
    batch = client.post(f"{API}/extra-batch-images", json={"imageList": files, "upscaler_1": "Lanczos"}).json()
    assert len(batch["images"]) == 2
    drawn = draw(client, seed=9)
    info = client.post(f"{API}/png-info", json={"image": drawn["images"][0]}).json()
    assert info["info"] == read_info(drawn)["infotexts"][0]
    assert info["parameters"]["Prompt"] == "a red apple"
    assert (info["parameters"]["Seed"], info["parameters"]["Size-1"]) == ("9", "64")


def test_controlnet_lists_and_detects(client: httpx.Client, served: RunningStudio) -> None:
    assert client.get("/controlnet/version").json() == {"version": 3}
    modules = client.get("/controlnet/module_list").json()
    assert set(modules["module_list"]) == {"none", "canny", "inpaint_only"}
    assert [one["name"] for one in modules["module_detail"]["canny"]["sliders"]] == ["Resolution", "Low", "High"]
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["Canny"]["default_option"] == "canny"
    body = {"controlnet_module": "canny", "controlnet_input_images": [encode(make_png())], "controlnet_threshold_a": 50}
    found = client.post("/controlnet/detect", json=body).json()
    assert (found["info"], len(found["images"])) == ("Success", 1)
    unit = served.backend.seen[-1][0].control[0]
    assert [(option.name, option.value) for option in unit.options] == [("low", 50.0)]
    masked = {**body, "controlnet_module": "inpaint_only"}
    assert client.post("/controlnet/detect", json=masked).status_code == 422
    mask = encode(make_png("white", mode="L"))
    assert client.post("/controlnet/detect", json={**masked, "controlnet_masks": [mask]}).status_code == 200
    source = served.backend.seen[-1][0].source
    with Image.open(served.studio.engine.get_kept_file(source, LOCAL_USER)) as image:
        assert image.getchannel("A").getextrema() == (0, 0)
    for wrong in ({**body, "controlnet_module": "none such"}, {**body, "controlnet_input_images": []}):
        assert client.post("/controlnet/detect", json=wrong).status_code == 422
    many = {"controlnet_module": "none", "controlnet_input_images": ["x"] * 17}
    assert client.post("/controlnet/detect", json=many).status_code == 422


def test_a_unit_steers_and_adds_its_map_once_for_each_pass(tmp_path: Path) -> None:
    shutil.copytree("models/controlnet/embedded-edges", tmp_path / "models" / "controlnet" / "edges")
    with serve_dialects(tmp_path) as served:
        client = served.open_client()
        assert client.get("/controlnet/model_list").json() == {"model_list": ["edges"]}
        unit = {"module": "canny", "model": "edges [abcdef12]", "image": encode(make_png()), "control_mode": 2}
        unit |= {"weight": 0.8, "guidance_start": 0.1, "guidance_end": 0.9, "resize_mode": "Resize and Fill"}

        def count(unit: dict[str, Any], **body: Any) -> int:
            return len(draw(client, alwayson_scripts={"ControlNet": {"args": [unit]}}, **body)["images"])

        assert count(unit) == 2
        drawn = next(request for request, _ in served.backend.seen if request.task is Task.TXT2IMG)
        (found,) = drawn.control
        assert (found.model, found.preprocessor, found.weight) == ("edges", "canny", 0.8)
        assert (found.start, found.end, found.mode, found.resize) == (0.1, 0.9, ControlMode.CONTROL, Resize.FILL)
        assert count({**unit, "save_detected_map": False}) == 1
        assert count({**unit, "enabled": False}) == 1
        assert count(unit, enable_hr=True, hr_upscaler="Latent") == 3
        assert count({**unit, "hr_option": "Low res only"}, enable_hr=True, hr_upscaler="Latent") == 2
        missing = {**unit, "model": "none such"}
        body = {"alwayson_scripts": {"controlnet": {"args": [missing]}}}
        assert client.post(f"{API}/txt2img", json=body).status_code == 422


FACE = {"ad_model": "face_yolov8n.pt", "ad_denoising_strength": 0.45, "ad_use_steps": True, "ad_steps": 9}


def test_adetailer_becomes_detailers(client: httpx.Client, served: RunningStudio) -> None:
    hat = {"ad_model": "yolov8x-worldv2.pt", "ad_model_classes": "a hat", "ad_prompt": "felt", "ad_restore_face": True}
    off = {"ad_model": "hand_yolov8n.pt", "ad_tap_enable": False}
    answer = draw(client, alwayson_scripts={"ADetailer": {"args": [True, False, FACE, hat, off, {"ad_model": "None"}]}})
    expected = (
        Detailer(strength=0.45, steps=9, confidence=0.3),
        Detailer(target="a hat", prompt="felt", confidence=0.3),
    )
    assert served.backend.seen[-1][0].detailers == expected
    info = read_info(answer)
    assert "ADetailer model: face_yolov8n.pt" in info["infotexts"][0]
    assert info["extra_generation_params"]["ADetailer steps"] == "9"
    assert any("ad_restore_face" in note for note in info["notices"])
    draw(client, infotext=info["infotexts"][0], seed=8)
    assert served.backend.seen[-1][0].detailers == expected, "an infotext brings them along"
    draw(client, alwayson_scripts={"ADetailer": {"args": [False, False, FACE]}})
    assert served.backend.seen[-1][0].detailers == ()
    only = {"args": [True, True, FACE]}
    draw(client, "img2img", init_images=[encode(make_png())], alwayson_scripts={"ADetailer": only})
    assert served.backend.seen[-1][0].task is Task.DETAIL


@pytest.mark.parametrize(
    "arguments",
    ["face", [{"ad_model": "no_such.pt"}], [{**FACE, "ad_confidence": 5}], [FACE] * 5],
)
def test_arguments_of_adetailer_that_are_none_are_refused(client: httpx.Client, arguments: Any) -> None:
    body = {"prompt": "x", "alwayson_scripts": {"ADetailer": {"args": arguments}}}
    answer = client.post(f"{API}/txt2img", json=body)
    assert answer.status_code == 400, answer.text


def test_webuiapi_works_as_with_automatic1111(served: RunningStudio) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    api = webuiapi.WebUIApi(host=host, port=int(port), sampler="Euler", steps=4)
    result = api.txt2img(prompt="a red apple", seed=5, width=64, height=64, cfg_scale=7)
    assert result.image.tobytes() == draw_fake_image(5, 64, 64).tobytes()
    assert result.info["seed"] == 5
    again = api.img2img(images=[result.image], prompt="a pear", seed=6, width=64, height=64)
    assert again.image.size == (64, 64)
    assert api.extra_single_image(image=result.image, upscaler_1="Lanczos", upscaling_resize=2).image
    assert "a red apple" in api.png_info(result.image).info
    assert api.util_get_model_names() == ["fake", "other"] or api.get_sd_models()
    api.set_options({"sd_model_checkpoint": "fake"})
    assert api.get_progress()["state"]["job_count"] == 0
    assert api.interrupt() == {}
    assert api.skip() is None
    assert api.controlnet_version() == 3
    assert api.get_scripts()["txt2img"]
