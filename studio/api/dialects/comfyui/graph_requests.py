"""A graph as the studio's requests: read from each output backwards along its links."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops

from studio.api.dialects.automatic1111.names import find_checkpoint, find_upscaler
from studio.api.dialects.comfyui.conditioning_areas import ConditionPart, Conditions, place_conditions
from studio.api.dialects.comfyui.graph_checks import Graph, InvalidGraph, make_graph_error
from studio.api.dialects.comfyui.node_types import ENDING
from studio.api.dialects.fit_request import fit_to_model, measure_source
from studio.core.errors import InvalidRequest
from studio.core.finish import Finish, OutputOptions, Upscale
from studio.core.foreign_samplers import COMFYUI_SAMPLERS, COMFYUI_SCHEDULES
from studio.core.image_gate import ImageLimits
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_choices import MaskedContent, NoiseSource
from studio.core.request_parts import ControlUnit, Hires, Inpaint, LoraUse
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio

_MAX_VISITS = 300  # of nodes while one graph is read; each takes two frames of Python
_WHOLE_DENOISE = 0.9999  # above it a sampler runs its schedule from the beginning
_MAX_STEPS = 1000  # of a schedule
_LATENT_METHODS = {  # ComfyUI's ways of enlarging latents; the last two have no counterpart, but are near to these
    "nearest-exact": "Latent (nearest-exact)",
    "bilinear": "Latent",
    "bicubic": "Latent (bicubic)",
    "area": "Latent (antialiased)",
    "bislerp": "Latent (bicubic)",
}
_PNG = OutputOptions(format="png")


@dataclass(frozen=True, kw_only=True)
class GraphJob:
    """One request of a graph and the output nodes that show its images. `sampler` is the node that draws, for telling
    its progress."""

    request: GenerationRequest
    outputs: tuple[str, ...]
    sampler: str


class GraphReader:
    """Reads the graph of one caller; `find_file` gives the hash of an uploaded image by its name. Decodes images: use
    it in a thread."""

    def __init__(self, graph: Graph, studio: Studio, user: User, find_file: Callable[[str], str]) -> None:
        self._graph = graph
        self._studio = studio
        self._user = user
        self._find_file = find_file
        self._depth = 0

    def plan_jobs(self, outputs: list[str]) -> list[GraphJob]:
        """A job for every different image that `outputs` show.

        Raises:
            InvalidGraph: a way of connecting nodes that is not understood, the node named.
        """
        shown: dict[tuple[str, int], list[str]] = {}
        for name in outputs:
            link = self._graph[name]["inputs"]["images"]
            shown.setdefault((str(link[0]), int(link[1])), []).append(name)
        return [self._plan_job(source, names) for (source, _), names in shown.items()]

    def _plan_job(self, source: str, outputs: list[str]) -> GraphJob:
        request, sampler = self._read_image(source)
        model = self._studio.engine.model(request.model, request.task)
        size = measure_source(request, self._studio.engine, self._user)
        fitted, _ = fit_to_model(request.replace(model=model.id), model, source=size)
        return GraphJob(request=fitted.replace(file=_PNG), outputs=tuple(outputs), sampler=sampler)

    def _read_image(self, name: str) -> tuple[GenerationRequest, str]:
        """(the request that makes the image of node `name`, the node that draws it)."""
        node, inputs = self._enter(name)
        kind = node["class_type"]
        if kind == "VAEDecode":
            request, sampler = self._read_latent(self._follow(inputs["samples"]))
            return request.replace(vae=self._read_vae(inputs["vae"])), sampler
        if kind == "LoadImage":
            finish = GenerationRequest(task=Task.FINISH, source=self._find_file(str(inputs["image"])), finish=Finish())
            return finish, name
        if kind == "ImageUpscaleWithModel":
            loader = self._graph[self._follow(inputs["upscale_model"])]["inputs"]
            upscaler = find_upscaler(_strip_ending(str(loader["model_name"])), self._studio.engine.models(Task.UPSCALE))
            step = GenerationRequest(task=Task.UPSCALE, model=f"{UPSCALER_PREFIX}{upscaler}", upscale=Upscale())
            return self._append_step(inputs["image"], step, name)
        if kind == "ImageScale":
            finish = Finish(width=int(inputs["width"]) or None, height=int(inputs["height"]) or None)
            return self._append_step(inputs["image"], GenerationRequest(task=Task.FINISH, finish=finish), name)
        raise self._make_error(name)

    def _append_step(self, link: Any, step: GenerationRequest, name: str) -> tuple[GenerationRequest, str]:
        """`step` after what makes its image; on the image itself where that is an upload."""
        before, sampler = self._read_image(self._follow(link))
        if before.task is Task.FINISH and before.finish == Finish() and not before.then:
            return step.replace(source=before.source), name
        return before.replace(then=(*before.then, step)), sampler

    def _read_latent(self, name: str) -> tuple[GenerationRequest, str]:
        """(the request that makes the latents of node `name`, the node that draws them)."""
        node, inputs = self._enter(name)
        if node["class_type"] not in ("KSampler", "KSamplerAdvanced"):
            raise self._make_error(name)
        start = self._read_start(self._follow(inputs["latent_image"]))
        drawing = self._read_sampling(inputs, self._get_size(start))
        run, total = self._read_steps(name)
        if start.hires is not None:
            if not run:
                raise self._make_error(name, "A second pass that runs no step cannot be used.")
            if any(drawing[part] != getattr(start, part) for part in ("loras", "control", "clip_skip", "areas")):
                raise self._make_error(
                    name, "A second pass cannot have other LoRAs, ControlNets, CLIP layers or areas."
                )
            return _make_hires(start, drawing, (run, total)), name
        if start.source is None:
            return start.replace(**drawing, steps=run), name
        return start.replace(**drawing, steps=total, strength=run / total), name

    def _read_steps(self, name: str) -> tuple[int, int]:
        """(steps that the sampler node `name` runs, steps of the schedule whose last ones these are)."""
        node = self._graph[name]
        inputs = node["inputs"]
        steps = min(int(inputs["steps"]), _MAX_STEPS)
        if node["class_type"] == "KSampler":
            denoise = float(inputs["denoise"])
            if denoise > _WHOLE_DENOISE:
                return steps, steps
            if steps > _MAX_STEPS * denoise:  # its schedule would be too long: the same start in fewer steps
                run = int(_MAX_STEPS * denoise)
                return run, _MAX_STEPS if run else steps
            return steps, int(steps / denoise)
        whole = int(inputs["end_at_step"]) >= steps and str(inputs["add_noise"]) == "enable"
        if not whole or str(inputs["return_with_leftover_noise"]) == "enable":
            raise self._make_error(name, "Only a sampler that adds noise and runs to its last step can be used.")
        return max(0, steps - int(inputs["start_at_step"])), steps

    def _read_sampling(self, inputs: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        """The fields that a sampler node and its model and conditioning say; `size` in px is the image's."""
        positive = self._read_conditioning(self._follow(inputs["positive"]), "positive")
        against = self._follow(inputs["negative"])
        negative, *more = self._read_conditioning(against, "negative").parts
        if more or not negative.is_everywhere:
            raise self._make_error(against, "A negative prompt cannot have areas.")
        model, loras = self._read_model(self._follow(inputs["model"]))
        try:
            placed = place_conditions(positive.parts, size)
        except (ValueError, InvalidRequest) as error:
            raise self._make_error(self._follow(inputs["positive"]), str(error)) from error
        return {
            **placed,
            "model": model,
            "loras": loras,
            "negative_prompt": negative.text,
            "clip_skip": positive.clip_skip,
            "control": positive.units,
            "seed": int(inputs.get("seed", inputs.get("noise_seed", 0))) % (MAX_SEED + 1),
            "noise_source": NoiseSource.COMFYUI,
            "guidance": float(inputs["cfg"]),
            "sampler": COMFYUI_SAMPLERS.get(str(inputs["sampler_name"])),
            "schedule": COMFYUI_SCHEDULES.get(str(inputs["scheduler"])),
        }

    def _get_size(self, start: GenerationRequest) -> tuple[int, int]:
        """The size in px of the image that a sampler begins with."""
        if start.source is None:
            return start.width or 512, start.height or 512
        kept = self._studio.engine.get_input(start.source, self._user)
        return kept.width, kept.height

    def _read_start(self, name: str) -> GenerationRequest:
        """What a sampler begins with: an empty latent, an image, an image with a mask, or the result of another
        sampler, enlarged (then its hires pass is a mark for the second pass)."""
        node, inputs = self._enter(name)
        kind = node["class_type"]
        if kind in ("EmptyLatentImage", "EmptySD3LatentImage"):
            batch = int(inputs["batch_size"])
            return GenerationRequest(
                width=int(inputs["width"]) // 8 * 8,
                height=int(inputs["height"]) // 8 * 8,
                count=batch,
                batch_size=min(batch, 64),
            )
        if kind == "VAEEncode":
            return GenerationRequest(task=Task.IMG2IMG, source=self._load_image(inputs["pixels"]))
        if kind == "VAEEncodeForInpaint":
            return self._make_inpainting(inputs["pixels"], inputs["mask"], MaskedContent.NOISE)
        if kind == "SetLatentNoiseMask":
            encoder = self._graph[self._follow(inputs["samples"])]
            if encoder["class_type"] != "VAEEncode":
                raise self._make_error(name)
            return self._make_inpainting(encoder["inputs"]["pixels"], inputs["mask"], MaskedContent.ORIGINAL)
        if kind in ("LatentUpscale", "LatentUpscaleBy"):
            first, _ = self._read_latent(self._follow(inputs["samples"]))
            method = _LATENT_METHODS.get(str(inputs["upscale_method"]), _LATENT_METHODS["nearest-exact"])
            if "scale_by" in inputs:
                return first.replace(hires=Hires(upscaler=method, scale=max(1.0, float(inputs["scale_by"]))))
            width, height = int(inputs["width"]) // 8 * 8, int(inputs["height"]) // 8 * 8
            return first.replace(hires=Hires(upscaler=method, width=width or None, height=height or None))
        raise self._make_error(name)

    def _make_inpainting(self, pixels: Any, mask: Any, fill: MaskedContent) -> GenerationRequest:
        return GenerationRequest(
            task=Task.INPAINT,
            source=self._load_image(pixels),
            mask=self._load_mask(self._follow(mask), int(mask[1])),
            inpaint=Inpaint(fill=fill, mask_blur=0),
        )

    def _read_conditioning(self, name: str, side: str) -> Conditions:
        """What the conditioning of node `name` carries; `side` is the input of a ControlNet that it came by."""
        node, inputs = self._enter(name)
        kind = node["class_type"]
        if kind == "CLIPTextEncode":
            part = ConditionPart(text=str(inputs["text"]))
            return Conditions(parts=(part,), clip_skip=self._read_clip_skip(inputs["clip"]))
        if kind == "ConditioningZeroOut":
            return Conditions(parts=(ConditionPart(text=""),))
        if kind == "ConditioningCombine":
            one, other = (
                self._read_conditioning(self._follow(inputs[f"conditioning_{number}"]), side) for number in (1, 2)
            )
            if (one.clip_skip, one.units) != (other.clip_skip, other.units):
                raise self._make_error(name, "What is combined cannot have different ControlNets or CLIP layers.")
            return dataclasses.replace(one, parts=(*one.parts, *other.parts))
        if kind.startswith("ConditioningSet"):
            return self._read_area(kind, inputs, side)
        if kind in ("ControlNetApply", "ControlNetApplyAdvanced"):
            before = inputs["conditioning"] if kind == "ControlNetApply" else inputs[side]
            found = self._read_conditioning(self._follow(before), side)
            return dataclasses.replace(found, units=(*found.units, self._read_control(inputs)))
        raise self._make_error(name)

    def _read_area(self, kind: str, inputs: dict[str, Any], side: str) -> Conditions:
        """Conditioning that a node of `kind` sets to an area, a mask or a strength."""
        found = self._read_conditioning(self._follow(inputs["conditioning"]), side)
        strength = float(inputs["strength"])
        if kind == "ConditioningSetAreaStrength":
            return found.change_parts(strength=strength)
        if kind == "ConditioningSetMask":
            mask = self._load_mask(self._follow(inputs["mask"]), int(inputs["mask"][1]))
            return found.change_parts(mask=mask, strength=strength)
        x, y, width, height = (float(inputs[key]) for key in ("x", "y", "width", "height"))
        in_pixels = kind == "ConditioningSetArea"
        return found.change_parts(box=(x, y, width, height), in_pixels=in_pixels, strength=strength)

    def _read_control(self, inputs: dict[str, Any]) -> ControlUnit:
        loader = self._graph[self._follow(inputs["control_net"])]["inputs"]
        return ControlUnit(
            model=_strip_ending(str(loader["control_net_name"])),
            image=self._load_image(inputs["image"]),
            weight=min(float(inputs["strength"]), 2.0),
            start=float(inputs.get("start_percent", 0.0)),
            end=float(inputs.get("end_percent", 1.0)),
        )

    def _read_clip_skip(self, link: Any) -> int | None:
        node, inputs = self._enter(self._follow(link))
        if node["class_type"] == "CLIPSetLastLayer":
            return max(1, -int(inputs["stop_at_clip_layer"]))
        return self._read_clip_skip(inputs["clip"]) if node["class_type"] == "LoraLoader" else None

    def _read_model(self, name: str) -> tuple[str, tuple[LoraUse, ...]]:
        """(the model's id, its LoRAs in the order in which they are applied)."""
        node, inputs = self._enter(name)
        kind = node["class_type"]
        if kind in ("LoraLoader", "LoraLoaderModelOnly"):
            model, loras = self._read_model(self._follow(inputs["model"]))
            weight = float(inputs["strength_model"])
            encoder = float(inputs.get("strength_clip", weight))
            use = LoraUse(
                name=_strip_ending(str(inputs["lora_name"])),
                weight=weight,
                encoder_weight=None if encoder == weight else encoder,
            )
            return model, (*loras, use)
        if kind in ("CheckpointLoaderSimple", "UNETLoader"):
            file = str(inputs.get("ckpt_name", inputs.get("unet_name")))
            found = find_checkpoint(file, self._studio.engine.models(), self._studio.store.weights())
            return found or "", ()
        raise self._make_error(name)

    def _read_vae(self, link: Any) -> str | None:
        """The VAE of its own loader; None for the checkpoint's."""
        node, inputs = self._enter(self._follow(link))
        return _strip_ending(str(inputs["vae_name"])) if node["class_type"] == "VAELoader" else None

    def _load_image(self, link: Any) -> str:
        """The hash of an uploaded image, scaled where a node between says so."""
        name = self._follow(link)
        node, inputs = self._enter(name)
        if node["class_type"] == "LoadImage":
            return self._find_file(str(inputs["image"]))
        if node["class_type"] != "ImageScale":
            raise self._make_error(name)
        origin = self._load_image(inputs["image"])
        image = self._open(origin)
        size = int(inputs["width"]) or image.width, int(inputs["height"]) or image.height
        if size[0] * size[1] > ImageLimits.of(self._studio.settings.current).max_pixels:
            raise self._make_error(name, "The scaled image would be too large.")
        return self._studio.engine.keep_version(image.resize(size, Image.Resampling.LANCZOS), origin, self._user).hash

    def _load_mask(self, name: str, slot: int) -> str:
        """The hash of a mask, white where something is to change: the transparent parts of an image, or one of its
        channels."""
        node, inputs = self._enter(name)
        if node["class_type"] not in ("LoadImage", "LoadImageMask") or (
            node["class_type"] == "LoadImage" and slot != 1
        ):
            raise self._make_error(name)
        image = self._open(self._find_file(str(inputs["image"])))
        channel = str(inputs.get("channel", "alpha"))
        if channel == "alpha":
            mask = ImageChops.invert(image.convert("RGBA").getchannel("A"))
        else:
            mask = image.convert("RGB").getchannel(channel[0].upper())
        return self._studio.engine.keep_image(mask, self._user).hash

    def _open(self, content: str) -> Image.Image:
        with Image.open(self._studio.engine.get_kept_file(content, self._user)) as image:
            image.load()
            return image.copy()

    def _follow(self, link: Any) -> str:
        return str(link[0])

    def _enter(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        self._depth += 1
        if self._depth > _MAX_VISITS:  # a graph that runs in circles
            raise self._make_error(name)
        node = self._graph[name]
        return node, node["inputs"]

    def _make_error(self, name: str, message: str = "") -> InvalidGraph:
        kind = self._graph[name]["class_type"]
        message = message or f"The node {kind} cannot be used in this place."
        found: dict[str, Any] = {
            "type": "unsupported_connection",
            "message": message,
            "details": kind,
            "extra_info": {},
        }
        return make_graph_error(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            message,
            node_errors={name: {"errors": [found], "dependent_outputs": [], "class_type": kind}},
        )


def _make_hires(first: GenerationRequest, second: dict[str, Any], steps: tuple[int, int]) -> GenerationRequest:
    """The first pass with its second, of another sampler node that runs the last of `steps`."""
    assert first.hires is not None
    run, total = steps
    return first.replace(
        hires=dataclasses.replace(
            first.hires,
            strength=run / total,
            steps=run,
            guidance=second["guidance"],
            sampler=second["sampler"],
            schedule=second["schedule"],
            prompt=second["prompt"] if second["prompt"] != first.prompt else "",
            negative_prompt=second["negative_prompt"] if second["negative_prompt"] != first.negative_prompt else "",
            model=second["model"] if second["model"] != first.model else None,
        )
    )


def _strip_ending(name: str) -> str:
    return name.removesuffix(ENDING).removesuffix(".pth")
