"""The API of AUTOMATIC1111's ControlNet extension."""

from __future__ import annotations

from typing import Any

from tools.dialect_checks.automatic1111 import draw
from tools.dialect_checks.session import (
    SIDE,
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
)

GROUP = "ControlNet"


def list_models(session: Session) -> list[str]:
    """The names of the networks; at least one is needed."""
    found: list[str] = read_json(session.http.get("/controlnet/model_list"))["model_list"]
    expect(found, "no ControlNet is installed")
    return found


def draw_units(session: Session, *units: dict[str, Any], kind: str = "txt2img", **body: Any) -> list[Any]:
    """The images of a call with units."""
    plain = {"module": "canny", "model": list_models(session)[0], "pixel_perfect": True}
    own = {} if kind == "img2img" else {"image": encode(make_mask())}
    filled = [{**plain, **own, **unit} for unit in units]
    answer = draw(session, kind, alwayson_scripts={"ControlNet": {"args": filled}}, **body)
    found: list[Any] = answer["images"]
    return found


def detect(session: Session, **body: Any) -> Any:
    """The answer to POST detect."""
    sent = {"controlnet_module": "canny", "controlnet_input_images": [encode(make_mask())], **body}
    return session.http.post("/controlnet/detect", json=sent)


@check(GROUP, "version and settings")
def _(session: Session) -> None:
    expect(read_json(session.http.get("/controlnet/version"))["version"] >= 2, "the version is below 2")
    expect(read_json(session.http.get("/controlnet/settings"))["control_net_unit_count"] >= 1, "there are no units")


@check(GROUP, "networks are listed, again too")
def _(session: Session) -> None:
    expect_equal(
        read_json(session.http.get("/controlnet/model_list?update=false"))["model_list"], list_models(session), "it"
    )


@check(GROUP, "modules are listed with their sliders, by both kinds of names")
def _(session: Session) -> None:
    for query in ("", "?alias_names=true", "?alias_names=false"):
        found = read_json(session.http.get(f"/controlnet/module_list{query}"))
        expect({"none", "canny"} <= set(found["module_list"]), "none or canny are not there")
        expect_equal(set(found["module_list"]), set(found["module_detail"]), "the names of the details")
        detail = found["module_detail"]["canny"]
        expect_keys(detail, "model_free sliders", "the detail")
        for slider in detail["sliders"]:
            expect(slider is None or {"name", "value", "min", "max"} <= set(slider), f"a slider is {slider}")


@check(GROUP, "control types name their modules, networks and defaults")
def _(session: Session) -> None:
    types = read_json(session.http.get("/controlnet/control_types"))["control_types"]
    expect({"All", "Canny"} <= set(types), "All or Canny are not there")
    for name, one in types.items():
        expect_keys(one, "module_list model_list default_option default_model", name)
        expect(one["default_option"] in one["module_list"], f"the default module of {name} is not in its list")
        expect(one["default_model"] in one["model_list"], f"the default network of {name} is not in its list")


@check(GROUP, "detect gives a map of each image")
def _(session: Session) -> None:
    answer = read_json(detect(session, controlnet_input_images=[encode(make_mask())] * 2))
    expect_keys(answer, "info images", "the answer")
    expect_equal((answer["info"], len(answer["images"])), ("Success", 2), "info and images")
    colours = decode_image(answer["images"][0]).convert("L").getcolors() or []
    expect(len(colours) >= 2, "the map of edges is empty")


@check(GROUP, "detect takes resolution, thresholds and masks, and the field that webuiapi sends")
def _(session: Session) -> None:
    small = read_json(detect(session, controlnet_processor_res=64, controlnet_threshold_a=50, controlnet_threshold_b=9))
    expect_equal(min(decode_image(small["images"][0]).size), 64, "the short side")
    read_json(detect(session, controlnet_masks=[encode(make_mask())]))
    body = {"controlnet_module": "canny", "controlnet_images": [encode(make_mask())]}
    expect_equal(len(read_json(session.http.post("/controlnet/detect", json=body))["images"]), 1, "the images")
    unchanged = read_json(detect(session, controlnet_module="none"))
    expect_equal(decode_image(unchanged["images"][0]).size, (SIDE, SIDE), "the size without a module")


_WRONG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("an unknown module", {"controlnet_module": "none such"}),
    ("no image", {"controlnet_input_images": []}),
    ("another number of masks", {"controlnet_masks": [encode(make_mask())] * 3}),
)


def _add_wrong(what: str, body: dict[str, Any]) -> None:
    @check(GROUP, f"detect with {what} is 422")
    def _(session: Session) -> None:
        expect_status(detect(session, **body), 422)


for _what, _body in _WRONG:
    _add_wrong(_what, _body)


@check(GROUP, "a pose from JSON is drawn or refused")
def _(session: Session) -> None:
    expect_status(session.http.post("/controlnet/render_openpose_json", json=[]), 200, 422)


@check(GROUP, "every unit adds its map, behind the images")
def _(session: Session) -> None:
    expect_equal(len(draw_units(session, {})), 2, "the images of one unit")
    expect_equal(len(draw_units(session, {}, {})), 3, "the images of two units")
    expect_equal(len(draw_units(session, {}, batch_size=2)), 3, "the images of a batch")
    expect_equal(len(draw_units(session, {"save_detected_map": False})), 1, "the images without the map")
    expect_equal(len(draw_units(session, {"enabled": False})), 1, "the images of a unit that is off")
    expect_equal(len(draw_units(session, {}, kind="img2img")), 2, "the images of img2img without an image of its own")


@check(GROUP, "a unit changes what is drawn")
def _(session: Session) -> None:
    plain = decode_image(draw(session)["images"][0]).convert("RGB")
    steered = decode_image(draw_units(session, {"weight": 1.5})[0]).convert("RGB")
    expect(plain.tobytes() != steered.tobytes(), "the image is the same")


@check(GROUP, "modes, resize modes and passes by number and by word")
def _(session: Session) -> None:
    for unit in (
        {"control_mode": 1, "resize_mode": 0},
        {"control_mode": "ControlNet is more important", "resize_mode": "Crop and Resize"},
        {"control_mode": "Balanced", "resize_mode": "Resize and Fill"},
        {"guidance_start": 0.1, "guidance_end": 0.8, "threshold_a": -1, "threshold_b": -1, "processor_res": -1},
    ):
        draw_units(session, unit)
    hires = {"enable_hr": True, "denoising_strength": 0.7, "hr_scale": 2}
    expect_equal(len(draw_units(session, {"hr_option": "Both"}, **hires)), 3, "the images of both passes")
    expect_equal(len(draw_units(session, {"hr_option": "Low res only"}, **hires)), 2, "the images of the first pass")


@check(GROUP, "old names and unknown fields are taken")
def _(session: Session) -> None:
    old = {"image": None, "input_image": encode(make_mask()), "lowvram": False, "guessmode": False}
    expect_equal(len(draw_units(session, old)), 2, "the images of the old names")
    strange = {"advanced_weighting": None, "pulid_mode": "Fidelity", "union_control_type": "Unknown", "is_ui": False}
    expect_equal(len(draw_units(session, strange)), 2, "the images with unknown fields")


@check(GROUP, "ipadapter_input is not opened")
def _(session: Session) -> None:
    pickled = encode(b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06getpid\x93)R.")
    expect_equal(len(draw_units(session, {"ipadapter_input": [pickled]})), 2, "the images")


@check(GROUP, "a unit of what is not there is 422")
def _(session: Session) -> None:
    for wrong in ({"module": "none such"}, {"model": "none such"}):
        unit = {"module": "canny", "model": list_models(session)[0], "image": encode(make_png()), **wrong}
        body = {"width": SIDE, "height": SIDE, "alwayson_scripts": {"ControlNet": {"args": [unit]}}}
        expect_status(session.http.post("/sdapi/v1/txt2img", json=body), 422)
