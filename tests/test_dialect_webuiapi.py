"""AUTOMATIC1111's API through webuiapi, its own Python client: what it reads, what it waits for, what it stops."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import webuiapi
from dialect_studio import decode_image, make_backend, serve_dialects
from fakes import FakeBackend, draw_fake_image
from PIL import Image
from serving import PASSWORDS, RunningStudio, wait_until

from studio.api.dialects.automatic1111.options import DEFAULT_OPTIONS
from studio.core.task import Task
from studio.core.user import LOCAL_USER


def connect(served: RunningStudio, **options: Any) -> Any:  # the client's own types name tasks where it answers
    host, port = served.url.removeprefix("http://").split(":")
    return webuiapi.WebUIApi(host=host, port=int(port), sampler="Euler", steps=4, **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("webuiapi")
    shutil.copytree("models/controlnet/embedded-edges", folder / "models" / "controlnet" / "edges")
    with serve_dialects(folder) as found:
        yield found


@pytest.fixture
def api(served: RunningStudio) -> Any:
    return connect(served)


SIZE: dict[str, Any] = {"width": 64, "height": 64}
PICTURE: Any = Image.new("RGB", (64, 64), "red")
TOLD = [  # methods, and what their answer has
    ("get_cmd_flags", lambda found: found["api"] is True),
    ("get_embeddings", lambda found: set(found) == {"loaded", "skipped"}),
    ("get_face_restorers", lambda found: found[0]["name"] == "codeformer"),
    ("get_hypernetworks", lambda found: found == []),
    ("get_latent_upscale_modes", lambda found: len(found) == 6),
    ("get_loras", lambda found: found == []),
    ("get_memory", lambda found: set(found) == {"ram", "cuda"}),
    ("get_prompt_styles", lambda found: {"name", "prompt", "negative_prompt"} == set(found[0])),
    ("get_realesrgan_models", lambda found: found[0]["name"] == "RealESRGAN_x4plus"),
    ("get_samplers", lambda found: [one["name"] for one in found] == ["Euler", "DPM++ 2M"]),
    ("get_schedulers", lambda found: found[0]["label"] == "Automatic"),
    ("get_scripts", lambda found: "controlnet" in found["txt2img"]),
    ("get_sd_models", lambda found: [one["model_name"] for one in found] == ["fake", "other"]),
    ("get_sd_vae", lambda found: found == []),
    ("get_upscalers", lambda found: [one["name"] for one in found][:2] == ["None", "Lanczos"]),
    ("refresh_checkpoints", lambda found: found is None),
    ("interrupt", lambda found: found == {}),
    ("skip", lambda found: found is None),
    ("controlnet_version", lambda found: found == 3),
    ("controlnet_model_list", lambda found: [one.partition(" ")[0] for one in found] == ["edges"]),
    ("controlnet_module_list", lambda found: "canny" in found),
    ("util_get_model_names", lambda found: found == ["fake.safetensors", "other.safetensors"]),
    ("util_get_sampler_names", lambda found: set(found) == {"Euler", "DPM++ 2M"}),
    ("util_get_scheduler_names", lambda found: "karras" in found),
]


@pytest.mark.parametrize(("method", "fits"), TOLD, ids=[name for name, _ in TOLD])
def test_every_question_is_answered(api: Any, method: str, fits: Any) -> None:
    found = getattr(api, method)()
    assert fits(found), found


def test_the_whole_map_of_options_is_sent_back_unchanged(api: Any) -> None:
    whole = api.get_options()
    assert set(DEFAULT_OPTIONS) <= set(whole)
    assert api.set_options(whole) is None
    assert api.get_options() == whole
    api.util_set_model("other")
    assert api.util_get_current_model() == "other.safetensors"
    changed = api.get_options()
    assert {name for name in whole if whole[name] != changed[name]} == {"sd_model_checkpoint"}
    api.util_set_model("fake")
    api.set_options({**whole, "CLIP_stop_at_last_layers": 2, "an_option_of_an_extension": 1})
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2
    api.set_options(whole)
    answer = api.session.post(f"{api.baseurl}/options", json={"sd_model_checkpoint": "none such"})
    assert (answer.status_code, answer.json()["error"]) == (500, "RuntimeError")


def test_options_decide_what_is_drawn(served: RunningStudio, api: Any) -> None:
    before = api.get_options()
    api.set_options({"sd_model_checkpoint": "other", "samples_format": "webp"})
    result = api.txt2img(prompt="x", seed=1, **SIZE)
    assert result.image.format == "WEBP"
    assert result.info["sd_model_name"] == "other"
    once = api.txt2img(prompt="x", seed=1, override_settings={"samples_format": "png"}, **SIZE)
    assert once.image.format == "PNG"
    assert api.get_options()["samples_format"] == "webp"
    kept = {"override_settings": {"samples_format": "jpg"}, "override_settings_restore_afterwards": False}
    api.txt2img(prompt="x", seed=1, **kept, **SIZE)
    assert api.get_options()["samples_format"] == "jpg"
    api.set_options({name: before[name] for name in ("sd_model_checkpoint", "samples_format")})


def test_images_are_sent_saved_and_echoed_as_the_call_says(served: RunningStudio, api: Any) -> None:
    batch: dict[str, Any] = {"prompt": "x", "seed": 3, "batch_size": 2, "n_iter": 2, **SIZE}
    plain = api.txt2img(**batch)
    assert [image.size for image in plain.images] == [(64, 64)] * 4
    assert (plain.info["index_of_first_image"], plain.info["all_seeds"]) == (0, [3, 4, 5, 6])
    saved = api.txt2img(**batch, save_images=True)
    assert saved.images[0].size == (128, 128)
    assert (len(saved.images), saved.info["index_of_first_image"]) == (5, 1)
    assert len(saved.info["infotexts"]) == 5
    assert len(api.txt2img(**batch, save_images=True, do_not_save_grid=True).images) == 4
    assert api.txt2img(**batch, send_images=False).images == []
    hidden = api.img2img(images=[PICTURE], prompt="x", **SIZE)
    assert (hidden.parameters["init_images"], hidden.parameters["mask"]) == (None, None)
    shown = api.img2img(images=[PICTURE], mask_image=PICTURE, prompt="x", include_init_images=True, **SIZE)
    assert decode_image(shown.parameters["init_images"][0].partition(",")[2]).tobytes() == PICTURE.tobytes()
    assert shown.parameters["mask"]


def plot(*axes: Any, images: bool = True, pages: bool = False) -> dict[str, Any]:
    """A call of the X/Y/Z plot; `axes` are pairs of a type and its values."""
    filled = [*axes, *([(0, "")] * (3 - len(axes)))]
    listed = [part for kind, values in filled for part in (kind, values, [])]
    return {"script_name": "X/Y/Z plot", "script_args": [*listed, True, images, pages, False, False, False, False, 0]}


def test_the_first_axis_of_a_plot_changes_with_every_image(api: Any) -> None:
    result = api.txt2img(prompt="x", seed=5, **plot(("Checkpoint name", "fake, other"), ("Seed", "1-3")), **SIZE)
    assert len(result.images) == 7
    told = [(text.partition("Seed: ")[2][0], "Model: other" in text) for text in result.info["infotexts"][1:]]
    assert told == [("1", False), ("1", True), ("2", False), ("2", True), ("3", False), ("3", True)]
    for image, seed in zip(result.images[1:], result.info["all_seeds"], strict=True):
        assert image.tobytes() == draw_fake_image(seed, 64, 64).tobytes()
    assert result.info["index_of_first_image"] == 1


def test_a_plot_of_three_axes_has_a_sheet_of_each_page_where_it_is_wanted(api: Any) -> None:
    axes = [("Seed", "1,2"), ("Steps", "3-5"), ("CFG Scale", "4,5")]
    result = api.txt2img(prompt="x", **plot(*axes, pages=True), **SIZE)
    assert len(result.images) == 1 + 2 + 12
    assert [page.size for page in result.images[1:3]] == [(128, 192), (128, 192)]
    texts = result.info["infotexts"][3:]
    assert ["CFG scale: 4" in text for text in texts] == [True] * 6 + [False] * 6
    assert [f"Steps: {3 + number // 2 % 3}" in text for number, text in enumerate(texts)] == [True] * 12
    assert len(api.txt2img(prompt="x", **plot(*axes, images=False, pages=True), **SIZE).images) == 3
    assert len(api.txt2img(prompt="x", **plot(*axes, images=False), **SIZE).images) == 1


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"sampler_name": "none such"}, 400),
        ({"script_name": "none such"}, 422),
        ({"alwayson_scripts": {"none such": {"args": []}}}, 422),
        ({"script_name": "x/y/z plot", "script_args": ["Eta", "1", []]}, 422),
        ({"steps": "many"}, 422),
        ({"width": 0}, 422),
    ],
)
def test_errors_reach_the_client_in_the_webuis_form(api: Any, wrong: dict[str, Any], status: int) -> None:
    with pytest.raises(RuntimeError) as raised:
        api.txt2img(prompt="x", **{**SIZE, **wrong})
    assert raised.value.args[0] == status
    told = api.session.post(f"{api.baseurl}/txt2img", json={"prompt": "x", **SIZE, **wrong}).json()
    if isinstance(told["detail"], list):  # as FastAPI tells what does not fit
        assert set(told["detail"][0]) == {"loc", "msg", "type"}
    else:
        assert set(told) == {"error", "detail", "body", "errors"}
        assert told["error"] == "HTTPException"


def test_an_upload_that_is_no_image_and_one_that_is_missing_are_told_as_there(api: Any) -> None:
    with pytest.raises(RuntimeError, match="Init image not found"):
        api.img2img(images=[], prompt="x", **SIZE)
    answer = api.session.post(f"{api.baseurl}/img2img", json={"init_images": ["AAAA"], **SIZE})
    assert (answer.status_code, answer.json()["detail"]) == (500, "Invalid encoded image")


def test_images_are_enlarged_read_and_turned_into_maps(served: RunningStudio, api: Any) -> None:
    drawn = api.txt2img(prompt="a red apple", seed=5, **SIZE)
    assert api.extra_single_image(image=drawn.image, upscaler_1="Lanczos", upscaling_resize=2).image
    request, _ = served.backend.seen[-1]
    assert (request.task, request.model, request.upscale.scale) == (Task.UPSCALE, "upscaler/Lanczos", 2)
    several = api.extra_batch_images([drawn.image, PICTURE], upscaler_1="R-ESRGAN 4x+", upscaling_resize=3)
    request, _ = served.backend.seen[-1]
    assert (len(several.images), request.model) == (2, "upscaler/RealESRGAN_x4plus")
    about = api.png_info(drawn.image)
    assert (about.info.startswith("a red apple"), about.parameters["Seed"]) == (True, "5")
    maps = api.controlnet_detect(images=[PICTURE, PICTURE], module="canny")
    assert (len(maps.images), maps.info) == (2, "Success")
    unit = webuiapi.ControlNetUnit(image=PICTURE, module="canny", model="edges", control_mode=2)
    scripts: dict[str, Any] = {}  # the client would put the unit into its default, for all later calls
    assert len(api.txt2img(prompt="x", controlnet_units=[unit], alwayson_scripts=scripts, **SIZE).images) == 2
    with pytest.raises(RuntimeError, match="Model not found"):
        api.interrogate(image=PICTURE)


class Caller:
    """A call in a thread of its own."""

    def __init__(self, served: RunningStudio, method: str = "txt2img", **body: Any) -> None:
        self.result: Any = None
        api = connect(served)

        def work() -> None:
            self.result = getattr(api, method)(prompt="x", **SIZE, **body)

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def finish(self) -> Any:
        self.thread.join(30)
        assert self.result is not None
        return self.result


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[RunningStudio, FakeBackend, Any]]:
    backend = make_backend(held=True)
    with serve_dialects(tmp_path, backend=backend) as found:
        yield found, backend, connect(found)


Held = tuple[RunningStudio, FakeBackend, Any]


def test_an_interrupt_stops_what_runs_and_leaves_what_waits(held: Held) -> None:
    served, backend, api = held
    first = Caller(served, seed=1, n_iter=3)
    assert backend.entered.acquire(timeout=20)
    backend.release(4)
    assert backend.entered.acquire(timeout=20)  # the second image
    waiting = Caller(served, seed=9)
    wait_until(lambda: len(served.studio.engine.list_held_jobs(LOCAL_USER)) == 2)
    api.interrupt()
    assert api.get_progress()["state"]["interrupted"] is True
    backend.release(1)
    result = first.finish()
    assert [image.tobytes() for image in result.images] == [draw_fake_image(1, 64, 64).tobytes()]
    assert backend.entered.acquire(timeout=20)
    assert api.get_progress()["state"]["interrupted"] is False
    backend.release(4)
    assert len(waiting.finish().images) == 1


def test_an_interrupt_ends_a_script_with_its_running_job(held: Held) -> None:
    served, backend, api = held
    lines = {"script_name": "prompts from file or textbox", "script_args": [False, False, "start", "a\nb\nc"]}
    caller = Caller(served, seed=1, **lines)
    assert backend.entered.acquire(timeout=20)
    backend.release(4)
    assert backend.entered.acquire(timeout=20)
    state = api.get_progress()["state"]
    assert (state["job_count"], state["job_no"]) == (3, 1)
    api.interrupt()
    backend.release(8)
    result = caller.finish()
    assert (len(result.images), result.info["all_prompts"]) == (1, ["a x"])
    assert len(backend.seen) == 2


def test_a_skip_leaves_out_the_image_that_is_drawn(held: Held) -> None:
    served, backend, api = held
    caller = Caller(served, seed=1, n_iter=2)
    assert backend.entered.acquire(timeout=20)
    assert api.get_progress()["state"]["skipped"] is False
    assert api.skip() is None
    assert api.get_progress()["state"]["skipped"] is True
    backend.release(1)
    assert backend.entered.acquire(timeout=20)
    assert api.get_progress()["state"]["skipped"] is False
    backend.release(4)
    assert caller.finish().info["all_seeds"] == [2]


def test_progress_is_told_until_the_call_is_answered_and_then_is_idle(held: Held) -> None:
    served, backend, api = held
    caller = Caller(served, seed=1, n_iter=2)
    assert backend.entered.acquire(timeout=20)
    backend.release(2)
    wait_until(lambda: api.get_progress()["state"]["sampling_step"] == 2)
    found = api.get_progress()
    assert 0 < found["progress"] < 0.5
    assert (found["state"]["job_count"], found["state"]["sampling_steps"]) == (2, 4)
    backend.release(6)
    caller.finish()
    api.util_wait_for_ready(check_interval=0.05)
    assert api.get_progress()["eta_relative"] == 0


def test_the_checkpoint_of_the_options_is_loaded_again_by_administrators_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        loaded: list[str] = []
        monkeypatch.setattr(served.studio.store, "load", lambda model, _: loaded.append(model))
        api = connect(served)
        for name, status in (("root", 200), ("ann", 403)):
            api.set_auth(name, PASSWORDS[name])
            api.set_options({"sd_model_checkpoint": "other"})
            for path in ("unload-checkpoint", "reload-checkpoint"):
                answer = api.session.post(f"{api.baseurl}/{path}")
                assert answer.status_code == status
                assert status == 403 or answer.json() == {}
        assert loaded == ["other"]
