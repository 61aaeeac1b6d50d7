"""What pictures of other programs tell (see foreign_pictures), what ours tell, and what hostile ones cannot do."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fakes import draw
from foreign_pictures import (
    A1111,
    COMFY,
    FLUX,
    FOOOCUS,
    FORGE,
    INVOKE,
    NOVEL,
    NOVEL_CHUNKS,
    SWARM,
    WORKFLOW,
    comfy_webp,
    fooocus_exif,
    png,
    stealth,
    with_exif,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import BadImage
from studio.core.finish import Upscale
from studio.core.request import GenerationRequest
from studio.core.request_parts import LoraUse
from studio.core.settings import Settings
from studio.core.task import Task
from studio.engine.metadata.embed import Carried, encode
from studio.engine.metadata.foreign_words import _SAMPLERS, _SCHEDULES, asked
from studio.engine.metadata.image_info import PictureInfo, picture_info
from studio.pipelines.run.samplers import DIFFUSION


def found(data: bytes | Path) -> PictureInfo:
    return picture_info(data, Settings())


FILES = {
    "AUTOMATIC1111 png": png(parameters=A1111),
    "AUTOMATIC1111 jpeg": with_exif("jpeg", {}, A1111),
    "AUTOMATIC1111 webp": with_exif("webp", {}, A1111),
    "AUTOMATIC1111 avif": with_exif("avif", {}, A1111),
    "AUTOMATIC1111 stealth": stealth(A1111, b"stealth_pnginfo"),
    "Forge png": png(parameters=FORGE),
    "ComfyUI png": png(prompt=json.dumps(COMFY), workflow=json.dumps(WORKFLOW)),
    "ComfyUI api": png(prompt=json.dumps(COMFY)),
    "ComfyUI webp": comfy_webp(COMFY),
    "ComfyUI comment": with_exif("avif", {}, json.dumps({"prompt": COMFY, "workflow": WORKFLOW})),
    "InvokeAI png": png(invokeai_metadata=json.dumps(INVOKE), invokeai_graph="{}"),
    "NovelAI png": png(**NOVEL_CHUNKS),
    "NovelAI stealth": stealth(json.dumps(NOVEL_CHUNKS)),
    "SwarmUI png": png(parameters=json.dumps(SWARM, indent=2)),
    "SwarmUI jpeg": with_exif("jpeg", {}, json.dumps(SWARM)),
    "Fooocus png": png(fooocus_scheme="fooocus", parameters=json.dumps(FOOOCUS)),
    "Fooocus jpeg": fooocus_exif("jpeg"),
    "Fooocus webp": fooocus_exif("webp"),
    "Fooocus a1111": png(fooocus_scheme="a1111", parameters=A1111.replace("v1.10.1", "Fooocus v2.5.5")),
}  # fmt: skip


@pytest.mark.parametrize("file", list(FILES))
def test_other_programs_settings_come_over(file: str) -> None:
    program = file.split()[0]
    info = found(FILES[file])
    assert info.program == program
    asks = info.request
    assert asks is not None
    assert (asks.prompt.split(",")[0], asks.negative_prompt) == ("a fox", "blurry")
    assert (asks.seed, asks.steps, asks.guidance) == (7, 25, 6.5)
    assert (asks.width, asks.height) == (512, 768)
    assert (asks.sampler, asks.schedule) == ("DPM++ 2M", "Karras")
    assert asks.model == ("NovelAI Diffusion V4" if program == "NovelAI" else "foxes")
    if program in ("ComfyUI", "InvokeAI", "SwarmUI") or file in ("Fooocus png", "Fooocus jpeg", "Fooocus webp"):
        assert asks.loras == (LoraUse(name="fur", weight=0.8),)
        assert asks.vae is None
    if program == "InvokeAI":
        assert asks.clip_skip == 2
    assert info.raw
    assert info.format == {"jpeg": "jpeg", "webp": "webp", "avif": "avif", "comment": "avif"}.get(
        file.split()[1], "png"
    )


def test_a_graph_with_its_sampler_in_parts_is_read() -> None:
    asks = found(png(prompt=json.dumps(FLUX))).request
    assert asks is not None
    assert (asks.prompt, asks.seed, asks.steps, asks.guidance) == ("a fox", 7, 20, 3.5)
    assert (asks.sampler, asks.schedule, asks.model, asks.width, asks.height) == (
        "Euler",
        "Simple",
        "flux1-dev",
        1024,
        768,
    )


def test_older_invokeai_files_are_read() -> None:
    asks = found(png(Dream='"a fox [blurry]" -s 25 -S 7 -W 512 -H 768 -C 6.5 -A k_dpmpp_2m')).request
    assert asks is not None
    assert (asks.prompt, asks.negative_prompt, asks.seed, asks.sampler) == ("a fox", "blurry", 7, "DPM++ 2M")


def test_every_sampler_and_schedule_that_is_translated_is_one_of_ours() -> None:
    assert set(_SAMPLERS.values()) <= set(DIFFUSION)
    schedules = {name for names in DIFFUSION.values() for name in names}
    assert set(_SCHEDULES.values()) - schedules <= {"Polyexponential", "KL Optimal"}
    assert asked({"sampler": "res_multistep"})[0].sampler == "res_multistep"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_ours_comes_back_with_its_history(kind: str) -> None:
    first, second = (
        GenerationRequest(prompt="a fox", seed=3),
        GenerationRequest(task=Task.UPSCALE, upscale=Upscale(scale=2)),
    )
    recipe = {"studio": "Easel 1", "request": second.to_json(), "history": [first.to_json()]}
    info = found(
        encode(draw(1, 64, 48), kind, quality=90, carried=Carried(infotext=A1111, recipe=recipe, tool="Easel"))
    )
    assert (info.program, info.request, info.history) == ("Easel 1", second, (first,))
    assert info.infotext == A1111
    assert info.format == kind


def test_what_a_camera_or_a_screen_grabber_says_is_no_recipe() -> None:
    info = found(with_exif("jpeg", {0x010F: "Canon", 0x0110: "EOS R5"}, "Screenshot"))
    assert (info.program, info.request, info.infotext) == ("", None, "Screenshot")
    assert info.raw["Make"] == "Canon"
    assert found(png(Software="Adobe ImageReady", Comment="{}")).program == ""


_DEEP = "[" * 100_000
_CHAIN = {
    str(number): {"class_type": "KSampler", "inputs": {"steps": 1, "cfg": 1, "sampler_name": "euler", "model": [str(number + 1), 0],
                  "positive": [str(number + 1), 0], "negative": [str(number + 1), 0]}}
    for number in range(5_000)
}  # fmt: skip
_WIDE = {
    str(number): {"class_type": "Mix", "inputs": {f"in{other}": [str(other), 0] for other in range(0, 400, 7)}} for number in range(400)
} | {"k": COMFY["3"] | {"inputs": COMFY["3"]["inputs"] | {"positive": ["0", 0], "negative": ["1", 0], "model": ["2", 0]}}}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        png(), png(prompt="{not json"), png(prompt=_DEEP), png(prompt='{"a": {"class_type": ' + _DEEP),
        png(parameters='{"sui_image_params": 7}'), png(parameters='{"sui_image_params": {"seed": [], "loras": 7}}'),
        png(parameters='{"base_model": ' + _DEEP), png(parameters='{"base_model": {}, "loras": 1}'), png(parameters="a" * 1_000_000),
        png(parameters=" " * 1_000_000), png(Dream='"x" ' + " " * 500_000), png(Dream="[" * 500_000),
        png(prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["1", 0]}}})),
        png(prompt=json.dumps(_CHAIN)), png(prompt=json.dumps(_WIDE)), png(Comment="null", Software="NovelAI", Description="", Source=""),
        png(Comment=json.dumps({"sampler": _DEEP[:50]}), Software="NovelAI", Description="", Source=""), png(invokeai_metadata="7"),
        png(invokeai_metadata='{"scheduler": 1, "model": 3, "loras": [4]}'), png(easel="{}"), png(easel='{"request": {"nonsense": 1}}'),
        stealth("x" * 50_000_000), stealth("{}", length=2**32 - 1), stealth("{}", b"stealth_pngxxxx"), stealth(json.dumps({"Comment": _DEEP[:900]})),
        with_exif("jpeg", {0x0110: "prompt:" + _DEEP[:60_000]}),
    ],
)  # fmt: skip
def test_broken_and_hostile_metadata_is_nothing_found(data: bytes) -> None:
    info = found(data)
    assert info.request is None or not info.request.prompt
    assert info.width >= 64
    assert sum(map(len, info.raw.values())) <= 60 * 20_000


def test_values_out_of_range_are_passed_over_and_names_are_cut() -> None:
    values = {
        "seed": -5,
        "steps": 10**9,
        "cfg_scale": "nan",
        "prompt": "p" * 50_000,
        "model": "../" * 500,
        "loras": [("a", 1e9), (1,), 7],
        "odd": 1,
    }
    request, passed_over = asked(values)
    assert (request.seed, request.steps, len(request.prompt)) == (None, None, 20_000)
    assert {"odd", "Seed", "Steps"} <= set(passed_over)
    assert request.loras == (LoraUse(name="a", weight=4.0),)


_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_tree = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(base=st.sampled_from([COMFY["3"]["inputs"], INVOKE, NOVEL, FOOOCUS, SWARM["sui_image_params"]]), data=st.data())
def test_no_value_of_a_wrong_kind_breaks_anything(base: dict[str, object], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(base)), max_size=4))
    values = {**base, **{name: data.draw(_tree) for name in names}}
    text = json.dumps(values)
    graph = json.dumps({**COMFY, "3": {"class_type": "KSampler", "inputs": values}})
    for file in (
        png(parameters=text), png(invokeai_metadata=text), png(prompt=graph), png(**{**NOVEL_CHUNKS, "Comment": text}),
        png(parameters=json.dumps({"sui_image_params": values})),
    ):  # fmt: skip
        assert found(file).width == 64


def test_what_has_no_metadata_tells_its_size_and_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    draw(1, 64, 48).save(out, "GIF")
    assert (found(out.getvalue()).width, found(out.getvalue()).program) == (64, "")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(BadImage):
        found(text)
    path = tmp_path / "picture.png"
    path.write_bytes(FILES["ComfyUI png"])
    assert found(path).bytes == len(FILES["ComfyUI png"])


def test_threads_do_not_mix_pictures_up() -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [with_exif("jpeg", {}, A1111.replace("Seed: 7", f"Seed: {seed}")) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        seeds = [info.request.seed for info in pool.map(found, files) if info.request]
    assert seeds == list(range(20))
