"""The short routes of smaller generators, and one seed through all APIs."""

from __future__ import annotations

import time
from typing import Any

from PIL import Image

from tools.dialect_checks import automatic1111, comfyui, openai_images
from tools.dialect_checks.session import (
    DEADLINE,
    PROMPT,
    SIDE,
    STEPS,
    Session,
    Unexpected,
    check,
    decode_image,
    encode,
    expect,
    expect_equal,
    expect_keys,
    expect_status,
    load,
    make_png,
    read_json,
)

GROUP = "Short routes"
ONE_SEED = "One seed"
BODY: dict[str, Any] = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5}


@check(GROUP, "generate answers one image")
def _(session: Session) -> None:
    answer = read_json(session.http.post("/generate", json=BODY))
    expect_keys(answer, "imageData format width height seed id", "the answer")
    image = decode_image(answer["imageData"])
    expect_equal((image.size, answer["seed"]), ((answer["width"], answer["height"]), 5), "size and seed")
    session.facts["short image"] = answer["id"]


@check(GROUP, "names in camelCase and with underscores, and unknown ones")
def _(session: Session) -> None:
    for names in (
        {"negativePrompt": "blurry", "cfgScale": 4, "aspectRatio": None, "guidance": 3},
        {"negative_prompt": "blurry", "cfg_scale": 4, "num_inference_steps": STEPS},
    ):
        expect_status(session.http.post("/generate", json={**BODY, **names}), 200)


@check(GROUP, "an image is redrawn")
def _(session: Session) -> None:
    for image in (encode(make_png()), session.facts["short image"]):
        expect_status(session.http.post("/generate", json={**BODY, "image": image, "strength": 0.6}), 200)


@check(GROUP, "a job is followed to its result")
def _(session: Session) -> None:
    answer = session.http.post("/generate/async", json=BODY)
    expect_status(answer, 202)
    job = answer.json()["jobId"]
    end = time.monotonic() + DEADLINE
    while (now := read_json(session.http.get(f"/jobs/{job}")))["status"] not in ("finished", "failed", "cancelled"):
        expect_keys(now, "jobId status progress error", "the job")
        if time.monotonic() > end:
            raise Unexpected("the job did not end")
        time.sleep(0.1)
    decode_image(read_json(session.http.get(f"/jobs/{job}/result"))["imageData"])
    expect_status(session.http.get("/jobs/none-such"), 404)


@check(GROUP, "api/generate answers images with their addresses")
def _(session: Session) -> None:
    answer = read_json(session.http.post("/api/generate", json={**BODY, "count": 2}))
    expect_keys(answer, "status images url image", "the answer")
    expect_equal((answer["status"], len(answer["images"])), ("success", 2), "status and images")
    decode_image(answer["image"])
    expect(session.http.get(answer["url"]).headers["content-type"].startswith("image/"), "the address is no image's")


@check(GROUP, "an image is uploaded and used by its name")
def _(session: Session) -> None:
    answer = read_json(session.http.post("/api/upload-controlnet-image", files={"file": ("a.png", make_png())}))
    expect_keys(answer, "status filename url width height", "the answer")
    expect_equal((answer["width"], answer["height"]), (SIDE, SIDE), "the size")
    expect_status(session.http.post("/generate", json={**BODY, "image": answer["filename"]}), 200)
    expect_status(session.http.post("/api/upload-controlnet-image", files={"file": ("a.png", b"none")}), 400)


@check(GROUP, "derivatives in several sizes and file types")
def _(session: Session) -> None:
    sizes = [{"width": 32, "format": "webp"}, {"width": 16, "height": 16, "crop": True, "format": "jpg"}]
    body = {"imageData": encode(make_png()), "sizes": sizes}
    found = [
        decode_image(one["imageData"]) for one in read_json(session.http.post("/derivatives", json=body))["derivatives"]
    ]
    expect_equal([(one.format, one.width) for one in found], [("WEBP", 32), ("JPEG", 16)], "the files")


@check(GROUP, "analyze-context answers as the native route")
def _(session: Session) -> None:
    body = {"text": "A new running shoe for trails. Light, green, made of wool."}
    short = session.http.post("/analyze-context", json=body)
    native = session.http.post("/api/image-studio/analyze-context", json=body)
    expect_equal(short.status_code, native.status_code, "the status")


@check(GROUP, "wrong values are named")
def _(session: Session) -> None:
    for body in ({}, {"prompt": "x", "width": "wide"}, {"prompt": "x", "image": "%"}, {"prompt": "x", "seed": 1.5}):
        answer = session.http.post("/generate", json=body)
        expect_status(answer, 400)
        expect_keys(answer.json(), "error code details", "the error")


def draw_native(session: Session, **more: Any) -> Image.Image:
    """The image of the studio's own API."""
    body = {**BODY, "sampler": "Euler", "schedule": "Karras", "guidance_scale": 4.0, **more}
    job = read_json(session.http.post("/api/image-studio/create?wait=true", json=body))
    return load(session.http.get(job["images"][0]["url"]).content)


def _expect_same(session: Session, image: Image.Image, **more: Any) -> None:
    native = draw_native(session, **more)
    same = native.convert("RGB").tobytes() == image.convert("RGB").tobytes()
    expect(same, "its pixels are others than those of the native API")


@check(ONE_SEED, "AUTOMATIC1111 draws what the native API draws")
def _(session: Session) -> None:
    body = {"sampler_name": "Euler", "scheduler": "karras", "cfg_scale": 4.0}
    _expect_same(session, decode_image(automatic1111.draw(session, **body)["images"][0]))


@check(ONE_SEED, "OpenAI draws what the native API draws")
def _(session: Session) -> None:
    body = {"sampler": "Euler", "schedule": "Karras", "cfg_scale": 4.0}
    answer = read_json(openai_images.generate(session, **body))
    _expect_same(session, decode_image(answer["data"][0]["b64_json"]))


@check(ONE_SEED, "MCP draws what the native API draws")
def _(session: Session) -> None:
    from tools.dialect_checks import assistants

    result = assistants.generate(session, sampler="Euler", schedule="Karras", guidance_scale=4.0)
    _expect_same(session, load(session.http.get(result["structuredContent"]["images"][0]["url"]).content))


@check(ONE_SEED, "ComfyUI draws what the native API draws with ComfyUI's noise")
def _(session: Session) -> None:
    graph = comfyui.build_graph(session, n5=("KSampler", {"scheduler": "karras", "cfg": 4.0}))
    _expect_same(session, comfyui.get_image(session, comfyui.run(session, graph)), noise_source="ComfyUI")


@check(ONE_SEED, "the short routes draw what the native API draws")
def _(session: Session) -> None:
    body = {**BODY, "sampler": "Euler", "cfgScale": 4.0}
    short = decode_image(read_json(session.http.post("/generate", json=body))["imageData"])
    _expect_same(session, short, schedule=None)
