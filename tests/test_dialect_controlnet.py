"""The requests of the ControlNet extension's own tests against a served studio, and what they count in its answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from dialect_studio import decode_image, encode, make_png, serve_dialects
from serving import RunningStudio

from studio.api.dialects.automatic1111.control_units import CONTROL_TYPES
from studio.core.request_parts import ControlMode, ControlUnit
from studio.core.task import Task

IMAGE = encode(make_png())
UNIT: dict[str, Any] = {
    "control_mode": 0,
    "enabled": True,
    "guidance_end": 1,
    "guidance_start": 0,
    "pixel_perfect": True,
    "processor_res": 512,
    "resize_mode": 1,
    "threshold_a": 64,
    "threshold_b": 64,
    "weight": 1,
    "module": "canny",
    "model": "edges",
}
OLD_UNIT: dict[str, Any] = {
    "module": "none",
    "model": "edges",
    "weight": 1.0,
    "input_image": IMAGE,
    "mask": IMAGE,
    "resize_mode": 1,
    "lowvram": False,
    "processor_res": 64,
    "threshold_a": 64,
    "threshold_b": 64,
    "guidance_start": 0.0,
    "guidance_end": 1.0,
    "guessmode": False,
}
COMMON: dict[str, Any] = {
    "batch_size": 1,
    "cfg_scale": 7,
    "height": 64,
    "width": 64,
    "n_iter": 1,
    "steps": 3,
    "sampler_name": "Euler",
    "prompt": "(masterpiece: 1.3), (highres: 1.3), best quality,",
    "negative_prompt": "",
    "seed": 42,
    "seed_enable_extras": False,
    "override_settings": {},
    "s_tmax": None,
    "script_args": [],
    "script_name": None,
    "styles": [],
}
BODIES: dict[str, dict[str, Any]] = {
    "txt2img": COMMON | {"comments": {}, "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent"},
    "img2img": COMMON
    | {
        "denoising_strength": 0.75,
        "initial_noise_multiplier": 1,
        "inpaint_full_res": 0,
        "inpainting_fill": 1,
        "inpainting_mask_invert": 0,
        "init_images": [IMAGE],
        "mask_blur": 4,
        "resize_mode": 0,
    },
}
KINDS = pytest.mark.parametrize("kind", ["txt2img", "img2img"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("controlnet")
    shutil.copytree("models/controlnet/embedded-edges", folder / "models" / "controlnet" / "edges")
    with serve_dialects(folder) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client()


def count_images(client: httpx.Client, kind: str, units: list[dict[str, Any]], **change: Any) -> int:
    """How many images a request with those units gives; a unit of txt2img has the image itself, as in those tests."""
    own = {"image": IMAGE} if kind == "txt2img" else {}
    scripts = {"ControlNet": {"args": [own | unit for unit in units]}}
    answer = client.post(f"/sdapi/v1/{kind}", json=BODIES[kind] | {"alwayson_scripts": scripts} | change)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["images"])


def get_unit(served: RunningStudio) -> ControlUnit:
    drawn = next(request for request, _ in reversed(served.backend.seen) if request.task is not Task.PREPROCESS)
    return drawn.control[0]


@KINDS
@pytest.mark.parametrize(
    ("units", "change", "expected"),
    [
        ([], {}, 1),
        ([UNIT], {}, 2),
        ([UNIT, UNIT], {}, 3),
        ([UNIT], {"n_iter": 2}, 3),
        ([UNIT], {"batch_size": 2}, 3),
        ([UNIT | {"foo": True, "is_ui": False}], {}, 2),
        ([UNIT | {"save_detected_map": True}], {}, 2),
        ([UNIT | {"save_detected_map": False}], {}, 1),
        ([UNIT | {"enabled": False}], {}, 1),
        ([UNIT | {"advanced_weighting": [0.75] * 13}], {}, 2),
        ([OLD_UNIT], {}, 2),
        ([OLD_UNIT] * 2, {"n_iter": 2}, 4),
        ([OLD_UNIT] * 8, {}, 9),
        ([{"input_image": IMAGE, "model": "edges"}], {}, 2),
    ],
)
def test_images_come_with_one_map_for_each_unit(
    client: httpx.Client, kind: str, units: list[dict[str, Any]], change: dict[str, Any], expected: int
) -> None:
    assert count_images(client, kind, units, **change) == expected


@KINDS
@pytest.mark.parametrize("name", ["processor_res", "threshold_a", "threshold_b"])
def test_what_is_negative_is_the_modules_default(
    client: httpx.Client, served: RunningStudio, kind: str, name: str
) -> None:
    assert count_images(client, kind, [UNIT | {"pixel_perfect": False, name: -1}]) == 2
    unit = get_unit(served)
    options = {option.name: option.value for option in unit.options}
    given = {"low": 64.0, "high": 64.0}
    left_out = {"threshold_a": "low", "threshold_b": "high"}.get(name)
    assert options == {key: value for key, value in given.items() if key != left_out}
    assert (unit.resolution, unit.pixel_perfect) == (512, False)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("HiResFixOption.BOTH", 3),
        ("Both", 3),
        (0, 3),
        ("HiResFixOption.LOW_RES_ONLY", 2),
        ("Low res only", 2),
        ("High res only", 2),
    ],
)
def test_a_unit_of_both_passes_has_a_map_of_each(client: httpx.Client, option: Any, expected: int) -> None:
    unit = UNIT | {"hr_option": option}
    assert count_images(client, "txt2img", [unit], enable_hr=True, denoising_strength=0.75) == expected
    assert count_images(client, "txt2img", [unit]) == 2


@pytest.mark.parametrize(
    ("sent", "mode"),
    [
        (0, ControlMode.BALANCED),
        (1, ControlMode.PROMPT),
        (2, ControlMode.CONTROL),
        ("Balanced", ControlMode.BALANCED),
        ("My prompt is more important", ControlMode.PROMPT),
        ("ControlNet is more important", ControlMode.CONTROL),
    ],
)
def test_the_control_mode_is_a_number_or_its_words(
    client: httpx.Client, served: RunningStudio, sent: Any, mode: ControlMode
) -> None:
    count_images(client, "txt2img", [UNIT | {"control_mode": sent}])
    assert get_unit(served).mode is mode


@pytest.mark.parametrize("change", [{"model": "none such"}, {"module": "none such"}, {"model": "None"}])
def test_a_unit_of_what_is_not_there_is_refused(client: httpx.Client, change: dict[str, Any]) -> None:
    scripts = {"ControlNet": {"args": [UNIT | {"image": IMAGE} | change]}}
    answer = client.post("/sdapi/v1/txt2img", json=BODIES["txt2img"] | {"alwayson_scripts": scripts})
    assert answer.status_code == 422
    assert {"error", "detail"} <= set(answer.json())


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"controlnet_input_images": [IMAGE], "controlnet_module": "canny"}, 1),
        ({"controlnet_input_images": [IMAGE, IMAGE], "controlnet_module": "canny"}, 2),
        ({"controlnet_input_images": [IMAGE], "controlnet_module": "none"}, 1),
        (
            {
                "controlnet_input_images": ["data:image/png;base64," + IMAGE],
                "controlnet_module": "canny",
                "controlnet_threshold_a": -1,
                "controlnet_threshold_b": -1,
                "controlnet_processor_res": -1,
                "low_vram": True,
            },
            1,
        ),
    ],
)
def test_maps_are_detected(client: httpx.Client, served: RunningStudio, body: dict[str, Any], count: int) -> None:
    answer = client.post("/controlnet/detect", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["info"], set(found)) == ("Success", {"info", "images", "poses", "tensor"})
    assert len([decode_image(image) for image in found["images"]]) == count
    if body["controlnet_module"] != "none":
        assert served.backend.seen[-1][0].control[0].resolution == 512


@pytest.mark.parametrize(
    "body",
    [
        {"controlnet_module": "INVALID"},
        {"controlnet_module": "INVALID", "controlnet_input_images": [IMAGE]},
        {"controlnet_input_images": []},
        {"controlnet_module": "inpaint_only", "controlnet_input_images": [IMAGE]},
        {"controlnet_module": "canny", "controlnet_input_images": [IMAGE], "controlnet_masks": [IMAGE, IMAGE]},
    ],
)
def test_what_cannot_be_detected_is_422(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/controlnet/detect", json=body)
    assert answer.status_code == 422
    assert "detail" in answer.json()


@pytest.mark.parametrize("aliases", ["true", "false"])
def test_modules_are_listed_with_their_sliders(client: httpx.Client, aliases: str) -> None:
    found = client.get(f"/controlnet/module_list?alias_names={aliases}").json()
    assert {"none", "canny"} <= set(found["module_list"])
    assert set(found["module_list"]) == set(found["module_detail"])
    for detail in found["module_detail"].values():
        assert set(detail) == {"model_free", "sliders"}
        assert all(set(one) == {"name", "value", "min", "max", "step"} for one in detail["sliders"])


def test_control_types_name_their_modules_and_networks(client: httpx.Client) -> None:
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert set(types) == {"All", *CONTROL_TYPES}
    keys = {"module_list", "model_list", "default_option", "default_model"}
    assert all(set(one) == keys for one in types.values())
    assert all(one["default_option"] in one["module_list"] for one in types.values())
    assert types["Canny"]["default_model"] == "edges"


@pytest.mark.parametrize("path", ["version", "settings", "model_list", "model_list?update=true"])
def test_the_extension_tells_of_itself(client: httpx.Client, path: str) -> None:
    told = client.get(f"/controlnet/{path}").json()
    assert told in ({"version": 3}, {"control_net_unit_count": 8}, {"model_list": ["edges"]})
