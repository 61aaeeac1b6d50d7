"""What images of other programs tell (see foreign_images), what ours tell, and what hostile ones cannot do."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fakes import draw_fake_image
from foreign_images import (
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
    make_comfy_webp,
    make_fooocus_image,
    make_image_with_exif,
    make_png_with_chunks,
    make_stealth_png,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import BadImage
from studio.core.finish import Upscale
from studio.core.foreign_samplers import SAMPLERS, SCHEDULES
from studio.core.request import GenerationRequest
from studio.core.request_parts import LoraUse
from studio.core.settings import Settings
from studio.core.task import Task
from studio.engine.metadata.embed import EmbeddedMetadata, encode_image
from studio.engine.metadata.foreign_words import build_foreign_request
from studio.engine.metadata.image_info import ParsedImageInfo, read_image_info
from studio.pipelines.run.samplers import DIFFUSION_SAMPLERS, FLOW_SAMPLERS


def found(data: bytes | Path) -> ParsedImageInfo:
    return read_image_info(data, Settings())


FILES = {
    "AUTOMATIC1111 png": make_png_with_chunks(parameters=A1111),
    "AUTOMATIC1111 jpeg": make_image_with_exif("jpeg", {}, A1111),
    "AUTOMATIC1111 webp": make_image_with_exif("webp", {}, A1111),
    "AUTOMATIC1111 avif": make_image_with_exif("avif", {}, A1111),
    "AUTOMATIC1111 stealth": make_stealth_png(A1111, b"stealth_pnginfo"),
    "Forge png": make_png_with_chunks(parameters=FORGE),
    "ComfyUI png": make_png_with_chunks(prompt=json.dumps(COMFY), workflow=json.dumps(WORKFLOW)),
    "ComfyUI api": make_png_with_chunks(prompt=json.dumps(COMFY)),
    "ComfyUI webp": make_comfy_webp(COMFY),
    "ComfyUI comment": make_image_with_exif("avif", {}, json.dumps({"prompt": COMFY, "workflow": WORKFLOW})),
    "InvokeAI png": make_png_with_chunks(invokeai_metadata=json.dumps(INVOKE), invokeai_graph="{}"),
    "NovelAI png": make_png_with_chunks(**NOVEL_CHUNKS),
    "NovelAI stealth": make_stealth_png(json.dumps(NOVEL_CHUNKS)),
    "SwarmUI png": make_png_with_chunks(parameters=json.dumps(SWARM, indent=2)),
    "SwarmUI jpeg": make_image_with_exif("jpeg", {}, json.dumps(SWARM)),
    "Fooocus png": make_png_with_chunks(fooocus_scheme="fooocus", parameters=json.dumps(FOOOCUS)),
    "Fooocus jpeg": make_fooocus_image("jpeg"),
    "Fooocus webp": make_fooocus_image("webp"),
    "Fooocus a1111": make_png_with_chunks(
        fooocus_scheme="a1111", parameters=A1111.replace("v1.10.1", "Fooocus v2.5.5")
    ),
}


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
    asks = found(make_png_with_chunks(prompt=json.dumps(FLUX))).request
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
    asks = found(make_png_with_chunks(Dream='"a fox [blurry]" -s 25 -S 7 -W 512 -H 768 -C 6.5 -A k_dpmpp_2m')).request
    assert asks is not None
    assert (asks.prompt, asks.negative_prompt, asks.seed, asks.sampler) == ("a fox", "blurry", 7, "DPM++ 2M")


def test_every_sampler_and_schedule_that_is_translated_is_one_of_ours() -> None:
    assert set(SAMPLERS.values()) <= set(DIFFUSION_SAMPLERS)
    schedules = {name for names in (*DIFFUSION_SAMPLERS.values(), *FLOW_SAMPLERS.values()) for name in names}
    assert set(SCHEDULES.values()) <= schedules
    assert build_foreign_request({"sampler": "sa_solver_pece"})[0].sampler == "sa_solver_pece"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_ours_comes_back_with_its_history(kind: str) -> None:
    first, second = (
        GenerationRequest(prompt="a fox", seed=3),
        GenerationRequest(task=Task.UPSCALE, upscale=Upscale(scale=2)),
    )
    recipe = {"studio": "Easel 1", "request": second.to_json(), "history": [first.to_json()]}
    info = found(
        encode_image(
            draw_fake_image(1, 64, 48),
            kind,
            quality=90,
            carried=EmbeddedMetadata(infotext=A1111, recipe=recipe, tool="Easel"),
        )
    )
    assert (info.program, info.request, info.history) == ("Easel 1", second, (first,))
    assert info.infotext == A1111
    assert info.format == kind


def test_what_a_camera_or_a_screen_grabber_says_is_no_recipe() -> None:
    info = found(make_image_with_exif("jpeg", {0x010F: "Canon", 0x0110: "EOS R5"}, "Screenshot"))
    assert (info.program, info.request, info.infotext) == ("", None, "Screenshot")
    assert info.raw["Make"] == "Canon"
    assert found(make_png_with_chunks(Software="Adobe ImageReady", Comment="{}")).program == ""


_DEEP = "[" * 100_000
_CHAIN = {
    str(number): {
        "class_type": "KSampler",
        "inputs": {
            "steps": 1,
            "cfg": 1,
            "sampler_name": "euler",
            "model": [str(number + 1), 0],
            "positive": [str(number + 1), 0],
            "negative": [str(number + 1), 0],
        },
    }
    for number in range(5_000)
}
_WIDE = {
    str(number): {"class_type": "Mix", "inputs": {f"in{other}": [str(other), 0] for other in range(0, 400, 7)}}
    for number in range(400)
} | {
    "k": COMFY["3"] | {"inputs": COMFY["3"]["inputs"] | {"positive": ["0", 0], "negative": ["1", 0], "model": ["2", 0]}}
}


@pytest.mark.parametrize(
    "data",
    [
        make_png_with_chunks(),
        make_png_with_chunks(prompt="{not json"),
        make_png_with_chunks(prompt=_DEEP),
        make_png_with_chunks(prompt='{"a": {"class_type": ' + _DEEP),
        make_png_with_chunks(parameters='{"sui_image_params": 7}'),
        make_png_with_chunks(parameters='{"sui_image_params": {"seed": [], "loras": 7}}'),
        make_png_with_chunks(parameters='{"base_model": ' + _DEEP),
        make_png_with_chunks(parameters='{"base_model": {}, "loras": 1}'),
        make_png_with_chunks(parameters="a" * 1_000_000),
        make_png_with_chunks(parameters=" " * 1_000_000),
        make_png_with_chunks(Dream='"x" ' + " " * 500_000),
        make_png_with_chunks(Dream="[" * 500_000),
        make_png_with_chunks(
            prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["1", 0]}}})
        ),
        make_png_with_chunks(prompt=json.dumps(_CHAIN)),
        make_png_with_chunks(prompt=json.dumps(_WIDE)),
        make_png_with_chunks(Comment="null", Software="NovelAI", Description="", Source=""),
        make_png_with_chunks(
            Comment=json.dumps({"sampler": _DEEP[:50]}), Software="NovelAI", Description="", Source=""
        ),
        make_png_with_chunks(invokeai_metadata="7"),
        make_png_with_chunks(invokeai_metadata='{"scheduler": 1, "model": 3, "loras": [4]}'),
        make_png_with_chunks(easel="{}"),
        make_png_with_chunks(easel='{"request": {"nonsense": 1}}'),
        make_stealth_png("x" * 50_000_000),
        make_stealth_png("{}", length=2**32 - 1),
        make_stealth_png("{}", b"stealth_pngxxxx"),
        make_stealth_png(json.dumps({"Comment": _DEEP[:900]})),
        make_image_with_exif("jpeg", {0x0110: "prompt:" + _DEEP[:60_000]}),
    ],
)
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
    request, passed_over = build_foreign_request(values)
    assert (request.seed, request.steps, len(request.prompt)) == (None, None, 20_000)
    assert {"odd", "Seed", "Steps"} <= set(passed_over)
    assert request.loras == (LoraUse(name="a", weight=10.0),)


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
        make_png_with_chunks(parameters=text),
        make_png_with_chunks(invokeai_metadata=text),
        make_png_with_chunks(prompt=graph),
        make_png_with_chunks(**{**NOVEL_CHUNKS, "Comment": text}),
        make_png_with_chunks(parameters=json.dumps({"sui_image_params": values})),
    ):
        assert found(file).width == 64


def test_what_has_no_metadata_tells_its_size_and_what_is_no_image_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    draw_fake_image(1, 64, 48).save(out, "GIF")
    assert (found(out.getvalue()).width, found(out.getvalue()).program) == (64, "")
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(BadImage):
        found(text)
    path = tmp_path / "picture.png"
    path.write_bytes(FILES["ComfyUI png"])
    assert found(path).bytes == len(FILES["ComfyUI png"])


def test_threads_do_not_mix_images_up() -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [make_image_with_exif("jpeg", {}, A1111.replace("Seed: 7", f"Seed: {seed}")) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        seeds = [info.request.seed for info in pool.map(found, files) if info.request]
    assert seeds == list(range(20))


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        (
            {"positive_prompt": "a fox", "negative_prompt": None, "seed": 7, "steps": 25, "scheduler": "euler"},
            ("a fox", "", 7, 25, None, "Euler"),
        ),
        (
            {
                "positive_prompt": "a fox",
                "seed": 7,
                "steps": 4,
                "guidance": 3.5,
                "cfg_scale": 1.0,
                "model": {"name": "f"},
            },
            ("a fox", "", 7, 4, 3.5, None),
        ),
        ({"positive_prompt": "a fox", "guidance": 4, "cfg_scale": None}, ("a fox", "", None, None, 4.0, None)),
        (
            {
                "positive_prompt": "a fox",
                "cfg_scale": 6,
                "guidance": 3.5,
                "loras": None,
                "vae": None,
                "clip_skip": None,
            },
            ("a fox", "", None, None, 6.0, None),
        ),
        ({"seed": 7, "loras": [None, {"model": None}]}, ("", "", 7, None, None, None)),
    ],
)
def test_invokeai_files_with_fields_that_are_null_or_missing_are_read(
    metadata: dict[str, object], wanted: tuple[object, ...]
) -> None:
    asks = found(make_png_with_chunks(invokeai_metadata=json.dumps(metadata))).request
    assert asks is not None
    assert (asks.prompt, asks.negative_prompt, asks.seed, asks.steps, asks.guidance, asks.sampler) == wanted
