"""Numbers that are none: a model that overflows its number format draws black, unless somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from studio.core.errors import ModelBroken

UPCAST_NOTICE = "The VAE overflowed in half precision: the image was decoded in 32 bits."
_HINT = "Set the precision to float32 or bfloat16 in Configurations, or pick another model or VAE."


def check_latents(latents: Any, title: str) -> Any:
    """`latents` as they are.

    Raises:
        ModelBroken: some are no numbers.
    """
    if not _is_finite(latents):
        raise ModelBroken(f"{title} drew no image: its numbers overflowed while denoising.", hint=_HINT)
    return latents


def decode_finite(
    vae: Any, decode: Callable[..., Any], latents: Any, add_notice: Callable[[str], None], **kwargs: Any
) -> Any:
    """Decode `latents` by `decode`, the VAE's own; in 32 bits where fewer overflow, with a notice.

    Raises:
        ModelBroken: not even then there are numbers.
    """
    import torch

    found = decode(latents, **kwargs)
    if _is_finite(found[0]):
        return found
    kept = vae.dtype
    if kept != torch.float32:
        vae.to(torch.float32)
        try:
            found = decode(latents.float(), **kwargs)
        finally:
            vae.to(kept)
        if _is_finite(found[0]):
            add_notice(UPCAST_NOTICE)
            return found
    raise ModelBroken("The VAE made no image: its numbers overflowed.", hint=_HINT)


def _is_finite(tensor: Any) -> bool:
    import torch

    return bool(torch.isfinite(tensor).all())
