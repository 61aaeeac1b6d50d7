"""Images as other programs write them, built by hand after their sources and documentation, for none of them runs here:
the same chunks, EXIF tags and JSON structure, but no file of theirs."""

from __future__ import annotations

import gzip
import io
import json
import math
from typing import Any

import numpy as np
from fakes import draw_fake_image
from PIL import Image, PngImagePlugin

A1111 = (
    "a fox, <lora:fur:0.8>\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 7,"
    " Size: 512x768, Model hash: abc, Model: foxes, Version: v1.10.1"
)
FORGE = A1111.replace("v1.10.1", "f2.0.1v1.10.1-previous-635-gf5330788")
COMFY: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 7,
            "steps": 25,
            "cfg": 6.5,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "denoise": 1,
            "model": ["10", 0],
            "positive": ["11", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "animals/foxes.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "fur.safetensors",
            "strength_model": 0.8,
            "strength_clip": 0.8,
            "model": ["4", 0],
            "clip": ["4", 1],
        },
    },
    "11": {
        "class_type": "ControlNetApply",
        "inputs": {"strength": 0.5, "conditioning": ["6", 0], "control_net": ["12", 0], "image": ["13", 0]},
    },
}
WORKFLOW = {"last_node_id": 11, "last_link_id": 9, "nodes": [], "links": [[1, 4, 0, 3, 0, "MODEL"]], "version": 0.4}
FLUX: dict[str, Any] = {
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["11", 0]}},
    "11": {
        "class_type": "DualCLIPLoader",
        "inputs": {"clip_name1": "t5xxl.safetensors", "clip_name2": "clip_l.safetensors", "type": "flux"},
    },
    "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}},
    "13": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["25", 0],
            "guider": ["22", 0],
            "sampler": ["16", 0],
            "sigmas": ["17", 0],
            "latent_image": ["27", 0],
        },
    },
    "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "17": {
        "class_type": "BasicScheduler",
        "inputs": {"scheduler": "simple", "steps": 20, "denoise": 1, "model": ["12", 0]},
    },
    "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["26", 0]}},
    "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
    "26": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
    "27": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 768, "batch_size": 1}},
}
INVOKE = {
    "generation_mode": "txt2img",
    "positive_prompt": "a fox",
    "negative_prompt": "blurry",
    "width": 512,
    "height": 768,
    "seed": 7,
    "rand_device": "cpu",
    "cfg_scale": 6.5,
    "cfg_rescale_multiplier": 0,
    "steps": 25,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 1,
    "model": {"key": "3f", "hash": "blake3:ab", "name": "foxes", "base": "sd-1", "type": "main"},
    "loras": [
        {"model": {"key": "4f", "hash": "blake3:cd", "name": "fur", "base": "sd-1", "type": "lora"}, "weight": 0.8}
    ],
    "app_version": "5.4.2",
}
NOVEL = {
    "prompt": "a fox",
    "steps": 25,
    "height": 768,
    "width": 512,
    "scale": 6.5,
    "uncond_scale": 0.0,
    "cfg_rescale": 0.0,
    "seed": 7,
    "n_samples": 1,
    "noise_schedule": "karras",
    "sampler": "k_dpmpp_2m",
    "uc": "blurry",
    "request_type": "PromptGenerateRequest",
    "signed_hash": "x==",
}
NOVEL_CHUNKS = {
    "Title": "NovelAI generated image",
    "Description": "a fox",
    "Software": "NovelAI",
    "Source": "NovelAI Diffusion V4 4F49EC75",
    "Comment": json.dumps(NOVEL),
}
SWARM = {
    "sui_image_params": {
        "prompt": "a fox",
        "negativeprompt": "blurry",
        "model": "animals/foxes",
        "seed": 7,
        "steps": 25,
        "cfgscale": 6.5,
        "aspectratio": "Custom",
        "width": 512,
        "height": 768,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "vae": "Automatic",
        "loras": ["fur"],
        "loraweights": ["0.8"],
        "swarm_version": "0.9.4.0",
    },
    "sui_extra_data": {"date": "2024-12-10", "generation_time": "1.2 (prep) and 3.4 (gen) seconds"},
}
FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "foxes",
    "base_model_hash": "abc",
    "full_negative_prompt": ["blurry"],
    "full_prompt": ["cinematic still a fox"],
    "guidance_scale": 6.5,
    "loras": [["fur", 0.8, "def"]],
    "lora_combined_1": "fur : 0.8",
    "metadata_scheme": "fooocus",
    "negative_prompt": "blurry",
    "performance": "Speed",
    "prompt": "a fox",
    "prompt_expansion": "",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "resolution": "(512, 768)",
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "seed": "7",
    "sharpness": 2,
    "steps": 25,
    "styles": "['Fooocus V2']",
    "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}


def make_png_with_chunks(image: Image.Image | None = None, **chunks: str) -> bytes:
    """A PNG with these text chunks."""
    info = PngImagePlugin.PngInfo()
    for name, value in chunks.items():
        info.add_text(name, value)
    out = io.BytesIO()
    (image or draw_fake_image(1, 64, 48)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def make_image_with_exif(kind: str, tags: dict[int, str], comment: str = "") -> bytes:
    """An image of `kind` with text tags at the root of its EXIF, and a user comment as piexif writes it."""
    exif = Image.Exif()
    for tag, text in tags.items():
        exif[tag] = text
    if comment:
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
    out = io.BytesIO()
    draw_fake_image(1, 64, 48).save(out, kind, exif=exif.tobytes())
    return out.getvalue()


def make_comfy_webp(graph: dict[str, Any]) -> bytes:
    """As ComfyUI's own node for WebP does it: Model holds the prompt, Make the workflow."""
    return make_image_with_exif(
        "webp", {0x0110: "prompt:" + json.dumps(graph), 0x010F: "workflow:" + json.dumps(WORKFLOW)}
    )


def make_fooocus_image(kind: str) -> bytes:
    """Fooocus puts UserComment and MakerNote at the root of the EXIF."""
    return make_image_with_exif(kind, {0x9286: json.dumps(FOOOCUS), 0x0131: "Fooocus v2.5.5", 0x927C: "fooocus"})


def make_stealth_png(text: str, mark: bytes = b"stealth_pngcomp", length: int | None = None) -> bytes:
    """A PNG whose lowest bits of opacity hold `text`, gzipped, column by column."""
    data = gzip.compress(text.encode()) if mark.endswith(b"comp") else text.encode()
    bits = np.unpackbits(
        np.frombuffer(mark + (8 * len(data) if length is None else length).to_bytes(4, "big") + data, np.uint8)
    )
    side = max(160, math.isqrt(len(bits)) + 1)
    columns = np.full(side * side, 254, np.uint8)
    columns[: len(bits)] |= bits
    image = draw_fake_image(1, side, side).convert("RGBA")
    image.putalpha(Image.fromarray(columns.reshape(side, side).T.copy()))
    return make_png_with_chunks(image)
