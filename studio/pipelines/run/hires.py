"""The second pass: the first one's latents or images enlarged, and denoised again."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from studio.core.errors import InvalidRequest
from studio.core.feature import Feature
from studio.core.model import Model
from studio.core.request import GenerationRequest, Hires

if TYPE_CHECKING:
    import torch

LATENT_MODES: dict[str, tuple[str, bool]] = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
"""AUTOMATIC1111's names: torch's interpolation mode, and whether it is antialiased."""


def is_latent(hires: Hires) -> bool:
    """Whether the pass enlarges latents rather than images."""
    return hires.upscaler in LATENT_MODES


def build_second_request(request: GenerationRequest, hires: Hires, first: Model, model: Model) -> GenerationRequest:
    """The request of the second pass: `hires`' fields where they are set, else those of the first pass. `request` is
    resolved for the first model; another checkpoint brings its own sampler when the first pass left it open."""
    width, height = first.get_hires_size(request)
    sampler = hires.sampler or request.sampler
    known = model.sampling.combinations
    if hires.sampler is None and sampler is not None and known and sampler not in known:
        sampler = None  # the other checkpoint's family lacks the first pass's sampler
    merged = hires.token_merging_ratio or request.token_merging_ratio
    schedule = hires.schedule or (request.schedule if sampler == request.sampler else None)
    return request.replace(
        model=model.id,
        width=width,
        height=height,
        steps=hires.steps or request.steps,
        prompt=hires.prompt or request.prompt,
        negative_prompt=hires.negative_prompt or request.negative_prompt,
        guidance=request.guidance if hires.guidance is None else hires.guidance,
        token_merging_ratio=merged if Feature.TOKEN_MERGING in model.features else 0.0,
        sampler=sampler,
        schedule=schedule,
        hires=None,
    )


def compute_hires_steps(steps: int, strength: float) -> tuple[int, float]:
    """(num_inference_steps, strength) of an img2img call that really runs `steps` steps at the denoising strength that
    was asked for: A1111's meaning of hires steps. 0 < `strength` <= 1."""
    return next(
        (total, share)
        for total in itertools.count(max(steps, int(steps / min(strength, 0.999))))
        if (share := find_exact_strength(steps, total)) is not None
    )


def find_exact_strength(steps: int, total: int) -> float | None:
    """The strength at which an img2img call of `total` steps runs `steps` of them in every family; None where there is
    none."""
    # Families cut the schedule by rounding total · strength down on one side or the other. Both find `steps` where the
    # product is exact, which for a few totals no float gives.
    share = steps / total
    nearest = (share, math.nextafter(share, 1), math.nextafter(share, 0))
    return next((exact for exact in nearest if total * exact == steps), None)


def enlarge_latents(latents: torch.Tensor, mode: str, width: int, height: int, factor: int) -> torch.Tensor:
    """(n, channels, h, w) to (n, channels, `height` / `factor`, `width` / `factor`), lengths in px."""
    from torch.nn.functional import interpolate

    kind, antialias = LATENT_MODES[mode]
    size = (height // factor, width // factor)
    return interpolate(latents.float(), size=size, mode=kind, antialias=antialias).to(latents.dtype)


def check_hires(hires: Hires, first_family: str, family: str, upscalers: tuple[str, ...]) -> None:
    """Refuse a second pass that cannot follow the first.

    Raises:
        InvalidRequest: an unknown upscaler, or latents of one family for another.
    """
    known = (*LATENT_MODES, *upscalers)
    if hires.upscaler not in known:
        raise InvalidRequest(f"There is no upscaler {hires.upscaler!r}.", hint="There are: " + ", ".join(known) + ".")
    if is_latent(hires) and first_family != family:
        raise InvalidRequest(
            f"Latents of {first_family} are not compatible with {family}.", hint="Choose Lanczos as the hires upscaler."
        )
