"""OpenAI's images API."""

from __future__ import annotations

import json
from typing import Any

import httpx

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
    make_png,
    make_transparent_mask,
    read_json,
)

GROUP = "OpenAI"
_USAGE_KEYS = "input_tokens input_tokens_details output_tokens total_tokens"
_EVENT_KEYS = "type b64_json created_at size quality background output_format"


def generate(session: Session, **body: Any) -> httpx.Response:
    """The answer to POST generations."""
    sent = {"prompt": PROMPT, "size": f"{SIDE}x{SIDE}", "seed": 5, "steps": STEPS, **body}
    return session.http.post("/v1/images/generations", json=sent)


def edit(session: Session, files: Any = None, **fields: str) -> httpx.Response:
    """The answer to POST edits as a form."""
    form = {"prompt": "a pear", "steps": str(STEPS), "seed": "5", **fields}
    given = files or [("image", ("a.png", make_png(), "image/png"))]
    return session.http.post("/v1/images/edits", data=form, files=given)


def read_events(answer: httpx.Response) -> list[tuple[str, Any]]:
    """(event, data) of a stream."""
    expect(answer.headers["content-type"].startswith("text/event-stream"), "it is no stream")
    found: list[tuple[str, Any]] = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in lines and lines["data"] != "[DONE]":
            found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


@check(GROUP, "an image in base64 with its facts and its usage")
def _(session: Session) -> None:
    answer = read_json(generate(session))
    decode_image(answer["data"][0]["b64_json"])
    expect_keys(answer, "created data background output_format quality size usage", "the answer")
    expect_keys(answer["usage"], _USAGE_KEYS, "usage")
    expect_keys(answer["usage"]["input_tokens_details"], "image_tokens text_tokens", "input_tokens_details")
    expect(answer["quality"] != "auto" and answer["background"] != "auto", "quality or background are auto")


@check(GROUP, "one seed gives the same image, by every name of the fields")
def _(session: Session) -> None:
    first = decode_image(read_json(generate(session, cfg_scale=3))["data"][0]["b64_json"]).tobytes()
    names = {"steps": None, "num_inference_steps": STEPS, "guidance_scale": 3.0}
    again = decode_image(read_json(generate(session, **names))["data"][0]["b64_json"]).tobytes()
    expect(first == again, "the images differ")


@check(GROUP, "several images")
def _(session: Session) -> None:
    data = read_json(generate(session, n=2))["data"]
    expect(len({one["b64_json"] for one in data}) == 2, "there are not two different images")


@check(GROUP, "an address that leads to the image")
def _(session: Session) -> None:
    place = read_json(generate(session, response_format="url"))["data"][0]["url"]
    expect(session.http.get(place).headers["content-type"].startswith("image/"), "the address leads to no image")


@check(GROUP, "png, webp and jpeg, with compression")
def _(session: Session) -> None:
    for kind in ("png", "webp", "jpeg"):
        answer = read_json(generate(session, output_format=kind, output_compression=60))
        expect_equal(decode_image(answer["data"][0]["b64_json"]).format, kind.upper(), "the file type")
        expect_equal(answer["output_format"], kind, "output_format")


@check(GROUP, "fields of today's and of older models are taken")
def _(session: Session) -> None:
    for quality in ("auto", "low", "high", "xhigh", "max", "standard", "hd"):
        expect_status(generate(session, quality=quality, background="opaque", moderation="low", user="x"), 200)
    expect_status(generate(session, style="vivid", hr_additional_modules=[], safety_identifier="x"), 200)
    expect_status(generate(session, size="auto", negative_prompt="blurry"), 200)


@check(GROUP, "OpenAI's own names, and none, mean the default model")
def _(session: Session) -> None:
    for name in ("dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest", ""):
        expect_status(generate(session, model=name), 200)


@check(GROUP, "a stream has typed events and ends with the image and its usage")
def _(session: Session) -> None:
    events = read_events(generate(session, stream=True, partial_images=2, num_inference_steps=12))
    for index, (event, data) in enumerate(events):
        expect_equal(event, data["type"], "the event's name")
        expect_keys(data, _EVENT_KEYS, event)
        if index < len(events) - 1:
            expect_equal((event, data["partial_image_index"]), ("image_generation.partial_image", index), "a preview")
        decode_image(data["b64_json"])
    expect_equal(events[-1][0], "image_generation.completed", "the last event")
    expect_keys(events[-1][1]["usage"], _USAGE_KEYS, "usage")


@check(GROUP, "a stream without previews, and one of an edit")
def _(session: Session) -> None:
    events = read_events(generate(session, stream=True))
    expect_equal([event for event, _ in events], ["image_generation.completed"], "the events")
    events = read_events(edit(session, stream="true"))
    expect_equal(events[-1][0], "image_edit.completed", "the last event")


@check(GROUP, "an edit as a form, of one image or several")
def _(session: Session) -> None:
    image = make_png()
    one = read_json(edit(session, response_format="b64_json", n="1", background="auto", input_fidelity="high"))
    decode_image(one["data"][0]["b64_json"])
    several = [("image[]", (f"{number}.png", image, "image/png")) for number in range(2)]
    expect_status(edit(session, several), 200)


@check(GROUP, "a mask changes what is transparent, and nothing else")
def _(session: Session) -> None:
    files = [
        ("image", ("a.png", make_png(), "image/png")),
        ("mask", ("m.png", make_transparent_mask(), "image/png")),
    ]
    image = decode_image(read_json(edit(session, files, strength="1"))["data"][0]["b64_json"]).convert("RGB")
    expect_equal(image.getpixel((2, 2)), (255, 0, 0), "a pixel that is not transparent in the mask")
    colours = image.getcolors(image.width * image.height) or []
    expect(len(colours) > 1, "nothing was changed")


@check(GROUP, "an edit as JSON")
def _(session: Session) -> None:
    data = "data:image/png;base64," + encode(make_png())
    for sent in ({"image": data}, {"images": [{"image_url": data}]}):
        answer = session.http.post("/v1/images/edits", json={"prompt": "a pear", "steps": STEPS, **sent})
        expect_status(answer, 200)


@check(GROUP, "variations")
def _(session: Session) -> None:
    answer = session.http.post(
        "/v1/images/variations",
        data={"steps": str(STEPS), "n": "1"},
        files={"image": ("a.png", make_png(), "image/png")},
    )
    decode_image(read_json(answer)["data"][0]["b64_json"])


@check(GROUP, "what was made can be edited again")
def _(session: Session) -> None:
    made = read_json(generate(session))["data"][0]["b64_json"]
    expect_status(session.http.post("/v1/images/edits", json={"prompt": "x", "image": made, "steps": STEPS}), 200)


@check(GROUP, "models are listed, and one by its id")
def _(session: Session) -> None:
    answer = read_json(session.http.get("/v1/models"))
    expect_equal(answer["object"], "list", "object")
    for one in answer["data"]:
        expect_keys(one, "id object created owned_by", "a model")
    first = answer["data"][0]
    expect_equal(read_json(session.http.get(f"/v1/models/{first['id']}")), first, "the model by its id")
    expect_equal(session.http.get("/v1/models/none-such").json()["error"]["code"], "model_not_found", "the code")


_ERRORS: tuple[tuple[str, dict[str, Any], str | None], ...] = (
    ("no prompt", {"prompt": ""}, "prompt"),
    ("too many images", {"n": 99}, "n"),
    ("no image at all", {"n": 0}, "n"),
    ("a size that is none", {"size": "large"}, "size"),
    ("a file type that is none", {"output_format": "bmp"}, "output_format"),
    ("too much compression", {"output_compression": 101}, "output_compression"),
    ("too many previews", {"stream": True, "partial_images": 9}, "partial_images"),
    ("a quality that is none", {"quality": "none such"}, "quality"),
    ("a seed that is no number", {"seed": "x"}, "seed"),
    ("an unknown model", {"model": "none such"}, None),
)


def _add_error(what: str, body: dict[str, Any], parameter: str | None) -> None:
    @check(GROUP, f"{what} is a typed error, not to be sent again")
    def _(session: Session) -> None:
        answer = generate(session, **body)
        expect_status(answer, 400, 404)
        told = answer.json()["error"]
        expect_keys(told, "message type param code", "the error")
        expect_equal(answer.headers.get("x-should-retry"), "false", "x-should-retry")
        if parameter is None:
            expect_equal(told["code"], "model_not_found", "the code")
        else:
            expect_equal(told["param"], parameter, "the parameter")


for _error in _ERRORS:
    _add_error(*_error)


@check(GROUP, "a body that is no JSON, and a file that is no image")
def _(session: Session) -> None:
    answer = session.http.post("/v1/images/generations", content=b"{", headers={"Content-Type": "application/json"})
    expect_status(answer, 400)
    expect_keys(answer.json()["error"], "message type param code", "the error")
    answer = edit(session, [("image", ("a.png", b"no image", "image/png"))])
    expect_status(answer, 400)
    answer = session.http.post("/v1/images/edits", json={"prompt": "x", "image": "http://127.0.0.1:9/a.png"})
    expect_status(answer, 400)


@check(GROUP, "OPTIONS is answered, other routes are named")
def _(session: Session) -> None:
    expect_status(session.http.options("/v1/images/generations"), 200, 204)
    answer = session.http.post("/v1/chat/completions", json={})
    expect_status(answer, 404)
    expect_keys(answer.json()["error"], "message type param code", "the error")


@check(GROUP, "a size that the model can draw is kept")
def _(session: Session) -> None:
    answer = read_json(generate(session))
    image = decode_image(answer["data"][0]["b64_json"])
    expect_equal(f"{image.width}x{image.height}", answer["size"], "the size that is told")
