"""A ComfyUI graph as the values that one image was drawn with.

The graph is read from its sampler backwards along the links, as ComfyUI itself carries it out; what is not connected
to it counts for nothing. What stands in a node that is not understood is named among the values, for the user to know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from studio.core.request_choices import NoiseSource

_MAX_NODES = 500  # a workflow has some dozens; walking one of many thousands would take minutes
_MAX_DEPTH = 100  # links in a row
_MAX_STEPS = 5_000  # links that are followed in all: ways through a graph can double at every node
_MAX_STACKS = 10  # stacks of LoRAs in a row
_MAX_TEXT = 100_000  # characters that texts are joined to
_Node = dict[str, Any]
_Nodes = dict[str, _Node]
_TEXT_SLOTS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "clip_g", "prompt", "bert", "mt5xl", "llama")
_VALUE_SLOTS = ("value", "text", "string", "prompt", "seed", "noise_seed", "int", "float", "number", "Text", "Value")
_JOINED_SLOT = re.compile(r"(?:string|text|str|input|prompt)_?(?:\d+|[a-h])", re.IGNORECASE)
_MODEL_SLOTS = ("ckpt_name", "unet_name", "model_name", "gguf_name", "base_ckpt_name")
_OUTPUT = re.compile(r"(?:Save|Preview)\w*Image|Image\w*Save")
_PLAIN = re.compile(
    r"\w*(?:SaveImage|PreviewImage|ImageSave|VAEDecode|VAEEncode|VAELoader|CheckpointLoader|UNETLoader|UnetLoader)\w*"
    r"|\w*(?:CLIPLoader|CLIPTextEncode|SetLastLayer|KSamplerSelect|Scheduler|Guider|RandomNoise|SplitSigmas)\w*"
    r"|Empty\w*Latent\w*|Conditioning(?:ZeroOut|Combine|Concat)|FluxGuidance|Sampler[A-Z]\w*|Reroute.*|Primitive\w*"
)
"""Kinds of nodes of which nothing is lost when their values were read."""
_MAIN_SLOTS = frozenset(
    "model model1 conditioning conditioning_1 conditioning_2 positive negative samples latent latent_image image images"
    " pixels clip".split()
)
"""Inputs that a node passes on, changed."""
_SCHEDULERS = {  # nodes that make one kind of sigmas
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "PolyexponentialScheduler": "polyexponential",
    "BetaSamplingScheduler": "beta",
}


_THRESHOLDING = {
    "mimic_mode": "Constant",
    "cfg_mode": "Constant",
    "separate_feature_channels": "enable",
    "scaling_startpoint": "MEAN",
    "variability_measure": "AD",
    "interpolate_phi": 1,
}
"""What dynamic thresholding is here, in the words of its node."""


def read_graph(graph: object) -> dict[str, Any] | None:
    """The values of the sampler that draws the first pass of `graph`, a prompt as ComfyUI's API takes it, with its
    prompts, model, size and LoRAs; None when there is none."""
    nodes = _copy_valid_nodes(graph)
    name = _find_first_sampler(nodes)
    return _GraphReader(nodes).read(name) if name else None


class _GraphReader:
    """One graph while it is read."""

    def __init__(self, nodes: _Nodes) -> None:
        self._nodes = nodes
        self._lost: dict[str, None] = {}
        self._read_nodes: set[int] = set()  # by id
        self._steps = _MAX_STEPS

    def read(self, name: str) -> dict[str, Any]:
        inputs = self._nodes[name]["inputs"]
        values: dict[str, Any] = {"noise_source": NoiseSource.COMFYUI}
        for slot in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"):
            if slot in inputs:
                values["sampler" if slot == "sampler_name" else slot] = self._resolve(inputs[slot], slot)
        values |= self._read_parts(inputs)
        conditioned = self._follow(inputs.get("guider")) or self._nodes[name]
        sides = conditioned["inputs"]
        positive = sides.get("positive", sides.get("conditioning", sides.get("cond1")))
        negative = sides.get("negative")
        guidance = self._find_guidance(positive)
        if guidance is not None and values.get("cfg") in (None, 1, 1.0):
            values["cfg"] = guidance
        values["prompt"] = self._join_texts(positive, "prompt")
        values["negativeprompt"] = self._join_texts(negative, "negative prompt")
        values |= self._read_model(sides.get("model", inputs.get("model")))
        values |= self._read_clip_skip(positive) | self._read_vae(name) | self._read_size(inputs)
        if values.get("denoise") in (1, 1.0):
            del values["denoise"]
        self._lose_part_of_steps(inputs)
        self._lose_unread_nodes(name)
        values = {slot: value for slot, value in values.items() if value is not None}
        lost = {f"{what}, which was not understood": "" for what in self._lost}
        return values | lost | dict.fromkeys(self._list_unused(name, positive), "")

    def _list_unused(self, name: str, positive: Any) -> list[str]:
        """What has a part in the image and no place in a request."""
        guided = any("control_net" in node["inputs"] for node in self._walk_conditioning(positive, "positive"))
        others = [node["inputs"] for other, node in self._nodes.items() if other != name and _is_sampler(node)]
        links = [inputs.get("latent_image", inputs.get("latent")) for inputs in others]
        redraws = any(name in _list_upstream(self._nodes, link) for link in links)
        return [*(["ControlNet"] if guided else []), *(["second sampler"] if redraws else [])]

    def _lose_part_of_steps(self, inputs: _Node) -> None:
        start, steps = (self._resolve(inputs.get(slot, 0), slot) for slot in ("start_at_step", "steps"))
        end = self._resolve(inputs.get("end_at_step", steps), "end_at_step")
        if isinstance(start, int) and start > 0:
            self._lost["start_at_step"] = None
        if isinstance(end, int) and isinstance(steps, int) and end < steps:
            self._lost["end_at_step"] = None

    def _lose_unread_nodes(self, sampler: str) -> None:
        """Note the nodes that have a part in the sampler's image and that nothing was read from. Behind one of those
        only what it passes on is looked at."""
        outputs = [node for node in self._nodes.values() if _OUTPUT.search(node["class_type"])]
        links = [value for node in outputs for value in node["inputs"].values()]
        waiting = [link for link in links if sampler in _list_upstream(self._nodes, link)] or [[sampler, 0]]
        seen: set[str] = set()
        while waiting:
            link = waiting.pop()
            if not _is_link(link) or link[0] not in self._nodes or link[0] in seen:
                continue
            seen.add(link[0])
            node = self._nodes[link[0]]
            kind, inputs = node["class_type"], node["inputs"]
            later = _is_sampler(node) and link[0] != sampler
            known = link[0] == sampler or id(node) in self._read_nodes or bool(_PLAIN.fullmatch(kind))
            if not (known or later or "control_net" in inputs or kind.startswith("ControlNetApply")):
                self._lost[kind[:60]] = None
            slots = {"latent_image", "latent", "samples"} if later else _MAIN_SLOTS
            waiting += [value for slot, value in inputs.items() if slot in slots or (known and not later)]

    def _read_parts(self, inputs: _Node) -> dict[str, Any]:
        """The settings of a sampler that is built from parts (noise, guider, sampler, sigmas)."""
        values: dict[str, Any] = {}
        if noise := self._follow(inputs.get("noise")):
            values["seed"] = self._resolve(noise["inputs"].get("noise_seed"), "seed")
        if guider := self._follow(inputs.get("guider")):
            values["cfg"] = self._resolve(guider["inputs"].get("cfg", guider["inputs"].get("cfg_conds")), "cfg")
        if sampler := self._follow(inputs.get("sampler")):
            own = re.fullmatch(r"Sampler([A-Z]\w+)", sampler["class_type"])
            named = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", own[1]).lower() if own else None
            values["sampler"] = self._resolve(sampler["inputs"].get("sampler_name", named), "sampler")
        if sigmas := self._follow(inputs.get("sigmas")):
            sigmas = self._follow(sigmas["inputs"].get("sigmas")) or sigmas  # split or shifted
            for slot in ("steps", "denoise"):
                values[slot] = self._resolve(sigmas["inputs"].get(slot), slot)
            values["scheduler"] = self._resolve(
                sigmas["inputs"].get("scheduler", _SCHEDULERS.get(sigmas["class_type"])), "scheduler"
            )
        return values

    def _follow(self, value: Any) -> _Node | None:
        """The node that a link comes from, behind nodes that only pass it on; None when `value` is no link."""
        for _ in range(_MAX_DEPTH):
            self._steps -= 1
            node = self._nodes.get(value[0]) if _is_link(value) and self._steps > 0 else None
            if node is None or "Reroute" not in node["class_type"]:
                return node
            value = next((one for one in node["inputs"].values() if _is_link(one)), None)
        return None

    def _resolve(self, value: Any, what: str, depth: int = 0) -> Any:
        """The value itself, or the one that its link comes from; None, and noted as lost, when that is unknown."""
        if not isinstance(value, list):
            return value if isinstance(value, str | int | float) or value is None else None
        node = self._follow(value)
        if node is None or depth > _MAX_DEPTH:
            self._lose(what, node)
            return None
        inputs = node["inputs"]
        self._read_nodes.add(id(node))
        joined = [slot for slot in inputs if _JOINED_SLOT.fullmatch(slot)]
        if len(joined) > 1 or (joined and "oncat" in node["class_type"]):
            parts = [self._resolve(inputs[slot], what, depth + 1) for slot in sorted(joined)]
            delimiter = self._resolve(inputs.get("delimiter", ""), what, depth + 1)
            return str(delimiter or "").join(str(part) for part in parts if part not in (None, ""))[:_MAX_TEXT]
        slot = next((slot for slot in (what, *_VALUE_SLOTS) if slot in inputs), None)
        if slot is None and len(inputs) == 1:
            slot = next(iter(inputs))
        if slot is None:
            self._lose(what, node)
            return None
        return self._resolve(inputs[slot], what, depth + 1)

    def _lose(self, what: str, node: _Node | None) -> None:
        self._read_nodes.add(id(node))
        self._lost[f"{what} from {node['class_type'][:60]}" if node else what] = None

    def _walk_conditioning(self, link: Any, side: str, depth: int = 0) -> Iterator[_Node]:
        """The nodes that make up a conditioning, its encoders last; `side` says which of two is meant where a node
        passes both on."""
        node = self._follow(link)
        if node is None or depth > _MAX_DEPTH:
            return
        yield node
        inputs = node["inputs"]
        if node["class_type"] == "ConditioningZeroOut":
            return
        if _is_link(inputs.get("positive")) and _is_link(inputs.get("negative")):
            second = link[1] == 1 if link[1] in (0, 1) else side == "negative"
            yield from self._walk_conditioning(inputs["negative" if second else "positive"], side, depth + 1)
            return
        for slot, value in inputs.items():
            if slot.startswith(("conditioning", "cond")) and _is_link(value):
                yield from self._walk_conditioning(value, side, depth + 1)

    def _join_texts(self, link: Any, what: str) -> str:
        texts: dict[str, None] = {}
        found = False
        for node in self._walk_conditioning(link, "negative" if what.startswith("negative") else "positive"):
            slots = [slot for slot in _TEXT_SLOTS if slot in node["inputs"]]
            if slots:
                self._read_nodes.add(id(node))
            found = found or bool(slots) or node["class_type"] == "ConditioningZeroOut"
            for slot in slots:
                text = self._resolve(node["inputs"][slot], what)
                if isinstance(text, str) and text.strip():
                    texts[text.strip()] = None
        if link is not None and not found:
            self._lose(what, self._follow(link))
        return ", ".join(texts)

    def _find_guidance(self, link: Any) -> Any:
        """FLUX's own guidance, which a node on the prompt's way or the encoder itself sets."""
        for node in self._walk_conditioning(link, "positive"):
            if "guidance" in node["inputs"]:
                return self._resolve(node["inputs"]["guidance"], "guidance")
        return None

    def _read_model(self, link: Any) -> dict[str, Any]:
        """The model file and the LoRAs on the way to it, the one nearest to the file first."""
        loras: list[tuple[Any, ...]] = []
        values: dict[str, Any] = {}
        for _ in range(_MAX_DEPTH):
            node = self._follow(link)
            if node is None:
                break
            inputs = node["inputs"]
            loras = [*self._list_loras(node), *loras]
            values |= self._read_patch(node)
            named = next((slot for slot in _MODEL_SLOTS if slot in inputs), None)
            if named is not None:
                self._read_nodes.add(id(node))
                values["model"] = self._resolve(inputs[named], "model")
                break
            link = inputs.get("model", inputs.get("model1"))
            if link is None:
                self._lose("model", node)
        return values | {"loras": loras}

    def _read_patch(self, node: _Node) -> dict[str, Any]:
        """What a node on the model's way changes in how it draws."""
        kind, inputs = node["class_type"], node["inputs"]
        found: dict[str, Any] = {}
        if kind == "PerturbedAttentionGuidance":
            found = {"pag_scale": self._resolve(inputs.get("scale"), "scale")}
        elif kind == "SelfAttentionGuidance":
            slots = {"sag_scale": "scale", "sag_blur": "blur_sigma"}
            found = {ours: self._resolve(inputs.get(theirs), theirs) for ours, theirs in slots.items()}
        elif kind == "RescaleCFG":
            found = {"guidance_rescale": self._resolve(inputs.get("multiplier"), "multiplier")}
        elif kind == "DynamicThresholdingFull" and _THRESHOLDING.items() <= _pick(inputs, _THRESHOLDING).items():
            percentile = self._resolve(inputs.get("threshold_percentile"), "threshold_percentile")
            found = {"mimic_scale": self._resolve(inputs.get("mimic_scale"), "mimic_scale")}
            found |= {"threshold_percentile": percentile * 100} if isinstance(percentile, int | float) else {}
        elif kind == "SkipLayerGuidanceSD3" and inputs.get("start_percent", 0) in (0, 0.0, 0.01):
            slots = {"skip_layers": "layers", "skip_layer_scale": "scale", "skip_layers_until": "end_percent"}
            found = {ours: self._resolve(inputs.get(theirs), theirs) for ours, theirs in slots.items()}
        elif kind == "FreeU":
            factors = [self._resolve(inputs.get(name), name) for name in ("b1", "b2", "s1", "s2")]
            found = {"freeu": ", ".join(map(str, factors))} if None not in factors else {}
        if found:
            self._read_nodes.add(id(node))
        return found

    def _list_loras(self, node: _Node, depth: int = 0) -> list[tuple[Any, ...]]:
        """Of a loader, of a loader of several, and of a stack that is linked in."""
        inputs, found = node["inputs"], cast("list[tuple[Any, ...]]", [])
        if "lora_stack" in inputs or any(re.match(r"lora_(?:name|\d)", slot) for slot in inputs):
            self._read_nodes.add(id(node))
        stack = self._follow(inputs.get("lora_stack"))
        if stack is not None and depth < _MAX_STACKS:
            found += self._list_loras(stack, depth + 1)
        if "lora_name" in inputs:
            weight = self._resolve(inputs.get("strength_model", inputs.get("strength", 1.0)), "LoRA weight")
            one = (self._resolve(inputs["lora_name"], "LoRA"), 1.0 if weight is None else weight)
            encoders = self._resolve(inputs.get("strength_clip", one[1]), "LoRA weight")
            return [*found, one if encoders in (None, one[1]) else (*one, encoders)]
        for slot, value in inputs.items():
            number = re.fullmatch(r"lora_(?:name_)?(\d+)", slot)
            if number is None:
                continue
            at = number[1]
            if isinstance(value, dict):  # rgthree's: {"on": true, "lora": "x.safetensors", "strength": 1}
                entry = cast("dict[str, Any]", value)
                if entry.get("on", True):
                    found.append((entry.get("lora"), entry.get("strength", 1.0)))
            elif str(inputs.get(f"switch_{at}", "On")).lower() not in ("off", "false"):
                weights = (f"strength_{at}", f"model_weight_{at}", f"model_str_{at}", f"lora_wt_{at}")
                found.append((value, next((inputs[one] for one in weights if one in inputs), 1.0)))
        return [(name, weight) for name, weight in found if isinstance(name, str) and name not in ("", "None")]

    def _read_clip_skip(self, link: Any) -> dict[str, Any]:
        for encoder in self._walk_conditioning(link, "positive"):
            clip = encoder["inputs"].get("clip")
            for _ in range(_MAX_DEPTH):
                node = self._follow(clip)
                if node is None:
                    break
                if "stop_at_clip_layer" in node["inputs"]:
                    layer = self._resolve(node["inputs"]["stop_at_clip_layer"], "clip skip")
                    return {"clip_skip": -layer} if isinstance(layer, int) and layer < -1 else {}
                clip = node["inputs"].get("clip")
        return {}

    def _read_vae(self, sampler: str) -> dict[str, Any]:
        """The VAE file that the sampler's image is decoded with, where that is a file of its own."""
        for node in self._nodes.values():
            inputs = node["inputs"]
            if "VAEDecode" in node["class_type"] and sampler in _list_upstream(self._nodes, inputs.get("samples")):
                loader = self._follow(inputs.get("vae"))
                if loader is not None and "vae_name" in loader["inputs"]:
                    return {"vae": self._resolve(loader["inputs"]["vae_name"], "VAE")}
        return {}

    def _read_size(self, inputs: _Node) -> dict[str, Any]:
        link = inputs.get("latent_image", inputs.get("latent", inputs.get("samples")))
        for name in _list_upstream(self._nodes, link):
            sides = self._nodes[name]["inputs"]
            if "width" in sides and "height" in sides:
                self._read_nodes.add(id(self._nodes[name]))
                return {side: self._resolve(sides[side], side) for side in ("width", "height")}
        return {}


def _pick(inputs: _Node, slots: Iterable[str]) -> _Node:
    return {slot: inputs[slot] for slot in slots if isinstance(inputs.get(slot), str | int | float)}


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(cast("list[Any]", value)) == 2 and isinstance(value[0], str)


def _list_upstream(nodes: _Nodes, link: Any) -> list[str]:
    """The nodes that a link comes from, the nearest first."""
    waiting, found = [link], cast("dict[str, None]", {})
    while waiting:
        value = waiting.pop(0)
        if _is_link(value) and value[0] in nodes and value[0] not in found:
            found[value[0]] = None
            waiting += nodes[value[0]]["inputs"].values()
    return list(found)


def _find_first_sampler(nodes: _Nodes) -> str:
    """The sampler that no other one comes before, of those that lead to an image; "" when there is none."""
    samplers = [name for name, node in nodes.items() if _is_sampler(node)]
    outputs = [node for node in nodes.values() if _OUTPUT.search(node["class_type"])]
    used = {name for node in outputs for value in node["inputs"].values() for name in _list_upstream(nodes, value)}
    wanted = [name for name in samplers if name in used] or samplers
    for name in wanted:
        inputs = nodes[name]["inputs"]
        before = _list_upstream(nodes, inputs.get("latent_image", inputs.get("latent")))
        if not any(other in before for other in wanted if other != name):
            return name
    return wanted[0] if wanted else ""


def _is_sampler(node: _Node) -> bool:
    kind, inputs = node["class_type"], node["inputs"]
    return ("Sampler" in kind and ("latent_image" in inputs or "positive" in inputs)) or (
        "sampler_name" in inputs and "positive" in inputs
    )


def _copy_valid_nodes(graph: object) -> _Nodes:
    """A copy of the well-formed nodes, none when there are too many."""
    if not isinstance(graph, dict):
        return {}
    found: _Nodes = {}
    for name, node in cast("dict[Any, Any]", graph).items():
        fields = cast("dict[str, Any]", node) if isinstance(node, dict) else {}
        kind, inputs = fields.get("class_type"), fields.get("inputs")
        if isinstance(kind, str) and isinstance(inputs, dict):
            found[str(name)] = {"class_type": kind, "inputs": dict(cast("dict[str, Any]", inputs))}
    return found if len(found) <= _MAX_NODES else {}
