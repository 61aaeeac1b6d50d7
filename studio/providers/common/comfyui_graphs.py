"""ComfyUI graphs from a request, in the form of its API: {id: {"class_type", "inputs"}}, a link being [node id,
output]. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest

Graph = dict[str, dict[str, Any]]

SAMPLERS: Mapping[str, str] = {
    "Euler": "euler",
    "Euler a": "euler_ancestral",
    "Heun": "heun",
    "DPM2": "dpm_2",
    "DPM2 a": "dpm_2_ancestral",
    "LMS": "lms",
    "DPM++ 2S a": "dpmpp_2s_ancestral",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 3M SDE": "dpmpp_3m_sde",
    "DPM fast": "dpm_fast",
    "DPM adaptive": "dpm_adaptive",
    "HeunPP2": "heunpp2",
    "IPNDM": "ipndm",
    "IPNDM_V": "ipndm_v",
    "RES multistep": "res_multistep",
    "RES multistep a": "res_multistep_ancestral",
    "Gradient estimation": "gradient_estimation",
    "ER SDE": "er_sde",
    "SEEDS-2": "seeds_2",
    "SEEDS-3": "seeds_3",
    "Exp Heun 2 x0": "exp_heun_2_x0",
    "Exp Heun 2 x0 SDE": "exp_heun_2_x0_sde",
    "DEIS": "deis",
    "Euler CFG++": "euler_cfg_pp",
    "Euler a CFG++": "euler_ancestral_cfg_pp",
    "DPM++ 2S a CFG++": "dpmpp_2s_ancestral_cfg_pp",
    "DPM++ 2M CFG++": "dpmpp_2m_cfg_pp",
    "RES multistep CFG++": "res_multistep_cfg_pp",
    "RES multistep a CFG++": "res_multistep_ancestral_cfg_pp",
    "Gradient estimation CFG++": "gradient_estimation_cfg_pp",
    "DDIM": "ddim",
    "LCM": "lcm",
    "UniPC": "uni_pc",
    "UniPC bh2": "uni_pc_bh2",
}
SCHEDULES: Mapping[str, str] = {
    "Automatic": "normal",
    "Karras": "karras",
    "Exponential": "exponential",
    "SGM Uniform": "sgm_uniform",
    "Simple": "simple",
    "Beta": "beta",
    "Normal": "normal",
    "DDIM": "ddim_uniform",
    "KL Optimal": "kl_optimal",
    "Linear Quadratic": "linear_quadratic",
}
NODE_PREFIX = "easel:"  # before what a node of the user's own graph takes, in its title
_TEXT_INPUTS = ("text", "prompt", "string", "value", "clip_l", "clip_g", "text_l", "text_g", "t5xxl")
_LEFT_OUT = {"negative": "negative prompt", "seed": "seed", "size": "size", "strength": "denoising strength"}
_STEPS, _GUIDANCE = 20, 7.0
_FLUX_STEPS, _FLUX_GUIDANCE = 20, 3.5


def build_checkpoint_graph(request: GenerationRequest, checkpoint: str, seed: int, image: str = "") -> Graph:
    """Text to image with a checkpoint; with `image`, the name of an uploaded file, image to image."""
    width, height = request.width or 512, request.height or 512
    graph: Graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": request.prompt, "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": request.negative_prompt, "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": _build_sampler_inputs(request, seed, _STEPS, _GUIDANCE)},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"filename_prefix": "easel", "images": ["6", 0]}},
    }
    graph["5"]["inputs"] |= {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    return _add_source_image(graph, request, image, ["1", 2]) if image else graph


def build_flux_graph(request: GenerationRequest, names: Mapping[str, str], seed: int, image: str = "") -> Graph:
    """FLUX.1 from its parts: `names` gives the files of "unet", "clip", "t5" and "vae"."""
    width, height = request.width or 1024, request.height or 1024
    guidance = _FLUX_GUIDANCE if request.guidance is None else request.guidance
    graph: Graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": names["unet"], "weight_dtype": "default"}},
        "2": {
            "class_type": "DualCLIPLoader",
            "inputs": {"clip_name1": names["t5"], "clip_name2": names["clip"], "type": "flux"},
        },
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": names["vae"]}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": request.prompt, "clip": ["2", 0]}},
        "9": {"class_type": "FluxGuidance", "inputs": {"guidance": guidance, "conditioning": ["8", 0]}},
        "4": {"class_type": "EmptySD3LatentImage", "inputs": {"width": width, "height": height, "batch_size": 1}},
        "5": {
            "class_type": "KSampler",
            "inputs": _build_sampler_inputs(request.replace(guidance=1.0), seed, _FLUX_STEPS, 1.0),
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["3", 0]}},
        "7": {"class_type": "SaveImage", "inputs": {"filename_prefix": "easel", "images": ["6", 0]}},
    }
    graph["5"]["inputs"] |= {"model": ["1", 0], "positive": ["9", 0], "negative": ["8", 0], "latent_image": ["4", 0]}
    graph["5"]["inputs"]["scheduler"] = "simple" if request.schedule is None else graph["5"]["inputs"]["scheduler"]
    return _add_source_image(graph, request, image, ["3", 0]) if image else graph


def fill_graph(
    own: Mapping[str, Any], request: GenerationRequest, seed: int, image: str = ""
) -> tuple[Graph, tuple[str, ...]]:
    """(a copy of the user's own exported graph with its marked nodes filled, sentences on what had no place in it). A
    node titled "easel:prompt", "easel:negative", "easel:seed", "easel:size", "easel:strength" or "easel:image" takes
    that. The graph itself is not changed.

    Raises:
        InvalidRequest: it is no graph in the API's form, marks no prompt, or has no place for the source.
    """
    graph = copy.deepcopy(dict(own))
    if not all(
        isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict)
        for node in graph.values()
    ):
        raise InvalidRequest("The ComfyUI graph is not in API format.", hint="Export it with “Export (API)”.")
    values = _collect_values(request, seed, image)
    placed: set[str] = set()
    for node in graph.values():
        for mark in _list_marks(node):
            fitting = {name: value for name, value in values.get(mark, {}).items() if name in node["inputs"]}
            node["inputs"] |= fitting
            placed |= {mark} if fitting else set()
    for mark, what in (("prompt", "prompt"), ("image", "source image")):
        if mark in values and mark not in placed:
            raise InvalidRequest(
                f"The ComfyUI graph marks no node for the {what}.",
                hint=f"Title the node that takes it “{NODE_PREFIX}{mark}” and export it again.",
            )
    left = [mark for mark in values if mark not in placed]
    return graph, tuple(
        f"The graph marks no node “{NODE_PREFIX}{mark}”: the {_LEFT_OUT[mark]} is left as it was exported."
        for mark in left
    )


def _collect_values(request: GenerationRequest, seed: int, image: str) -> dict[str, dict[str, Any]]:
    """The values to place, by mark: each under all names that the inputs of such nodes have."""
    values: dict[str, dict[str, Any]] = {
        "prompt": dict.fromkeys(_TEXT_INPUTS, request.prompt),
        "seed": dict.fromkeys(("seed", "noise_seed", "value"), seed),
    }
    if request.negative_prompt.strip():
        values["negative"] = dict.fromkeys(_TEXT_INPUTS, request.negative_prompt)
    if request.width and request.height:
        values["size"] = {"width": request.width, "height": request.height}
    if image:
        values["image"] = {"image": image}
    if request.strength is not None:
        values["strength"] = dict.fromkeys(("denoise", "strength", "value"), request.strength)
    return values


def _list_marks(node: Mapping[str, Any]) -> list[str]:
    """The marks in a node's title, without their prefix."""
    meta = node.get("_meta")
    words = str(meta.get("title", "")).lower().split() if isinstance(meta, Mapping) else []
    return [word.removeprefix(NODE_PREFIX) for word in words if word.startswith(NODE_PREFIX)]


def _build_sampler_inputs(request: GenerationRequest, seed: int, steps: int, guidance: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "steps": request.steps or steps,
        "cfg": guidance if request.guidance is None else request.guidance,
        "sampler_name": SAMPLERS.get(request.sampler or "Euler", "euler"),
        "scheduler": SCHEDULES.get(request.schedule or "Automatic", "normal"),
        "denoise": 1.0,
    }


def _add_source_image(graph: Graph, request: GenerationRequest, image: str, vae: list[Any]) -> Graph:
    """The graph with the image's latents, at the requested size, in place of empty ones."""
    width, height = request.width or 512, request.height or 512
    scaled = {"image": ["10", 0], "upscale_method": "lanczos", "width": width, "height": height, "crop": "center"}
    graph["10"] = {"class_type": "LoadImage", "inputs": {"image": image}}
    graph["11"] = {"class_type": "ImageScale", "inputs": scaled}
    graph["4"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["11", 0], "vae": vae}}
    graph["5"]["inputs"]["denoise"] = 0.75 if request.strength is None else request.strength
    return graph
