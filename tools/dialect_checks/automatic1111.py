"""AUTOMATIC1111's API, version 1.10.1."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from PIL import Image

from tools.dialect_checks.session import (
    PROMPT,
    SIDE,
    STEPS,
    Session,
    check,
    decode_image,
    encode,
    expect,
    expect_equal,
    expect_keys,
    expect_status,
    make_mask,
    make_png,
    read_json,
    write_png,
)

GROUP = "AUTOMATIC1111"
ROOT = "/sdapi/v1"
ADDRESS = "http://127.0.0.1:9/a.png"  # which nothing may ask

# The fields that both echo, with what they are where they are left out.
_DEFAULTS: dict[str, Any] = {
    "negative_prompt": "",
    "seed": -1,
    "subseed": -1,
    "subseed_strength": 0,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "sampler_name": None,
    "scheduler": None,
    "batch_size": 1,
    "n_iter": 1,
    "steps": 50,
    "cfg_scale": 7.0,
    "restore_faces": None,
    "tiling": None,
    "do_not_save_samples": False,
    "do_not_save_grid": False,
    "eta": None,
    "override_settings_restore_afterwards": True,
    "refiner_checkpoint": None,
    "disable_extra_networks": False,
    "script_name": None,
    "script_args": [],
    "send_images": True,
    "save_images": False,
    "alwayson_scripts": {},
    "infotext": None,
    "sampler_index": "Euler",
}
_TXT2IMG_DEFAULTS: dict[str, Any] = _DEFAULTS | {
    "enable_hr": False,
    "firstphase_width": 0,
    "firstphase_height": 0,
    "hr_scale": 2.0,
    "hr_upscaler": None,
    "hr_second_pass_steps": 0,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hr_checkpoint_name": None,
    "hr_sampler_name": None,
    "hr_scheduler": None,
    "hr_prompt": "",
    "hr_negative_prompt": "",
}
_IMG2IMG_DEFAULTS: dict[str, Any] = _DEFAULTS | {
    "resize_mode": 0,
    "denoising_strength": 0.75,
    "image_cfg_scale": None,
    "mask_blur_x": 4,
    "mask_blur_y": 4,
    "mask_blur": None,
    "mask_round": True,
    "inpainting_fill": 0,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
    "inpainting_mask_invert": 0,
    "initial_noise_multiplier": None,
    "latent_mask": None,
}
_INFO_KEYS = (
    "prompt all_prompts negative_prompt all_negative_prompts seed all_seeds subseed all_subseeds subseed_strength width"
    " height sampler_name cfg_scale steps batch_size restore_faces face_restoration_model sd_model_name sd_model_hash"
    " sd_vae_name sd_vae_hash seed_resize_from_w seed_resize_from_h denoising_strength extra_generation_params"
    " index_of_first_image infotexts styles job_timestamp clip_skip is_using_inpainting_conditioning version"
)
_STATE_KEYS = "skipped interrupted stopping_generation job job_count job_timestamp job_no sampling_step sampling_steps"
_LATENT_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)


def draw(session: Session, kind: str = "txt2img", **body: Any) -> Any:
    """The answer to a call of txt2img or img2img."""
    sent = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5, **body}
    if kind == "img2img":
        sent.setdefault("init_images", [encode(make_png())])
    return read_json(session.http.post(f"{ROOT}/{kind}", json=sent))


def read_info(answer: Any) -> Any:
    """What an answer tells of its images."""
    return json.loads(answer["info"])


@check(GROUP, "txt2img gives an image in base64 without a prefix, its parameters and info")
def _(session: Session) -> None:
    answer = draw(session)
    expect_keys(answer, "images parameters info", "the answer")
    image = decode_image(answer["images"][0])
    session.facts["a1111"] = answer["images"][0]
    session.facts["size"] = image.size
    expect_equal(image.format, "PNG", "the file type")
    expect("parameters" in image.info, "the PNG has no text “parameters”")
    expect_equal(answer["parameters"]["steps"], STEPS, "the echo of steps")


@check(GROUP, "info has all facts of AUTOMATIC1111's")
def _(session: Session) -> None:
    info = read_info(draw(session))
    expect_keys(info, _INFO_KEYS, "info")
    expect_equal((info["seed"], info["all_seeds"], len(info["infotexts"])), (5, [5], 1), "seed, seeds and texts")


@check(GROUP, "the infotext has AUTOMATIC1111's order")
def _(session: Session) -> None:
    text = read_info(draw(session, negative_prompt="blurry"))["infotexts"][0]
    names = ["Negative prompt: ", "Steps: ", "Sampler: ", "CFG scale: ", "Seed: ", "Size: ", "Model: ", "Version: "]
    places = [text.find(name) for name in names]
    expect(min(places) > 0 and places == sorted(places), f"the order is another: {text[:200]}")


@check(GROUP, "one seed gives the same image again, and -1 a new one that is told")
def _(session: Session) -> None:
    first, again = (decode_image(draw(session)["images"][0]) for _ in range(2))
    expect(first.tobytes() == again.tobytes(), "two images of one seed differ")
    expect(read_info(draw(session, seed=-1))["seed"] >= 0, "the seed is not told")


@check(GROUP, "what is left out has its defaults: txt2img")
def _(session: Session) -> None:
    answer = read_json(session.http.post(f"{ROOT}/txt2img", json={"prompt": PROMPT, "width": SIDE, "height": SIDE}))
    _expect_echo(answer["parameters"], _TXT2IMG_DEFAULTS)
    expect_equal(read_info(answer)["steps"], 50, "the number of steps")


@check(GROUP, "what is left out has its defaults: img2img")
def _(session: Session) -> None:
    sent = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "init_images": [encode(make_png())]}
    answer = read_json(session.http.post(f"{ROOT}/img2img", json=sent))
    _expect_echo(answer["parameters"], _IMG2IMG_DEFAULTS)


def _expect_echo(found: Any, wanted: dict[str, Any]) -> None:
    expect_keys(found, wanted, "the echo")
    wrong = {name: found[name] for name, value in wanted.items() if found[name] != value}
    expect(not wrong, f"other defaults: {str(wrong)[:200]}")


@check(GROUP, "a batch has n_iter times batch_size images, whose seeds count on")
def _(session: Session) -> None:
    answer = draw(session, batch_size=2, n_iter=2)
    expect_equal((len(answer["images"]), read_info(answer)["all_seeds"]), (4, [5, 6, 7, 8]), "images and seeds")
    single = draw(session, seed=8)
    expect(decode_image(answer["images"][3]).size == decode_image(single["images"][0]).size, "the sizes differ")


@check(GROUP, "several images that are saved have their grid first")
def _(session: Session) -> None:
    answer = draw(session, batch_size=2, save_images=True)
    expect_equal((len(answer["images"]), read_info(answer)["index_of_first_image"]), (3, 1), "images and first")
    plain = draw(session, batch_size=2, save_images=True, do_not_save_grid=True)
    expect_equal(len(plain["images"]), 2, "the number of images without a grid")


@check(GROUP, "send_images false leaves the images out")
def _(session: Session) -> None:
    answer = draw(session, send_images=False)
    expect_equal(answer["images"], [], "images")
    expect(read_info(answer)["infotexts"], "there are no infotexts")


@check(GROUP, "unknown fields are passed over, and nulls mean the default")
def _(session: Session) -> None:
    answer = draw(session, hr_additional_modules=[], url="x", auth="y", styles=None, eta=None, comments=None)
    expect_equal(len(answer["images"]), 1, "the number of images")


@check(GROUP, "sampler and schedule by name, old name, label, suffix")
def _(session: Session) -> None:
    known = read_json(session.http.get(f"{ROOT}/samplers"))[0]["name"]
    labels = read_json(session.http.get(f"{ROOT}/schedulers"))
    for body in (
        {"sampler_name": known},
        {"sampler_index": known},
        {"sampler_name": known, "scheduler": "automatic"},
        {"sampler_name": known, "scheduler": labels[-1]["label"]},
        {"sampler_name": known, "scheduler": labels[-1]["name"]},
        {"sampler_name": f"{known} Karras"},
    ):
        expect_equal(read_info(draw(session, **body))["sampler_name"], known, f"the sampler of {body}")


@check(GROUP, "styles are applied")
def _(session: Session) -> None:
    style = next(one for one in read_json(session.http.get(f"{ROOT}/prompt-styles")) if one["prompt"])
    prompt = read_info(draw(session, styles=[style["name"]]))["prompt"]
    expect(PROMPT in prompt and prompt != PROMPT, "the prompt is as it was")


@check(GROUP, "override_settings hold for one call")
def _(session: Session) -> None:
    drawn = draw(session, override_settings={"samples_format": "webp", "no_such_option": 1})
    expect_equal(decode_image(drawn["images"][0]).format, "WEBP", "the file type")
    expect_equal(read_json(session.http.get(f"{ROOT}/options"))["samples_format"], "png", "samples_format afterwards")


@check(GROUP, "an infotext fills what is left out")
def _(session: Session) -> None:
    text = f"a blue pear\nNegative prompt: red\nSteps: 3, Sampler: Euler, CFG scale: 4, Seed: 77, Size: {SIDE}x{SIDE}"
    sent = {"infotext": text, "width": SIDE, "height": SIDE}
    info = read_info(read_json(session.http.post(f"{ROOT}/txt2img", json=sent)))
    found = (info["prompt"], info["negative_prompt"], info["steps"], info["seed"], info["cfg_scale"])
    expect_equal(found, ("a blue pear", "red", 3, 77, 4.0), "what was drawn")


@check(GROUP, "the hires fix enlarges, by scale, by size and the old way")
def _(session: Session) -> None:
    width, height = session.facts["size"]
    hires = {"enable_hr": True, "denoising_strength": 0.7, "hr_upscaler": "Latent"}
    larger = decode_image(draw(session, **hires, hr_scale=2)["images"][0])
    expect_equal(larger.size, (2 * width, 2 * height), "the size")
    resized = decode_image(draw(session, **hires, hr_resize_x=2 * SIDE, hr_resize_y=2 * SIDE)["images"][0])
    expect_equal(resized.size, (2 * SIDE, 2 * SIDE), "the size of hr_resize")
    old = draw(session, **hires, firstphase_width=SIDE, firstphase_height=SIDE, width=2 * SIDE, height=2 * SIDE)
    expect_equal(decode_image(old["images"][0]).size, (2 * SIDE, 2 * SIDE), "the size the old way")
    expect_keys(read_info(old)["extra_generation_params"], {"Hires upscaler"}, "extra_generation_params")


@check(GROUP, "a variation of a seed is told")
def _(session: Session) -> None:
    info = read_info(draw(session, subseed=9, subseed_strength=0.3))
    expect_equal((info["subseed"], info["subseed_strength"]), (9, 0.3), "the variation")
    expect("Variation seed: 9" in info["infotexts"][0], "the infotext has no variation seed")


@check(GROUP, "the X/Y/Z plot has its grid first, then images whose first axis changes fastest")
def _(session: Session) -> None:
    axes = ["Seed", "1,2", [], "Steps", "2,3", [], 0, "", []]
    answer = draw(session, script_name="X/Y/Z plot", script_args=[*axes, True, True, False])
    info = read_info(answer)
    expect_equal((len(answer["images"]), info["index_of_first_image"]), (5, 1), "images and first")
    expect_equal(info["all_seeds"], [1, 2, 1, 2], "the seeds")
    expect(decode_image(answer["images"][0]).width > 2 * session.facts["size"][0], "the first image is no grid")
    pages = draw(session, script_name="x/y/z plot", script_args=[*axes, True, False, True])
    expect_equal(len(pages["images"]), 2, "the number of grids with sub grids")


@check(GROUP, "the prompt matrix and prompts from a text are drawn")
def _(session: Session) -> None:
    matrix = draw(session, prompt="apple|red", script_name="prompt matrix", script_args=[])
    expect_equal(read_info(matrix)["all_prompts"], ["apple", "apple, red"], "the prompts of the matrix")
    listed = [False, False, "start", "a pear\na plum"]
    lines = draw(session, prompt="", script_name="prompts from file or textbox", script_args=listed)
    expect_equal(read_info(lines)["all_prompts"], ["a pear", "a plum"], "the prompts of the text")


@check(GROUP, "loopback, SD upscale and outpainting are drawn")
def _(session: Session) -> None:
    loops = draw(session, "img2img", script_name="loopback", script_args=[2, 0.5, "Linear"])
    expect_equal(len(loops["images"]), 3, "the number of images of two loops with their grid")
    larger = draw(session, "img2img", script_name="SD upscale", script_args=["", 16, "Lanczos", 2.0])
    expect(decode_image(larger["images"][0]).width >= 2 * SIDE, "the image was not enlarged")
    wider = draw(session, "img2img", script_name="Outpainting mk2", script_args=["", 64, 4, ["left"], 1.0, 0.05])
    expect(decode_image(wider["images"][0]).width > SIDE, "the image is not wider")


@check(GROUP, "img2img takes images with and without a prefix and hides them in its echo")
def _(session: Session) -> None:
    answer = draw(session, "img2img", init_images=["data:image/png;base64," + encode(make_png())])
    found = answer["parameters"]
    expect_equal((found["init_images"], found["mask"]), (None, None), "the echo of the images")
    shown = draw(session, "img2img", include_init_images=True)
    expect_equal(len(shown["parameters"]["init_images"]), 1, "the number of images with include_init_images")
    several = draw(session, "img2img", init_images=[encode(make_png()), encode(make_png("blue"))])
    expect_equal(len(several["images"]), 2, "the number of images of two")


@check(GROUP, "inpainting with every masked content, the whole image or its masked part")
def _(session: Session) -> None:
    for fill in range(4):
        for part in (True, False):
            sent = {"mask": encode(make_mask()), "inpainting_fill": fill, "inpaint_full_res": part}
            draw(session, "img2img", **sent, inpaint_full_res_padding=16, inpainting_mask_invert=fill % 2)


@check(GROUP, "black parts of a mask keep their pixels")
def _(session: Session) -> None:
    sent = {"mask": encode(make_mask()), "inpainting_fill": 1, "mask_blur": 0, "denoising_strength": 1.0}
    image = decode_image(draw(session, "img2img", **sent)["images"][0]).convert("RGB")
    expect_equal(image.getpixel((2, 2)), (255, 0, 0), "a pixel outside of the mask")
    expect(image.getcolors(SIDE * SIDE) != [(SIDE * SIDE, (255, 0, 0))], "nothing was drawn")


@check(GROUP, "every resize mode gives the wanted size")
def _(session: Session) -> None:
    wide = encode(write_png(Image.new("RGB", (2 * SIDE, SIDE), "green")))
    for mode in range(4):
        image = decode_image(draw(session, "img2img", init_images=[wide], resize_mode=mode)["images"][0])
        expect_equal(image.size, session.facts["size"], f"the size with mode {mode}")


_ERRORS: tuple[tuple[str, str, dict[str, Any], int, str], ...] = (
    ("an unknown sampler", "txt2img", {"sampler_name": "none such"}, 400, "Sampler not found"),
    ("an unknown script", "txt2img", {"script_name": "none such"}, 422, "none such"),
    ("an unknown always-on script", "txt2img", {"alwayson_scripts": {"none such": {}}}, 422, "none such"),
    ("no init image", "img2img", {}, 404, "Init image not found"),
    ("base64 that is no image", "img2img", {"init_images": ["AAAA"]}, 500, "Invalid encoded image"),
    ("text that is no base64", "img2img", {"init_images": ["%%%"]}, 500, "Invalid encoded image"),
    ("an address that may not be asked", "img2img", {"init_images": [ADDRESS]}, 500, ""),
    ("an unknown checkpoint", "options", {"sd_model_checkpoint": "none such"}, 500, "none such"),
    ("an unknown upscaler", "extra-single-image", {"image": encode(make_png()), "upscaler_1": "none such"}, 400, ""),
)


def _add_error(what: str, path: str, body: dict[str, Any], status: int, text: str) -> None:
    @check(GROUP, f"{what} is {status} in its form")
    def _(session: Session) -> None:
        answer = session.http.post(f"{ROOT}/{path}", json=body)
        expect_status(answer, status)
        expect_keys(answer.json(), "error detail body errors", "the error")
        expect(text in str(answer.json()["detail"]), f"the detail is {answer.json()['detail']!r}")


for _error in _ERRORS:
    _add_error(*_error)


@check(GROUP, "a value that does not fit is 422 with FastAPI's list")
def _(session: Session) -> None:
    answer = session.http.post(f"{ROOT}/txt2img", json={"steps": "many"})
    expect_status(answer, 422)
    expect_equal(answer.json()["detail"][0]["loc"], ["body", "steps"], "the place")


@check(GROUP, "every answer has X-Process-Time")
def _(session: Session) -> None:
    for answer in (session.http.get(f"{ROOT}/samplers"), session.http.post(f"{ROOT}/img2img", json={})):
        expect(float(answer.headers["x-process-time"]) >= 0, "there is no X-Process-Time")


@check(GROUP, "extras enlarge by a factor, to a size, and leave as it is")
def _(session: Session) -> None:
    for body, wanted in (
        ({"upscaler_1": "Lanczos", "upscaling_resize": 2}, (2 * SIDE, 2 * SIDE)),
        ({"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 200, "upscaling_resize_h": 100}, (200, 100)),
        ({"upscaler_1": "Nearest", "upscaling_resize": 1.5}, (3 * SIDE // 2, 3 * SIDE // 2)),
        ({}, (SIDE, SIDE)),
    ):
        answer = read_json(session.http.post(f"{ROOT}/extra-single-image", json={"image": encode(make_png()), **body}))
        expect_keys(answer, "html_info image", "the answer")
        expect_equal(decode_image(answer["image"]).size, wanted, f"the size with {body}")


@check(GROUP, "extras of several images keep their order")
def _(session: Session) -> None:
    listed = [{"data": encode(make_png(colour)), "name": colour} for colour in ("red", "blue")]
    body = {"imageList": listed, "upscaler_1": "Nearest", "upscaling_resize": 2}
    answer = read_json(session.http.post(f"{ROOT}/extra-batch-images", json=body))
    pixels = [decode_image(text).convert("RGB").getpixel((9, 9)) for text in answer["images"]]
    expect_equal(pixels, [(255, 0, 0), (0, 0, 255)], "the colours")


@check(GROUP, "png-info reads text and parameters")
def _(session: Session) -> None:
    answer = read_json(session.http.post(f"{ROOT}/png-info", json={"image": session.facts["a1111"]}))
    expect_keys(answer, "info items parameters", "the answer")
    found = answer["parameters"]
    expect_equal((found["Seed"], found["Prompt"], found["Steps"]), ("5", PROMPT, str(STEPS)), "the parameters")
    empty = read_json(session.http.post(f"{ROOT}/png-info", json={"image": encode(make_png())}))
    expect_equal((empty["info"], empty["parameters"]), ("", {}), "what a plain image tells")


@check(GROUP, "interrogate gives a caption, or tells that there is no model")
def _(session: Session) -> None:
    answer = session.http.post(f"{ROOT}/interrogate", json={"image": encode(make_png()), "model": "clip"})
    expect_status(answer, 200, 404)
    expect(answer.json().get("caption") or answer.json()["detail"] == "Model not found", "neither was told")
    expect_status(session.http.post(f"{ROOT}/interrogate", json={"model": "clip"}), 404)


@check(GROUP, "progress is idle when nothing runs")
def _(session: Session) -> None:
    answer = read_json(session.http.get(f"{ROOT}/progress?skip_current_image=true"))
    expect_keys(answer, "progress eta_relative state current_image textinfo", "progress")
    expect_keys(answer["state"], _STATE_KEYS, "the state")
    expect_equal((answer["progress"], answer["state"]["job_count"]), (0, 0), "progress and job_count")


@check(GROUP, "/internal/progress and /internal/pending-tasks tell of tasks")
def _(session: Session) -> None:
    draw(session, force_task_id="conformance")
    answer = read_json(session.http.post("/internal/progress", json={"id_task": "conformance"}))
    expect_keys(answer, "active queued completed progress eta live_preview id_live_preview textinfo", "the task")
    expect_equal((answer["active"], answer["completed"]), (False, True), "active and completed")
    expect_equal(read_json(session.http.get("/internal/pending-tasks")), {"size": 0, "tasks": []}, "waiting tasks")


@check(GROUP, "options are a flat map that can be sent back whole and in part")
def _(session: Session) -> None:
    whole = read_json(session.http.get(f"{ROOT}/options"))
    expect_keys(whole, "sd_model_checkpoint sd_checkpoint_hash samples_format send_seed sd_vae", "the options")
    expect("forge_preset" not in whole, "the options look like those of Forge")
    expect_equal(read_json(session.http.post(f"{ROOT}/options", json=whole)), None, "the answer")
    expect_equal(read_json(session.http.get(f"{ROOT}/options")), whole, "the options after they were sent back")
    session.http.post(f"{ROOT}/options", json={"CLIP_stop_at_last_layers": 2, "no_such_option": 1})
    changed = read_json(session.http.get(f"{ROOT}/options"))
    expect_equal(changed["CLIP_stop_at_last_layers"], 2, "the changed option")
    session.http.post(f"{ROOT}/options", json=whole)


@check(GROUP, "a checkpoint is set by its title and by its name")
def _(session: Session) -> None:
    before = read_json(session.http.get(f"{ROOT}/options"))["sd_model_checkpoint"]
    model = read_json(session.http.get(f"{ROOT}/sd-models"))[0]
    for name in (model["title"], model["model_name"]):
        expect_status(session.http.post(f"{ROOT}/options", json={"sd_model_checkpoint": name}), 200)
        expect_equal(read_info(draw(session))["sd_model_name"], model["model_name"], f"the model of {name}")
    session.http.post(f"{ROOT}/options", json={"sd_model_checkpoint": before})


def _is_list_of(keys: str) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, list) and all(set(keys.split()) <= set(one) for one in found)


_LISTS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("samplers", _is_list_of("name aliases options")),
    ("schedulers", _is_list_of("name label aliases default_rho need_inner_model")),
    (
        "upscalers",
        lambda found: (
            _is_list_of("name model_name model_path model_url scale")(found)
            and [one["name"] for one in found][:3] == ["None", "Lanczos", "Nearest"]
        ),
    ),
    ("latent-upscale-modes", lambda found: tuple(one["name"] for one in found) == _LATENT_MODES),
    (
        "sd-models",
        lambda found: bool(found) and _is_list_of("title model_name hash sha256 filename config")(found),
    ),
    ("sd-vae", _is_list_of("model_name filename")),
    ("sd-modules", _is_list_of("model_name filename")),
    ("hypernetworks", _is_list_of("name path")),
    ("face-restorers", _is_list_of("name cmd_dir")),
    ("realesrgan-models", _is_list_of("name path scale")),
    ("prompt-styles", _is_list_of("name prompt negative_prompt")),
    ("embeddings", lambda found: set(found) == {"loaded", "skipped"}),
    ("loras", _is_list_of("name alias path metadata")),
    (
        "scripts",
        lambda found: {"txt2img", "img2img"} == set(found) and all(name == name.lower() for name in found["txt2img"]),
    ),
    ("script-info", lambda found: bool(found) and _is_list_of("name is_alwayson is_img2img args")(found)),
    ("extensions", _is_list_of("name remote branch commit_hash version commit_date enabled")),
    ("cmd-flags", lambda found: isinstance(found, dict) and bool(found)),
    ("memory", lambda found: {"free", "used", "total"} <= set(found["ram"]) and bool(found["cuda"])),
)


def _add_list(path: str, fits: Callable[[Any], bool]) -> None:
    @check(GROUP, f"GET {path} has its shape")
    def _(session: Session) -> None:
        found = read_json(session.http.get(f"{ROOT}/{path}"))
        expect(fits(found), f"it answers {str(found)[:150]}")


for _path, _fits in _LISTS:
    _add_list(_path, _fits)

_ACTIONS: tuple[tuple[str, Any], ...] = (
    ("interrupt", {}),
    ("skip", None),
    ("refresh-checkpoints", None),
    ("refresh-vae", None),
    ("refresh-embeddings", None),
    ("refresh-loras", None),
    ("unload-checkpoint", {}),
    ("reload-checkpoint", {}),
)


def _add_action(path: str, wanted: Any) -> None:
    @check(GROUP, f"POST {path} answers as there")
    def _(session: Session) -> None:
        answer = session.http.post(f"{ROOT}/{path}")
        if answer.status_code == 403 and path.endswith("-checkpoint"):
            return  # what all users share is for administrators
        expect_equal(read_json(answer), wanted, "the answer")


for _path, _wanted in _ACTIONS:
    _add_action(_path, _wanted)


@check(GROUP, "training answers what became of it")
def _(session: Session) -> None:
    for path in ("create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"):
        expect_keys(read_json(session.http.post(f"{ROOT}/{path}", json={"name": "x"})), {"info"}, path)


@check(GROUP, "nobody stops the server")
def _(session: Session) -> None:
    for path in ("server-kill", "server-restart", "server-stop"):
        expect_status(session.http.post(f"{ROOT}/{path}"), 404, 405)


@check(GROUP, "base64 of a pickle is no image")
def _(session: Session) -> None:
    pickled = encode(b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06getpid\x93)R.")
    expect_status(session.http.post(f"{ROOT}/png-info", json={"image": pickled}), 500)
    expect_status(session.http.post(f"{ROOT}/img2img", json={"init_images": [pickled]}), 500)
