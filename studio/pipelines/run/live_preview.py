"""The image while it forms: the denoised image that the current step predicts, made visible cheaply."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import torch

SMALLEST_PREVIEW = 192  # px; a preview of few latent pixels is enlarged to this longest side


class StepRecorder:
    """Watches one run's scheduler and remembers, without copying, what its last step was given."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._last: tuple[Any, Any, Any] | None = None
        step = scheduler.step

        @functools.wraps(step)  # pipelines look at the signature
        def record_step(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            self._last = model_output, timestep, sample
            return step(model_output, timestep, sample, *args, **kwargs)

        scheduler.step = record_step

    def predict_clean(self) -> torch.Tensor:
        """The latents without noise that the last step predicts, shaped as the pipeline holds them. Call it after a
        step."""
        assert self._last is not None
        known = getattr(self._scheduler, "clean", None)
        if known is not None:
            return known
        output, timestep, sample = (part.float() if hasattr(part, "float") else part for part in self._last)
        scheduler = self._scheduler
        if not hasattr(scheduler, "alphas_cumprod") or getattr(scheduler.config, "use_flow_sigmas", False):
            return sample - float(timestep) / scheduler.config.num_train_timesteps * output
        keep = float(scheduler.alphas_cumprod[min(round(float(timestep)), len(scheduler.alphas_cumprod) - 1)])
        keep = max(keep, 1e-4)  # zero-terminal-SNR schedules begin at exactly 0
        if float(scheduler.init_noise_sigma) > 1.5:  # samples of Euler's kind are scaled up by the noise
            sample = sample * keep**0.5
        kind = scheduler.config.prediction_type
        if kind == "sample":
            return output
        if kind == "v_prediction":
            return keep**0.5 * sample - (1 - keep) ** 0.5 * output
        return (sample - (1 - keep) ** 0.5 * output) / keep**0.5


class Previewer:
    """Latents of one VAE's space as small RGB images.

    A tiny VAE decodes them itself. For any other the best linear map from latent channels to RGB is found once, by
    decoding a few random latents and least squares.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._decode = vae.decode
        self._map: torch.Tensor | None = None

    def prepare(self) -> None:
        """Find the map ahead of the first preview, where the VAE tells how many channels its latents have."""
        import torch

        channels = self._vae.config.get("latent_channels")
        if channels and type(self._vae).__name__ != "AutoencoderTiny":
            with torch.inference_mode():
                self._map = self._fit_map(channels)

    def decode_preview(self, latents: torch.Tensor, side: int) -> Image.Image:
        """The first of `latents` (n, channels, height, width), its longest side at most `side` px."""
        import torch

        with torch.inference_mode():
            tiny = type(self._vae).__name__ == "AutoencoderTiny"
            rgb = self._decode_tiny(latents[:1], side) if tiny else self._apply_map(latents[:1])
            pixels = rgb[0].clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        image = Image.fromarray(pixels, "RGB")
        longest = max(image.size)
        wanted = min(side, max(SMALLEST_PREVIEW, longest))
        size = tuple(max(1, round(length * wanted / longest)) for length in image.size)
        return image if size == image.size else image.resize((size[0], size[1]), Image.Resampling.BICUBIC)

    def _decode_tiny(self, latents: torch.Tensor, side: int) -> torch.Tensor:
        from torch.nn.functional import interpolate

        most = max(1, side // 8)
        if max(latents.shape[-2:]) > most:
            scale = most / max(latents.shape[-2:])
            latents = interpolate(latents, scale_factor=scale, mode="area", recompute_scale_factor=True)
        return self._decode_pixels(latents)

    def _apply_map(self, latents: torch.Tensor) -> torch.Tensor:
        channels = latents.shape[1]
        if self._map is None or len(self._map) != channels + 1:
            self._map = self._fit_map(channels)
        weights = self._map.to(latents.device)
        return (latents.float().movedim(1, -1) @ weights[:-1] + weights[-1]).movedim(-1, 1)

    def _fit_map(self, channels: int) -> torch.Tensor:
        """(channels + 1, 3): latent channels and a constant to RGB in -1 to 1."""
        import torch
        from torch.nn.functional import interpolate

        source = torch.Generator().manual_seed(0)
        coarse = torch.randn((16, channels, 3, 3), generator=source)
        smooth = interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=True)
        rgb = torch.cat([self._decode_pixels(one[None]).float().cpu() for one in smooth])
        rgb = interpolate(rgb, size=(8, 8), mode="area")
        known = smooth.movedim(1, -1).reshape(-1, channels)
        known = torch.cat([known, torch.ones(len(known), 1)], dim=1)
        return torch.linalg.lstsq(known, rgb.movedim(1, -1).reshape(-1, 3)).solution

    def _decode_pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) in -1 to 1 through the VAE, by the scaling that its config says."""
        import torch

        vae, config = self._vae, self._vae.config
        latents = latents.to(vae.device, vae.dtype)
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean and deviation:
            shape = (1, -1, 1, 1)
            scale = torch.tensor(deviation).view(shape).to(latents) / (config.get("scaling_factor") or 1.0)
            latents = latents * scale + torch.tensor(mean).view(shape).to(latents)
        else:
            latents = latents / (config.get("scaling_factor") or 1.0) + (config.get("shift_factor") or 0.0)
        if (
            "3d" in str(type(getattr(vae, "post_quant_conv", None))).lower() or "z_dim" in config
        ):  # video VAEs take frames
            return self._decode(latents.unsqueeze(2), return_dict=False)[0][:, :, 0]
        return self._decode(latents, return_dict=False)[0]


def can_show(pipe: Any, latents: torch.Tensor) -> bool:
    """Whether `unpack_latents` knows how this family holds its latents, and its VAE how many channels they have."""
    if latents.ndim in (4, 5):
        channels = pipe.vae.config.get("latent_channels") or pipe.vae.config.get("z_dim")
        return not channels or latents.shape[1] in (0, channels)
    return latents.ndim == 3 and "height" in _list_unpack_arguments(pipe)


def unpack_latents(pipe: Any, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Latents as the pipeline holds them as (n, channels, height, width). Call it only where `can_show` says yes."""
    if latents.ndim == 3:
        latents = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    return latents[:, :, 0] if latents.ndim == 5 else latents


def _list_unpack_arguments(pipe: Any) -> tuple[str, ...]:
    import inspect

    unpack = getattr(pipe, "_unpack_latents", None)
    return tuple(inspect.signature(unpack).parameters) if unpack is not None else ()
