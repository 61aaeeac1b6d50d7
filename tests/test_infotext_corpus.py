"""A corpus of what programs write into images: every field is read, or named as not supported."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from foreign_images import make_image_with_exif, make_png_with_chunks
from test_comfyui_graphs import Graph, base, node
from test_other_programs import make_xmp

from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.metadata.image_info import read_image_info

CORPUS = tomllib.loads((Path(__file__).parent / "data" / "infotexts.toml").read_text(encoding="utf-8"))
IMAGES: list[dict[str, Any]] = CORPUS["image"]
READ: dict[str, list[str]] = CORPUS["read"]
NAMED = re.compile(r"(.*?)(?:, which was not understood)?$")

GRAPHS: dict[str, tuple[Graph, dict[str, Any], list[str]]] = {
    "linked values and joined texts": (
        base(
            positive__text=["both", 0],
            both=node("StringConcatenate", string_a="a fox", string_b=["end", 0], delimiter=", "),
            end=node("PrimitiveString", value="at night"),
            sampler__seed=["seed", 0],
            seed=node("Seed (rgthree)", seed=9),
            latent__width=["wide", 0],
            wide=node("PrimitiveInt", value=640),
        ),
        {"prompt": "a fox, at night", "seed": 9, "width": 640},
        [],
    ),
    "stacks of LoRAs of custom nodes": (
        base(
            sampler__model=["apply", 0],
            apply=node("CR Apply LoRA Stack", model=["power", 0], lora_stack=["stack", 0]),
            stack=node("CR LoRA Stack", switch_1="On", lora_name_1="a.safetensors", model_weight_1=0.5),
            power=node(
                "Power Lora Loader (rgthree)",
                model=["model", 0],
                lora_1={"on": True, "lora": "d.safetensors", "strength": 0.8},
            ),
        ),
        {"loras": [{"name": "d", "weight": 0.8}, {"name": "a", "weight": 0.5}]},
        [],
    ),
    "guidance of patched models": (
        base(
            sampler__model=["pag", 0],
            pag=node("PerturbedAttentionGuidance", model=["sag", 0], scale=3.5),
            sag=node("SelfAttentionGuidance", model=["rescale", 0], scale=0.5, blur_sigma=3.0),
            rescale=node("RescaleCFG", model=["limit", 0], multiplier=0.7),
            limit=node(
                "DynamicThresholdingFull",
                model=["freeu", 0],
                mimic_scale=7.0,
                threshold_percentile=0.995,
                mimic_mode="Constant",
                mimic_scale_min=0.0,
                cfg_mode="Constant",
                cfg_scale_min=0.0,
                sched_val=1.0,
                separate_feature_channels="enable",
                scaling_startpoint="MEAN",
                variability_measure="AD",
                interpolate_phi=1.0,
            ),
            freeu=node("FreeU", model=["model", 0], b1=1.3, b2=1.4, s1=0.9, s2=0.2),
        ),
        {
            "pag_scale": 3.5,
            "sag_scale": 0.5,
            "sag_blur": 3.0,
            "guidance_rescale": 0.7,
            "mimic_scale": 7.0,
            "threshold_percentile": 99.5,
            "freeu": "1.3, 1.4, 0.9, 0.2",
        },
        [],
    ),
    "models changed by nodes that are not known": (
        base(
            sampler__model=["adapter", 0],
            adapter=node("IPAdapterAdvanced", model=["shift", 0], ipadapter=["x", 0], image=["photo", 0], weight=0.8),
            shift=node("ModelSamplingSD3", model=["limit", 0], shift=3.0),
            limit=node("DynamicThresholdingSimple", model=["model", 0], mimic_scale=7.0, threshold_percentile=1.0),
            photo=node("LoadImage", image="a.png"),
        ),
        {},
        ["DynamicThresholdingSimple", "IPAdapterAdvanced", "LoadImage", "ModelSamplingSD3"],
    ),
    "layers skipped by Stable Diffusion 3.5": (
        base(
            sampler__model=["skip", 0],
            skip=node(
                "SkipLayerGuidanceSD3",
                model=["model", 0],
                layers="7, 8, 9",
                scale=3.0,
                start_percent=0.01,
                end_percent=0.15,
            ),
        ),
        {"skip_layers": "7, 8, 9", "skip_layer_scale": 3.0, "skip_layers_until": 0.15},
        [],
    ),
    "an image drawn over, with ControlNet": (
        base(
            sampler__denoise=0.6,
            sampler__latent_image=["encode", 0],
            encode=node("VAEEncode", pixels=["photo", 0], vae=["model", 2]),
            photo=node("LoadImage", image="a.png"),
            sampler__positive=["control", 0],
            sampler__negative=["control", 1],
            control=node(
                "ControlNetApplyAdvanced",
                positive=["positive", 0],
                negative=["negative", 0],
                control_net=["net", 0],
                image=["photo", 0],
                strength=0.7,
            ),
            net=node("ControlNetLoader", control_net_name="canny.safetensors"),
        ),
        {"strength": 0.6},
        ["ControlNet", "LoadImage"],
    ),
    "a second sampler over an enlarged latent, and an enlarged image": (
        base(
            second=node(
                "KSampler",
                seed=1,
                steps=9,
                cfg=2.0,
                sampler_name="lcm",
                scheduler="simple",
                denoise=0.5,
                model=["model", 0],
                positive=["positive", 0],
                negative=["negative", 0],
                latent_image=["larger", 0],
            ),
            larger=node("LatentUpscaleBy", samples=["sampler", 0], upscale_method="bislerp", scale_by=1.5),
            decode__samples=["second", 0],
            save__images=["enlarge", 0],
            enlarge=node("ImageUpscaleWithModel", upscale_model=["up", 0], image=["decode", 0]),
            up=node("UpscaleModelLoader", model_name="4x.pth"),
        ),
        {},
        ["ImageUpscaleWithModel", "LatentUpscaleBy", "second sampler"],
    ),
    "a part of the steps": (
        base(
            sampler=node(
                "KSamplerAdvanced",
                add_noise="enable",
                noise_seed=7,
                steps=25,
                cfg=6.5,
                sampler_name="euler",
                scheduler="normal",
                start_at_step=0,
                end_at_step=20,
                return_with_leftover_noise="disable",
                model=["model", 0],
                positive=["positive", 0],
                negative=["negative", 0],
                latent_image=["latent", 0],
            )
        ),
        {},
        ["end_at_step"],
    ),
    "a schedule and conditions that are not known": (
        base(
            sampler__scheduler="beta57",
            sampler__positive=["area", 0],
            area=node("ConditioningSetArea", conditioning=["positive", 0], width=256, height=256, x=0, y=0),
        ),
        {"schedule": None},
        ["ConditioningSetArea", "scheduler"],
    ),
    "FLUX from parts": (
        base(
            sampler=node(
                "SamplerCustomAdvanced",
                noise=["noise", 0],
                guider=["guider", 0],
                sampler=["select", 0],
                sigmas=["sigmas", 0],
                latent_image=["latent", 0],
            ),
            noise=node("RandomNoise", noise_seed=7),
            guider=node("BasicGuider", model=["unet", 0], conditioning=["strength", 0]),
            select=node("KSamplerSelect", sampler_name="euler"),
            sigmas=node("BasicScheduler", scheduler="simple", steps=20, denoise=1.0, model=["unet", 0]),
            unet=node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
            strength=node("FluxGuidance", guidance=3.5, conditioning=["positive", 0]),
            positive=node("CLIPTextEncode", text="a fox", clip=["texts", 0]),
            texts=node("DualCLIPLoader", clip_name1="t5xxl.safetensors", clip_name2="clip_l.safetensors", type="flux"),
            latent=node("EmptySD3LatentImage", width=512, height=768, batch_size=1),
        ),
        {"negative_prompt": "", "guidance": 3.5, "schedule": "Simple", "steps": 20, "model": "flux1-dev"},
        [],
    ),
}


def build_image(entry: dict[str, Any]) -> bytes:
    if "pairs" in entry:
        return make_png_with_chunks(parameters=(CORPUS["head"] + entry["pairs"]).strip())
    if "comment" in entry:
        return make_image_with_exif("jpeg", {}, entry["comment"])
    if "xmp" in entry:
        return make_png_with_chunks(**{"XML:com.adobe.xmp": make_xmp(entry["xmp"])})
    chunks = entry.get("chunks") or {"parameters": entry["parameters"].strip()}
    return make_png_with_chunks(**chunks)


def list_keys(entry: dict[str, Any]) -> tuple[str, list[str]]:
    """The program whose list of keys counts, and the keys of the image, found without the code that is tested."""
    if entry["program"] == "ComfyUI":
        return "ComfyUI", [one["class_type"] for one in json.loads(entry["chunks"]["prompt"]).values()]
    chunks = entry.get("chunks", {})
    text = next((entry[name] for name in ("comment", "xmp") if name in entry), entry.get("parameters", ""))
    text = chunks.get("invokeai_metadata") or chunks.get("Comment") or text
    if text.strip().startswith("{"):
        values = json.loads(text)
        values = values.get("sui_image_params", values)
        values |= {name: value or None for name, value in values.get("v2", {}).items()}
        return entry["program"], [name for name, value in values.items() if value is not None]
    if chunks:
        return entry["program"], [*chunks]
    text = CORPUS["head"] + entry["pairs"] if "pairs" in entry else text
    line = text[text.index("Steps: ") :].replace("\n", ", ")
    line = re.sub(r'"[^"]*"|\{[^{}]*\}|\[[^\[\]]*\]', "…", line)
    return "infotext", re.findall(r"(?:^|, )(\w[\w .+/-]*): ?", line)


def expect(changes: dict[str, Any], absent: list[str] | tuple[str, ...] = ()) -> GenerationRequest:
    fields = {**CORPUS["base"], **changes}
    return GenerationRequest.from_json({name: fields[name] for name in fields if name not in absent})


@pytest.mark.parametrize("entry", IMAGES, ids=lambda entry: entry["name"])
def test_every_field_is_read_or_named(entry: dict[str, Any]) -> None:
    expected = entry.get("expected", entry)
    info = read_image_info(build_image(entry), Settings())
    assert info.program == entry["program"]
    assert info.request == expect(expected.get("changes", {}), expected.get("absent", ()))
    assert list(info.passed_over) == sorted(expected["named"])


@pytest.mark.parametrize("entry", IMAGES, ids=lambda entry: entry["name"])
def test_no_key_of_the_corpus_is_forgotten(entry: dict[str, Any]) -> None:
    program, keys = list_keys(entry)
    named = entry.get("expected", entry)["named"]
    renamed = {"Seamless Tiling": "tiling", "noise_schedule": "scheduler", "base_model_hash": "model_hash"}
    known = {*READ[program], *CORPUS["silent"].get(program, ())}
    assert len(keys) >= 7
    assert [key for key in keys if key not in known and renamed.get(key, key) not in named] == []


@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_is_read_or_named(name: str) -> None:
    graph, changes, named = GRAPHS[name]
    info = read_image_info(make_png_with_chunks(prompt=json.dumps(graph)), Settings())
    plain = {"sampler": "Euler", "schedule": "Normal", "noise_source": "ComfyUI"}
    wanted = expect({**plain, **changes}, [field for field, value in changes.items() if value is None])
    assert info.request == (wanted.replace(width=None, height=None) if "strength" in changes else wanted)
    assert [match[1] for match in map(NAMED.match, info.passed_over) if match] == named
    kinds = {one["class_type"] for one in graph.values()} - {"ControlNetLoader", "UpscaleModelLoader"}
    assert {kind for kind in kinds if kind not in READ["ComfyUI"] and kind not in named} <= {"ControlNetApplyAdvanced"}


def test_the_corpus_is_large_enough() -> None:
    assert len(IMAGES) + len(GRAPHS) >= 60
    assert {entry["program"] for entry in IMAGES} >= {*READ} - {"infotext"}
