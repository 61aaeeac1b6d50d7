"""What pictures of other programs tell: files written the way those programs write them, by hand, for none of them runs here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fakes import draw
from PIL import Image, PngImagePlugin

from studio.core.errors import BadImage
from studio.core.finish import Upscale
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.task import Task
from studio.engine.embed import Carried, encode
from studio.engine.picture_info import PictureInfo, picture_info

A1111 = (
    "a fox, <lora:fur:0.8>\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 7, Size: 512x768,"
    " Model hash: abc, Model: foxes, Version: v1.10.1"
)
COMFY = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
          "denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "foxes.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}  # fmt: skip
INVOKE = {
    "generation_mode": "txt2img", "positive_prompt": "a fox", "negative_prompt": "blurry", "width": 512, "height": 768, "seed": 7,
    "cfg_scale": 6.5, "steps": 25, "scheduler": "dpmpp_2m_k", "model": {"model_name": "foxes", "base_model": "sd-1"}, "app_version": "4.2.0",
}  # fmt: skip
NOVEL = {
    "prompt": "a fox", "uc": "blurry", "steps": 25, "height": 768, "width": 512, "scale": 6.5, "seed": 7, "sampler": "k_euler_ancestral",
}  # fmt: skip
SWARM = {
    "sui_image_params": {
        "prompt": "a fox", "negativeprompt": "blurry", "model": "OfficialStableDiffusion/foxes.safetensors", "seed": 7, "steps": 25,
        "cfgscale": 6.5, "width": 512, "height": 768, "sampler": "dpmpp_2m", "scheduler": "karras", "swarm_version": "0.9.2",
    }
}  # fmt: skip


def png(**chunks: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, value in chunks.items():
        info.add_text(name, value)
    out = io.BytesIO()
    draw(1, 64, 48).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def found(data: bytes | Path) -> PictureInfo:
    return picture_info(data, Settings())


FILES = {
    "AUTOMATIC1111": png(parameters=A1111),
    "Forge": png(parameters=A1111.replace("v1.10.1", "f2.0.1v1.10.1-forge")),
    "ComfyUI": png(prompt=json.dumps(COMFY), workflow=json.dumps({"last_node_id": 9, "nodes": [], "links": [], "version": 0.4})),
    "InvokeAI": png(invokeai_metadata=json.dumps(INVOKE)),
    "NovelAI": png(
        Title="NovelAI generated image", Description="a fox", Software="NovelAI", Source="Stable Diffusion F64A", Comment=json.dumps(NOVEL),
    ),
    "SwarmUI": png(parameters=json.dumps(SWARM)),
}  # fmt: skip


@pytest.mark.parametrize("program", list(FILES))
def test_other_programs_settings_come_over(program: str) -> None:
    info = found(FILES[program])
    assert info.program == program
    assert info.request is not None
    assert info.request.prompt.startswith("a fox")
    assert info.request.negative_prompt == "blurry"
    assert (info.request.seed, info.request.steps, info.request.guidance) == (7, 25, 6.5)
    if program not in ("NovelAI", "InvokeAI"):
        assert (info.request.sampler, info.request.schedule, info.request.model) == ("DPM++ 2M", "Karras", "foxes")
    assert (info.width, info.height, info.format) == (64, 48, "png")


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


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_automatic1111_writes_into_the_exif_of_other_kinds(kind: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    out = io.BytesIO()
    draw(1, 64, 48).save(out, kind, exif=exif)
    info = found(out.getvalue())
    assert (info.program, info.request and info.request.seed) == ("AUTOMATIC1111", 7)


def test_fooocus_writes_its_own_json() -> None:
    parameters = {
        "prompt": "a fox", "negative_prompt": "blurry", "seed": "7", "steps": 25, "guidance_scale": 6.5, "sampler": "dpmpp_2m",
        "scheduler": "karras", "base_model": "foxes", "base_model_hash": "abc", "resolution": "(512, 768)", "version": "Fooocus v2.5.5",
    }  # fmt: skip
    info = found(png(fooocus_scheme="fooocus", parameters=json.dumps(parameters)))
    assert info.program == "Fooocus"
    assert info.request is not None
    assert info.request.prompt == "a fox"


@pytest.mark.parametrize(
    "data",
    [
        png(), png(prompt="{not json"), png(prompt="[" * 100_000), png(parameters='{"sui_image_params": 7}'),
        png(prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["1", 0]}}})),
        png(Comment="null", Software="NovelAI"), png(invokeai_metadata="7"), png(easel="{}"), png(easel='{"request": {"nonsense": 1}}'),
    ],
)  # fmt: skip
def test_broken_and_hostile_metadata_is_nothing_found(data: bytes) -> None:
    info = found(data)
    assert info.request is None or info.request == GenerationRequest() or not info.request.prompt
    assert info.width == 64


def test_what_has_no_metadata_tells_its_size_and_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    draw(1, 64, 48).save(out, "GIF")
    assert (found(out.getvalue()).width, found(out.getvalue()).program) == (64, "")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(BadImage):
        found(text)
