"""Infotext: ours read back, and what other people's images carry."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.detailer import Detailer
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.lora_tags import split_tags
from studio.core.model import Feature, Model, Sampling
from studio.core.request import GenerationRequest, Hires, LoraUse
from studio.core.request_choices import NoiseSource

MODEL = Model(
    id="photo/model: one, two", title="One", family="sd15", sampling=Sampling(steps=25, guidance=6.5, sampler="Euler a")
)

A1111 = """photo of a (red:1.2) fox, sitting
second line, with a colon: here
Negative prompt: blurry, (worst quality:1.4),
lowres
Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 4294967295, Size: 512x768, Model hash: \
6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: vae-ft-mse-840000.safetensors, Variation seed: \
12, Variation seed strength: 0.3, Denoising strength: 0.45, Clip skip: 2, Hires Module 1: Use same choices, Hires \
prompt: "a fox, \\"sharp\\"", Hires upscale: 1.5, Hires steps: 12, Hires upscaler: R-ESRGAN 4x+, Hires sampler: \
Euler a, Hires schedule type: Beta, Hires CFG Scale: 5, Hires checkpoint: other model, Lora hashes: "detail: \
0123abcd, style: 89ef", Version: v1.10.1"""

OLD = """1girl, <lora:detail:0.7>
Negative prompt: bad hands
Steps: 20, Sampler: DPM++ 2M SDE Karras, CFG scale: 7, Seed: 1, Size: 640x512, Model: x, Denoising strength: 0.7, \
Hires resize: 1280x1024, Hires steps: 0, Hires upscaler: Latent (nearest-exact)"""

FORGE_FLUX = """a lighthouse
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 7, Size: 896x1152, \
Model: flux1-dev, Diffusion in Low Bits: Automatic, Module 1: ae, Version: f2.0.1v1.10.1"""

TEMPLATED = """a cat
Steps: 12, Sampler: Heun, CFG scale: 4, Seed: 5, Size: 512x512, Model: m
Template: "a {cat|dog}, nice"
Negative Template: none"""


def test_every_known_key_of_a1111_is_read() -> None:
    parsed = parse_infotext(A1111)
    assert parsed.request == GenerationRequest(
        prompt="photo of a (red:1.2) fox, sitting\nsecond line, with a colon: here",
        negative_prompt="blurry, (worst quality:1.4),\nlowres",
        model="v1-5-pruned-emaonly",
        width=512,
        height=768,
        seed=4294967295,
        variation_seed=12,
        variation_strength=0.3,
        noise_source=NoiseSource.NV,
        steps=30,
        guidance=7.5,
        sampler="DPM++ 2M",
        schedule="Karras",
        clip_skip=2,
        vae="vae-ft-mse-840000.safetensors",
        hires=Hires(
            upscaler="R-ESRGAN 4x+",
            scale=1.5,
            steps=12,
            strength=0.45,
            guidance=5,
            prompt='a fox, "sharp"',
            sampler="Euler a",
            schedule="Beta",
            model="other model",
        ),
    )
    assert parsed.unknown == {
        "Model hash": "6ce0161689",
        "VAE hash": "735e4c3a44",
        "Hires Module 1": "Use same choices",
        "Lora hashes": "detail: 0123abcd, style: 89ef",
        "Version": "v1.10.1",
    }


def test_a_schedule_inside_the_sampler_name_is_taken_out() -> None:
    request = parse_infotext(OLD).request
    assert (request.sampler, request.schedule) == ("DPM++ 2M SDE", "Karras")
    assert request.hires == Hires(upscaler="Latent (nearest-exact)", width=1280, height=1024)
    assert request.prompt == "1girl, <lora:detail:0.7>"


def test_forge_keeps_the_guidance_of_flux_elsewhere() -> None:
    request = parse_infotext(FORGE_FLUX).request
    assert (request.guidance, request.sampler, request.schedule, request.hires) == (3.5, "Euler", "Simple", None)


def test_lines_below_the_pairs_belong_to_them() -> None:
    parsed = parse_infotext(TEMPLATED)
    assert (parsed.request.prompt, parsed.request.model) == ("a cat", "m")
    assert (parsed.request.template, parsed.request.negative_template) == ("a {cat|dog}, nice", "none")
    assert not parsed.unknown


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("", "", ""),
        ("just words: with, colons: in it", "just words: with, colons: in it", ""),
        ("Negative prompt: bad", "", "bad"),
        ("good\r\nNegative prompt: bad\r\nSteps: 5, Sampler: Euler, Seed: 3", "good", "bad"),
    ],
)
def test_texts_with_little_in_them(text: str, prompt: str, negative: str) -> None:
    request = parse_infotext(text).request
    assert (request.prompt, request.negative_prompt) == (prompt, negative)


def test_what_does_not_fit_is_handed_back_and_harms_nothing() -> None:
    parsed = parse_infotext(
        "x\nSteps: 0, Sampler: Euler, CFG scale: nan, Seed: -1, Size: 4x4, Clip skip: x, Denoising strength: 1.5"
    )
    assert parsed.request == GenerationRequest(prompt="x", sampler="Euler")
    assert set(parsed.unknown) == {"Steps", "CFG scale", "Seed", "Size", "Clip skip", "Denoising strength"}


def test_ours_is_written_as_a1111_writes() -> None:
    request = GenerationRequest(
        prompt="a fox",
        negative_prompt="bad",
        steps=20,
        guidance=7.0,
        loras=(LoraUse(name="fur", weight=0.8),),
        clip_skip=2,
        hires=Hires(scale=2, upscaler="Latent", strength=0.5),
    )
    model = Model(id="tiny", title="Tiny", family="sd15")
    assert (
        format_infotext(request, model=model, width=512, height=640, seed=9, model_hash="abc", version="easel 0.1")
        == "a fox <lora:fur:0.8>\nNegative prompt: bad\nSteps: 20, Sampler: Euler, Schedule type: Automatic, CFG scale:"
        " 7, Seed: 9, Size: 512x640, Model hash: abc, Model: tiny, Denoising strength: 0.5, Clip skip: 2, Hires"
        " upscale: 2, Hires upscaler: Latent, RNG: CPU, Version: easel 0.1"
    )


def test_what_a_model_does_not_have_is_not_written() -> None:
    model = Model(id="cloud", title="Cloud", family="cloud", features=frozenset({Feature.SEED}))
    assert (
        format_infotext(GenerationRequest(prompt="x"), model=model, width=64, height=64, seed=1)
        == "x\nSeed: 1, Size: 64x64, Model: cloud"
    )


_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30)
_NAMES = _WORDS.map(str.strip).filter(bool).filter(lambda name: not any(char in name for char in "<>"))
_PROMPTS = (
    st.lists(_WORDS, max_size=3)
    .map("\n".join)
    .map(str.strip)
    .filter(
        lambda text: "<lora:" not in text.lower() and "<lyco:" not in text.lower() and "Negative prompt:" not in text
    )
)
_SAMPLERS = st.sampled_from(["Euler", "Euler a", "DPM++ 2M SDE", "DDIM", "UniPC"])
_SCHEDULES = st.sampled_from(["Automatic", "Karras", "SGM Uniform", "Beta"])


def _floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


_HIRES = st.builds(
    Hires,
    upscaler=_NAMES,
    scale=_floats(1, 8),
    steps=st.none() | st.integers(1, 99),
    strength=_floats(0, 1),
    guidance=st.none() | _floats(0.1, 30),
    prompt=_PROMPTS,
    negative_prompt=_PROMPTS,
    sampler=st.none() | _SAMPLERS,
    schedule=st.none() | _SCHEDULES,
    model=st.none() | _NAMES.filter(lambda name: not name.startswith("Use same")),
) | st.builds(Hires, width=st.integers(8, 4096), height=st.integers(8, 4096))
_REQUESTS = st.builds(
    GenerationRequest,
    prompt=_PROMPTS,
    negative_prompt=_PROMPTS,
    prompt_weight=_floats(-4, 4),
    negative_weight=_floats(-4, 4),
    variation_seed=st.none() | st.integers(0, 2**32 - 1),
    variation_strength=_floats(0, 1),
    steps=st.integers(1, 1000),
    guidance=_floats(0, 100),
    sampler=_SAMPLERS,
    schedule=_SCHEDULES,
    clip_skip=st.none() | st.integers(2, 24),
    vae=st.none() | _NAMES,
    hires=st.none() | _HIRES,
)


@settings(deadline=None)
@given(request=_REQUESTS, seed=st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_back(request: GenerationRequest, seed: int) -> None:
    text = format_infotext(request, model=MODEL, width=640, height=512, seed=seed, model_hash="aa", version="v")
    varied = request.variation_strength > 0
    expected = request.replace(
        model=MODEL.id, width=640, height=512, seed=seed, variation_seed=request.variation_seed if varied else None
    )
    assert parse_infotext(text).request == expected
    assert parse_infotext(text).unknown == {"Model hash": "aa", "Version": "v"}


@given(
    uses=st.lists(
        st.builds(
            LoraUse,
            name=_NAMES.filter(lambda name: ":" not in name),
            weight=_floats(-10, 5),
            encoder_weight=st.none() | _floats(6, 10),
        ),
        max_size=4,
        unique_by=lambda use: use.name,
    )
)
def test_loras_come_back_as_tags(uses: list[LoraUse]) -> None:
    text = format_infotext(GenerationRequest(prompt="x", loras=tuple(uses)), model=MODEL, width=64, height=64, seed=1)
    assert split_tags(parse_infotext(text).request.prompt)[1] == tuple(uses)


@settings(deadline=None)
@given(text=st.text() | st.text(alphabet=st.sampled_from('Steps:Size, "\\\n12xNegative promptHires'), max_size=200))
def test_no_text_is_refused(text: str) -> None:
    parse_infotext(text)


def test_the_first_of_two_pairs_with_one_key_holds_and_the_other_is_named() -> None:
    parsed = parse_infotext("a pear\nSteps: 20, Sampler: Euler, Seed: 7, Size: 64x64, Steps: 99, Seed: 7")
    assert (parsed.request.steps, parsed.request.seed) == (20, 7)
    assert parsed.unknown == {"Steps (again)": "99"}


@pytest.mark.parametrize(
    ("more", "source"),
    [
        ("Model hash: 6ce0161689, Model: m, Version: v1.10.1", NoiseSource.NV),
        ("Model: m, Version: f2.0.1v1.10.1-previous-659-gc055f2d4", NoiseSource.NV),
        ("Model: m, Version: neo", NoiseSource.NV),
        ("Model hash: 6ce0161689, Model: m", NoiseSource.NV),
        ("Model: m, RNG: NV, Version: v1.10.1", NoiseSource.NV),
        ("Model: m, RNG: CPU, Version: v1.10.1", NoiseSource.CPU),
        ("Model: m, Version: easel 0.1", NoiseSource.CPU),
        ("Model: m, RNG: ComfyUI, Version: easel 0.1", NoiseSource.COMFYUI),
        ("Model hash: 6ce0161689, Model: m, App: SD.Next, Version: 0c7038e", NoiseSource.CPU),
        ("Model hash: 6ce0161689, Model: m, Civitai resources: []", NoiseSource.CPU),
    ],
)
def test_the_program_that_wrote_a_text_tells_what_drew_its_noise(more: str, source: NoiseSource) -> None:
    parsed = parse_infotext(f"a cat\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 64x64, {more}")
    assert parsed.request.noise_source is source
    assert "RNG" not in parsed.unknown


def test_a_prompt_alone_says_nothing_of_its_noise() -> None:
    assert parse_infotext("a cat").request.noise_source is NoiseSource.CPU


def test_the_seed_of_later_noise_and_the_size_that_a_seed_belongs_to_are_read_and_written() -> None:
    text = "a\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 64x96, Seed resize from: 512x768, ENSD: 31337, RNG: NV"
    asked = parse_infotext(text).request
    assert (asked.noise_seed_delta, asked.seed_resize) == (31337, "512x768")
    written = format_infotext(asked, model=MODEL, width=64, height=96, seed=5)
    assert parse_infotext(written).request.replace(schedule=None, guidance=None, model="") == asked
    assert {"ENSD: 31337", "Seed resize from: 512x768", "RNG: NV"} <= set(written.splitlines()[-1].split(", "))


def test_a_seed_resize_that_old_versions_wrote_for_none_is_none() -> None:
    parsed = parse_infotext("a\nSteps: 20, Sampler: Euler, Seed: 5, Size: 64x64, Seed resize from: -1x-1")
    assert (parsed.request.seed_resize, parsed.unknown) == ("", {})


def test_the_noise_of_local_models_is_named_and_nothing_of_it_is_left_over() -> None:
    """Without "RNG: CPU" AUTOMATIC1111 draws the noise on its GPU and gets another image."""
    asked = {"width": 64, "height": 64, "seed": 7}
    text = format_infotext(GenerationRequest(prompt="a"), model=MODEL, **asked)
    assert text.endswith(", RNG: CPU")
    assert parse_infotext(text).unknown == {}
    assert parse_infotext(text.replace("RNG: CPU", "RNG: dice")).unknown == {"RNG": "dice"}
    cloud = dataclasses.replace(MODEL, lane="vendor")
    assert "RNG" not in format_infotext(GenerationRequest(prompt="a"), model=cloud, **asked)


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a cat, Steps: 20, Sampler: Euler, Seed: 5", "a cat", ""),
        ("a cat. Steps: 20, Sampler: Euler, Seed: 5", "a cat", ""),
        ("a cat Negative prompt: a dog Steps: 20, Sampler: Euler, Seed: 5", "a cat", "a dog"),
        ("a cat\nNegative prompt: a dog, Steps: 20, Sampler: Euler, Seed: 5", "a cat", "a dog"),
    ],
)
def test_a_prompt_in_the_line_of_the_pairs_is_kept(text: str, prompt: str, negative: str) -> None:
    request = parse_infotext(text).request
    assert (request.prompt, request.negative_prompt) == (prompt, negative)
    assert (request.steps, request.sampler, request.seed) == (20, "Euler", 5)


def test_detailers_are_written_as_adetailer_does_and_read_back() -> None:
    own = Detailer(
        target="a red hat",
        prompt="felt, wool [SEP] straw",
        strength=0.3,
        count=2,
        width=512,
        height=640,
        steps=9,
        guidance=3.5,
        sampler="Euler",
        schedule="Karras",
        model="other",
    )
    asked = GenerationRequest(prompt="a", detailers=(Detailer(), own, Detailer(target="hands")))
    text = format_infotext(asked, model=MODEL, width=64, height=64, seed=7)
    assert "ADetailer model: face_yolov8n.pt, ADetailer denoising strength: 0.4" in text
    assert "ADetailer model classes 2nd: a red hat" in text
    assert "ADetailer model 3rd: hand_yolov8n.pt" in text
    parsed = parse_infotext(text)
    assert (parsed.request.detailers, parsed.unknown) == (asked.detailers, {})


def test_what_adetailer_wrote_is_read_and_what_has_no_place_is_named() -> None:
    text = (
        "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 512x512, Model: m,"
        ' ADetailer model: mediapipe_face_full, ADetailer prompt: "a face, smiling", ADetailer confidence: 0.3,'
        " ADetailer dilate erode: 8, ADetailer mask blur: 6, ADetailer denoising strength: 0.45,"
        " ADetailer inpaint only masked: True, ADetailer inpaint padding: 40, ADetailer use separate sampler: True,"
        " ADetailer sampler: DPM++ 2M SDE Karras, ADetailer steps: 30, ADetailer mask min ratio: 0.1,"
        " ADetailer model 2nd: no_such_detector.pt, ADetailer confidence 2nd: 0.3, ADetailer version: 24.11.0"
    )
    parsed = parse_infotext(text)
    (found,) = parsed.request.detailers
    assert found == Detailer(
        prompt="a face, smiling",
        confidence=0.3,
        grow=8,
        mask_blur=6,
        strength=0.45,
        padding=40,
        sampler="DPM++ 2M SDE",
        schedule="Karras",
    ), "steps count only beside the key that switches them on"
    assert set(parsed.unknown) == {
        "ADetailer mask min ratio",
        "ADetailer model 2nd",
        "ADetailer confidence 2nd",
    }
    for wrong in ("ADetailer confidence: 7", "ADetailer mask blur: many", "ADetailer inpaint padding: -1"):
        text = f"a\nSteps: 20, Sampler: Euler, Seed: 5, ADetailer model: face_yolov8n.pt, {wrong}"
        parsed = parse_infotext(text)
        assert parsed.request.detailers == (Detailer(),)
        assert list(parsed.unknown) == [wrong.partition(":")[0]]


def test_forges_factors_of_freeu_are_read_where_they_hold_for_all_steps() -> None:
    factors = "freeu_enabled: True, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, freeu_s2: 0.2"
    head = "a\nSteps: 20, Sampler: Euler, Seed: 5, Size: 64x64, "
    parsed = parse_infotext(f"{head}{factors}, freeu_start: 0, freeu_end: 1")
    assert (parsed.request.freeu, parsed.unknown) == ("1.3, 1.4, 0.9, 0.2", {})
    partly = parse_infotext(f"{head}{factors}, freeu_start: 0.2, freeu_end: 1")
    assert partly.request.freeu == ""
    assert "freeu_enabled" in partly.unknown
    assert parse_infotext(f"{head}FreeU: many").unknown == {"FreeU": "many"}
