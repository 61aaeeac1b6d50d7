"""Graphs of ComfyUI as people build them: values over links, conditioning through ControlNets, stacks of LoRAs."""

from __future__ import annotations

from typing import Any

import pytest

from studio.core.request_choices import NoiseSource
from studio.engine.metadata.comfyui_graphs import read_graph
from studio.engine.metadata.foreign_words import build_foreign_request

Graph = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def base(**changes: Any) -> Graph:
    """A plain graph; `changes` replace or add nodes, "sampler__steps" one input."""
    graph = {
        "sampler": node(
            "KSampler",
            seed=7,
            steps=25,
            cfg=6.5,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["model", 0],
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["latent", 0],
        ),
        "model": node("CheckpointLoaderSimple", ckpt_name="sd/foxes.safetensors"),
        "positive": node("CLIPTextEncode", text="a fox", clip=["model", 1]),
        "negative": node("CLIPTextEncode", text="blurry", clip=["model", 1]),
        "latent": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "save": node("SaveImage", images=["decode", 0]),
    }
    for name, value in changes.items():
        target, _, slot = name.partition("__")
        if slot:
            graph[target]["inputs"][slot] = value
        else:
            graph[target] = value
    return graph


def read(graph: Graph) -> dict[str, Any]:
    values = read_graph(graph)
    assert values is not None
    return values


@pytest.mark.parametrize(
    ("graph", "wanted"),
    [
        (base(), {"prompt": "a fox", "negativeprompt": "blurry", "model": "sd/foxes.safetensors", "width": 512}),
        (
            base(
                positive__text=["words", 0],
                words=node("PrimitiveStringMultiline", value="a cat"),
                sampler__seed=["number", 0],
                number=node("PrimitiveInt", value=99),
                latent__width=["wide", 0],
                wide=node("PrimitiveInt", value=1024),
            ),
            {"prompt": "a cat", "seed": 99, "width": 1024, "height": 768},
        ),
        (
            base(
                positive__text=["both", 0],
                both=node("StringConcatenate", string_a="a cat", string_b=["end", 0], delimiter=", "),
                end=node("PrimitiveString", value="at night"),
            ),
            {"prompt": "a cat, at night"},
        ),
        (
            base(sampler__seed=["r", 0], r=node("Reroute", **{"": ["s", 0]}), s=node("Seed (rgthree)", seed=5)),
            {"seed": 5},
        ),
        (
            base(
                sampler__positive=["control", 0],
                sampler__negative=["control", 1],
                control=node(
                    "ControlNetApplyAdvanced", positive=["positive", 0], negative=["negative", 0], strength=0.7
                ),
            ),
            {"prompt": "a fox", "negativeprompt": "blurry"},
        ),
        (
            base(positive=node("CLIPTextEncodeSDXL", text_g="a fox", text_l="in snow", clip=["model", 1], width=1024)),
            {"prompt": "a fox, in snow"},
        ),
        (
            base(negative=node("ConditioningZeroOut", conditioning=["positive", 0])),
            {"prompt": "a fox", "negativeprompt": ""},
        ),
        (
            base(
                sampler__cfg=1.0,
                sampler__positive=["guidance", 0],
                guidance=node("FluxGuidance", conditioning=["positive", 0], guidance=3.5),
            ),
            {"prompt": "a fox", "cfg": 3.5},
        ),
        (
            base(
                sampler__positive=["sum", 0],
                sum=node("ConditioningCombine", conditioning_1=["positive", 0], conditioning_2=["more", 0]),
                more=node("CLIPTextEncode", text="a hill", clip=["model", 1]),
            ),
            {"prompt": "a fox, a hill"},
        ),
        (
            base(
                sampler__model=["two", 0],
                one=node("LoraLoader", lora_name="a.safetensors", strength_model=0.5, model=["model", 0]),
                two=node("LoraLoaderModelOnly", lora_name="b.safetensors", strength_model=0.25, model=["one", 0]),
                stray=node("LoraLoader", lora_name="c.safetensors", strength_model=1, model=["model", 0]),
            ),
            {"loras": [("a.safetensors", 0.5), ("b.safetensors", 0.25)]},
        ),
        (
            base(
                sampler__model=["apply", 0],
                apply=node("CR Apply LoRA Stack", model=["power", 0], lora_stack=["stack", 0]),
                stack=node(
                    "CR LoRA Stack",
                    switch_1="On",
                    lora_name_1="a.safetensors",
                    model_weight_1=0.5,
                    switch_2="Off",
                    lora_name_2="b.safetensors",
                    model_weight_2=1,
                ),
                power=node(
                    "Power Lora Loader (rgthree)",
                    model=["model", 0],
                    lora_1={"on": True, "lora": "d.safetensors", "strength": 0.8},
                    lora_2={"on": False, "lora": "e.safetensors", "strength": 1},
                ),
            ),
            {"loras": [("d.safetensors", 0.8), ("a.safetensors", 0.5)]},
        ),
        (
            base(decode__vae=["vae", 0], vae=node("VAELoader", vae_name="soft.safetensors")),
            {"vae": "soft.safetensors"},
        ),
        (
            base(
                positive__clip=["skip", 0],
                skip=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["model", 1]),
            ),
            {"clip_skip": 2},
        ),
        (
            base(
                sampler=node(
                    "SamplerCustom",
                    noise_seed=8,
                    cfg=5,
                    model=["model", 0],
                    positive=["positive", 0],
                    negative=["negative", 0],
                    sampler=["select", 0],
                    sigmas=["sigmas", 0],
                    latent_image=["latent", 0],
                ),
                select=node("KSamplerSelect", sampler_name="dpmpp_2m"),
                sigmas=node("KarrasScheduler", steps=12, sigma_max=14),
            ),
            {"noise_seed": 8, "cfg": 5, "sampler": "dpmpp_2m", "scheduler": "karras", "steps": 12},
        ),
        (
            base(
                second=node(
                    "KSampler",
                    seed=1,
                    steps=9,
                    cfg=2,
                    sampler_name="lcm",
                    scheduler="simple",
                    model=["model", 0],
                    positive=["negative", 0],
                    negative=["positive", 0],
                    latent_image=["sampler", 0],
                ),
                decode__samples=["second", 0],
            ),
            {"seed": 7, "steps": 25, "prompt": "a fox"},
        ),
    ],
)
def test_a_graph_is_read_along_its_links(graph: Graph, wanted: dict[str, Any]) -> None:
    values = read(graph)
    assert {name: values.get(name) for name in wanted} == wanted
    assert not any("not understood" in name for name in values)


def test_what_cannot_be_followed_is_named() -> None:
    graph = base(
        positive__text=["odd", 0],
        odd=node("PromptWizard", style=["x", 0], level=3),
        sampler__seed=["gone", 0],
        sampler__negative=["strange", 0],
        strange=node("MysteryConditioning", thing=4),
    )
    request, passed_over = build_foreign_request(read(graph))
    assert (request.prompt, request.seed, request.steps) == ("", None, 25)
    assert {
        "prompt from PromptWizard, which was not understood",
        "seed, which was not understood",
        "negative prompt from MysteryConditioning, which was not understood",
    } <= set(passed_over)


def test_schedules_are_named_as_ours() -> None:
    assert build_foreign_request(read(base(sampler__scheduler="ddim_uniform")))[0].schedule == "DDIM"


def test_graphs_whose_ways_double_at_every_node_end_soon() -> None:
    ways = {
        f"t{k}": node("StringConcatenate", string_a=[f"t{k + 1}", 0], string_b=[f"t{k + 1}", 0], delimiter="")
        for k in range(90)
    }
    sums = {
        f"c{k}": node("ConditioningCombine", conditioning_1=[f"c{k + 1}", 0], conditioning_2=[f"c{k + 1}", 0])
        for k in range(90)
    }
    graph = base(positive__text=["t0", 0], sampler__negative=["c0", 0], **ways, **sums)
    values = read(graph)
    assert values["steps"] == 25
    loop = base(
        sampler__model=["a", 0],
        a=node("LoraLoader", lora_name="x", model=["b", 0], lora_stack=["b", 0]),
        b=node("LoraLoader", lora_name="y", model=["a", 0], lora_stack=["a", 0]),
    )
    assert read(loop)["steps"] == 25


def test_a_graphs_noise_is_comfyuis() -> None:
    request, passed_over = build_foreign_request(read(base()))
    assert (request.seed, request.noise_source) == (7, NoiseSource.COMFYUI)
    assert "noise_source" not in passed_over


def test_what_changes_the_model_on_its_way_is_read_or_named() -> None:
    graph = base(
        sampler__model=["pag", 0],
        pag=node("PerturbedAttentionGuidance", model=["rescale", 0], scale=3.5),
        rescale=node("RescaleCFG", model=["freeu", 0], multiplier=0.7),
        freeu=node("FreeU", model=["other", 0], b1=1.3, b2=1.4, s1=0.9, s2=0.2),
        other=node("FreeU_V2", model=["model", 0], b1=1.3, b2=1.4, s1=0.9, s2=0.2),
    )
    request, passed_over = build_foreign_request(read(graph))
    assert (request.pag_scale, request.guidance_rescale, request.freeu) == (3.5, 0.7, "1.3, 1.4, 0.9, 0.2")
    assert passed_over == ("FreeU_V2, which was not understood",)
