"""Draw Things, Easy Diffusion, stable-diffusion.cpp and SD.Next: every value is read, or named as not applied. Texts
and files are built after the programs' own sources."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

import pytest
from foreign_images import COMFY, make_image_with_exif, make_png_with_chunks

from studio.core.foreign_samplers import name_sampling
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest, Hires
from studio.core.request_choices import NoiseSource
from studio.core.request_parts import LoraUse
from studio.core.settings import Settings
from studio.engine.metadata.comfyui_graphs import read_graph
from studio.engine.metadata.foreign_words import build_foreign_request
from studio.engine.metadata.image_info import ParsedImageInfo, read_image_info

DRAW_THINGS: dict[str, Any] = {
    "c": "a fox",
    "uc": "blurry",
    "steps": 25,
    "sampler": "DPM++ 2M Karras",
    "scale": 6.5,
    "seed": 7,
    "size": "512x768",
    "model": "foxes_f16.ckpt",
    "strength": 1,
    "seed_mode": "Scale Alike",
    "lora": [{"model": "fur_lora_f16.ckpt", "weight": 0.8}],
    "profile": {"timings": []},
    "v2": {"width": 512, "height": 768, "clipSkip": 2, "hiresFix": True, "controls": [], "refinerModel": None},
}
EASY: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "blurry",
    "seed": 7,
    "num_inference_steps": 25,
    "guidance_scale": 6.5,
    "width": 512,
    "height": 768,
    "use_stable_diffusion_model": "animals/foxes",
    "use_vae_model": "soft",
    "sampler_name": "dpmpp_2m",
    "scheduler_name": "karras",
    "clip_skip": True,
    "use_lora_model": "fur",
    "lora_alpha": 0.8,
    "use_face_correction": "GFPGANv1.4",
    "use_upscale": None,
    "tiling": "None",
    "num_outputs": 1,
    "session_id": "1700000000",
}
EASY_WORDS = {
    "Prompt": "a fox",
    "Negative Prompt": "blurry",
    "Seed": 7,
    "Steps": 25,
    "Guidance Scale": 6.5,
    "Width": 512,
    "Height": 768,
    "Stable Diffusion model": "animals/foxes",
    "VAE model": "soft",
    "Sampler": "dpmpp_2m",
    "Scheduler": "karras",
    "Clip Skip": "True",
    "LoRA model": "['fur']",
    "LoRA Strength": "[0.8]",
    "Use Face Correction": "GFPGANv1.4",
}


def make_xmp(comment: str) -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:exif="http://ns.adobe.com/exif/1.0/"><xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment>'
        f'<rdf:Alt><rdf:li xml:lang="x-default">{escape(comment)}</rdf:li></rdf:Alt></exif:UserComment>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def find(data: bytes) -> ParsedImageInfo:
    return read_image_info(data, Settings())


WANTED = GenerationRequest(
    prompt="a fox",
    negative_prompt="blurry",
    model="foxes",
    seed=7,
    steps=25,
    guidance=6.5,
    sampler="DPM++ 2M",
    schedule="Karras",
    width=512,
    height=768,
    clip_skip=2,
    loras=(LoraUse(name="fur", weight=0.8),),
)


@pytest.mark.parametrize(
    "data",
    [
        make_png_with_chunks(**{"XML:com.adobe.xmp": make_xmp(json.dumps(DRAW_THINGS))}),
        make_image_with_exif("jpeg", {}, json.dumps(DRAW_THINGS)),
    ],
)
def test_draw_things_is_read_whole(data: bytes) -> None:
    info = find(data)
    assert (info.program, info.request) == ("Draw Things", WANTED)
    assert info.passed_over == ("hiresFix", "seed_mode")


def test_draw_things_tells_the_strength_of_an_image_to_image_and_fluxs_guidance() -> None:
    changed = {**DRAW_THINGS, "strength": 0.4, "scale": 1, "sampler": "Euler A Trailing", "lora": None}
    changed["v2"] = {"guidanceEmbed": 3.5}
    request = find(make_image_with_exif("jpeg", {}, json.dumps(changed))).request
    assert request is not None
    assert (request.strength, request.guidance, request.loras) == (0.4, 3.5, ())
    assert request.sampler == "euler a trailing", "not ours, and said to be refused by its name"


@pytest.mark.parametrize(
    "data",
    [
        make_png_with_chunks(**{name: str(value) for name, value in EASY.items()}),
        make_png_with_chunks(**{name: str(value) for name, value in EASY_WORDS.items()}),
        make_image_with_exif("jpeg", {}, json.dumps(EASY)),
        make_image_with_exif("webp", {}, json.dumps(EASY_WORDS)),
    ],
)
def test_easy_diffusion_is_read_whole(data: bytes) -> None:
    info = find(data)
    assert (info.program, info.request) == ("Easy Diffusion", WANTED.replace(vae="soft"))
    assert info.passed_over == ("use_face_correction",)


CPP = (
    "a fox\nNegative prompt: blurry\nSteps: 25, CFG scale: {cfg}, Guidance: 3.5, Eta: 0, Seed: 7, Size: 512x768,"
    " Model: {model}, RNG: cuda, Sampler: {sampler}, {more}Version: stable-diffusion.cpp"
)


@pytest.mark.parametrize("sampler", ["dpm++2m karras", "dpm++2m_karras", "dpmpp_2m karras"])
def test_stable_diffusion_cpp_is_read_whole(sampler: str) -> None:
    more = "VAE: soft.safetensors, Clip skip: 2, "
    text = CPP.format(cfg=6.5, model="foxes.safetensors", sampler=sampler, more=more)
    info = find(make_png_with_chunks(parameters=text))
    wanted = WANTED.replace(vae="soft", loras=(), noise_source=NoiseSource.NV)
    assert (info.program, info.request) == ("stable-diffusion.cpp", wanted)
    assert info.passed_over == ("Eta", "Guidance", "Version")


def test_stable_diffusion_cpp_has_fluxs_guidance_and_model_in_places_of_their_own() -> None:
    text = CPP.format(cfg="1.0", model="", sampler="euler", more="TE: t5xxl.gguf, Unet: flux1-dev-q8_0.gguf, ")
    parsed = parse_infotext(text)
    asked = parsed.request
    assert (asked.guidance, asked.model, asked.sampler) == (3.5, "flux1-dev-q8_0", "Euler")
    assert sorted(parsed.unknown) == ["Eta", "TE", "Version"]


SDNEXT = (
    "a fox\nNegative prompt: blurry\nSteps: 25, Size: 512x768, Sampler: {sampler}, Seed: 7, CFG scale: 6.5,"
    " Clip skip: 2, App: SD.Next, Version: 0c7038e, Pipeline: StableDiffusionPipeline, Operations: txt2img; hires,"
    " Model: foxes, Model hash: 0123456789, VAE: soft, {more}"
)


@pytest.mark.parametrize(
    ("sampler", "more"), [("DPM++ 2M", "Sampler sigma: karras"), ("DPM++ 2M EDM", "Sampler sigma: karras")]
)
def test_sdnext_is_read_whole(sampler: str, more: str) -> None:
    second = "Variation seed: 9, Variation strength: 0.25, Hires upscaler: Lanczos, Hires scale: 1.5, Hires steps: 9,"
    text = SDNEXT.format(sampler=sampler, more=f"{second} Hires strength: 0.4, CFG end: 0.8, {more}")
    info = find(make_png_with_chunks(parameters=text))
    assert (info.program, info.request) == (
        "SD.Next",
        WANTED.replace(
            vae="soft",
            loras=(),
            variation_seed=9,
            variation_strength=0.25,
            hires=Hires(upscaler="Lanczos", scale=1.5, steps=9, strength=0.4),
        ),
    )
    assert set(info.passed_over) == {"App", "Version", "Pipeline", "Operations", "Model hash", "CFG end"}


def test_a_schedule_of_sdnext_that_we_do_not_have_is_named() -> None:
    parsed = parse_infotext(SDNEXT.format(sampler="SA Solver", more="Sampler sigma: lambdas"))
    assert (parsed.request.sampler, parsed.request.schedule) == ("SA-Solver", None)
    assert parsed.unknown["Sampler sigma"] == "lambdas"


@pytest.mark.parametrize(
    ("name", "schedule", "wanted"),
    [
        ("euler_a", None, ("Euler a", None)),
        ("Euler A", None, ("Euler a", None)),
        ("k_euler_ancestral", "karras", ("Euler a", "Karras")),
        ("dpmpp_2m_k", None, ("DPM++ 2M", "Karras")),
        ("DPM++ SDE Karras", None, ("DPM++ SDE", "Karras")),
        ("DPM++ 2M AYS", None, ("DPM++ 2M", "Align Your Steps")),
        ("KDPM2 a", None, ("DPM2 a", None)),
        ("res_multistep", "beta", ("RES multistep", "Beta")),
        ("dpm_adaptive", "beta", ("DPM adaptive", "Beta")),
        ("er_sde", "simple", ("ER SDE", "Simple")),
        ("exp_heun_2_x0_sde", "simple", ("Exp Heun 2 x0 SDE", "Simple")),
        ("euler_ancestral_cfg_pp", "normal", ("Euler a CFG++", "Normal")),
        ("uni_pc_bh2", "karras", ("UniPC bh2", "Karras")),
        ("ddim", "karras", ("Euler", "Karras")),  # ComfyUI runs it so
        ("ddpm", "karras", ("Euler a", "Karras")),
        ("ddim", None, ("DDIM", None)),
        ("DDIM", "karras", ("DDIM", "Karras")),
        ("", None, (None, None)),
        (7, [], ("7", None)),
    ],
)
def test_a_sampler_is_known_by_its_foreign_names(name: Any, schedule: Any, wanted: tuple[Any, Any]) -> None:
    found = name_sampling(name, schedule)
    assert (found.get("Sampler"), found.get("Schedule type")) == wanted


def test_what_a_graph_does_beside_its_first_pass_is_named() -> None:
    second = {**COMFY["3"]["inputs"], "latent_image": ["3", 0], "denoise": 0.5}
    lora = {**COMFY["10"], "inputs": {**COMFY["10"]["inputs"], "strength_clip": 0.25}}
    graph = {**COMFY, "20": {"class_type": "KSampler", "inputs": second}, "10": lora}
    graph["8"] = {"class_type": "VAEDecode", "inputs": {"samples": ["20", 0], "vae": ["4", 2]}}
    values = read_graph(graph)
    assert values is not None
    request, passed_over = build_foreign_request(values)
    assert (request.steps, request.loras) == (25, (LoraUse(name="fur", weight=0.8, encoder_weight=0.25),))
    assert passed_over == ("ControlNet", "second sampler")


@pytest.mark.parametrize(
    "data",
    [
        make_image_with_exif("jpeg", {}, json.dumps({**DRAW_THINGS, "size": "x", "v2": 7, "lora": 3})),
        make_image_with_exif("jpeg", {}, json.dumps({**DRAW_THINGS, "size": None, "v2": {"clipSkip": []}})),
        make_image_with_exif("jpeg", {}, json.dumps({**DRAW_THINGS, "lora": [None, 7, {"model": {}}]})),
        make_image_with_exif("jpeg", {}, json.dumps({**EASY, "width": "wide", "use_lora_model": {}, "seed": []})),
        make_png_with_chunks(**{"XML:com.adobe.xmp": "<!DOCTYPE x>" + make_xmp("{}")}),
        make_png_with_chunks(**{"XML:com.adobe.xmp": make_xmp("[" * 100_000)}),
        make_png_with_chunks(use_stable_diffusion_model="[" * 100_000),
        make_png_with_chunks(parameters="x\nSteps: 1, App: SD.Next, Sampler: , Hires sampler: , Version: "),
    ],
)
def test_hostile_or_broken_values_are_no_error(data: bytes) -> None:
    assert isinstance(find(data), ParsedImageInfo)
