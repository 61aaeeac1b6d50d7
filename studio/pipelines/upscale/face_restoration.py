"""Faces restored: found, brought upright, put through a network that knows faces, and put back."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import ModelBroken
from studio.core.finish import FaceRestoration
from studio.core.ports import JobContext
from studio.core.weights import WeightFile
from studio.pipelines.run.tone_matching import match_tones
from studio.pipelines.upscale import paste_faces, spandrel_networks
from studio.vision.faces import Face
from studio.vision.hidden_colours import fill_clear_pixels

if TYPE_CHECKING:
    import torch

RestorerCall = Callable[[Any, Any, float], Any]
"""(network, image in −1 to 1, fidelity) to the restored image in −1 to 1."""
_CALLS: MappingProxyType[str, RestorerCall] = MappingProxyType(
    {
        # Without the random noise that GFPGAN adds by default: the same image each time.
        "GFPGAN": lambda network, pixels, fidelity: network(pixels, return_rgb=False, randomize_noise=False)[0],
        "CodeFormer": lambda network, pixels, fidelity: network(pixels, weight=fidelity)[0],
        "RestoreFormer": lambda network, pixels, fidelity: network(pixels)[0],
    }
)


class Restorer:
    """A face restorer on its device. `components` is what the registry weighs."""

    def __init__(self, network: Any, device: str, precision: str = "auto") -> None:
        self._call = _CALLS[network.architecture.id]
        self.device = device
        self.dtype = spandrel_networks.choose_dtype(network, device, precision)
        network.to(device, self.dtype)
        self.components = {"model": network.model}

    @property
    def model(self) -> torch.nn.Module:
        return self.components["model"]

    def __call__(self, square: Any, fidelity: float) -> Any:
        """(512, 512, 3) 32-bit floats in 0 to 255, RGB, to the same."""
        import torch

        pixels = torch.from_numpy(square).permute(2, 0, 1)[None].div(127.5).sub(1)
        with torch.inference_mode():
            restored = self._call(self.model, pixels.to(self.device, self.dtype), fidelity)
        return restored[0].float().clamp(-1, 1).add(1).mul(127.5).permute(1, 2, 0).cpu().numpy()


def load_restorer(file: WeightFile, device: str, precision: str = "auto") -> Restorer:
    """The file through spandrel, on `device`.

    Raises:
        ModelBroken: damaged, or no GFPGAN, CodeFormer or RestoreFormer.
    """
    network = spandrel_networks.load_network(file)
    if network.architecture.id not in _CALLS:
        raise ModelBroken(
            f"{file.path.name} is not a face restorer but a {network.architecture.id} network.",
            hint="Pick GFPGAN, CodeFormer or RestoreFormer.",
        )
    return Restorer(network, device, precision)


def restore_faces(
    image: Image.Image, found: tuple[Face, ...], restorer: Restorer, options: FaceRestoration, ctx: JobContext
) -> Image.Image:
    """`image` with each of the `found` faces restored, in RGB, or RGBA where it was. The one face after the other;
    stopping is heard between any two layers of the network."""
    import numpy as np

    source = np.asarray(fill_clear_pixels(image))
    pixels = source.astype(np.float32)
    with spandrel_networks.hook_layers(restorer.model, ctx.raise_if_cancelled):
        for number, face in enumerate(found, 1):
            place = paste_faces.fit_placement(face)
            before = paste_faces.align_face(source, place)
            restored = match_tones(restorer(before, options.fidelity), before)
            paste_faces.paste_face(pixels, before, restored, place, options.visibility)
            ctx.report_progress(number, len(found))
    done = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    if image.mode == "RGBA":
        done.putalpha(image.getchannel("A"))
    return done
