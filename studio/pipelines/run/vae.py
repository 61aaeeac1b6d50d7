"""Another VAE for one job: loaded beside the checkpoint's own, never in place of it."""

from __future__ import annotations

import json
import tempfile
from typing import Any

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.weight_reading import disable_mapping
from studio.core.weights import WeightFile


def load_vae(file: WeightFile, own: Any) -> Any:
    """The VAE in `file`, on the device and in the number format of the checkpoint's `own`, whose config a single file
    takes.

    Raises:
        InvalidRequest: a VAE for another latent space.
        ModelBroken: a file that cannot be read as one.
    """
    import diffusers
    from safetensors import SafetensorError

    disable_mapping()
    try:
        if file.is_folder:
            name = json.loads((file.path / "config.json").read_text())["_class_name"]
            vae = getattr(diffusers, name).from_pretrained(file.path, local_files_only=True, use_safetensors=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                own.save_config(folder)
                vae = type(own).from_single_file(str(file.path), config=folder, local_files_only=True)
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise ModelBroken(f"The VAE {file.name} cannot be used with this model.", hint="Pick another VAE.") from error
    if vae.config.latent_channels != own.config.latent_channels:
        raise InvalidRequest(
            f"The VAE {file.name} has {vae.config.latent_channels} latent channels, the model"
            f" {own.config.latent_channels}.",
            hint="Pick a VAE of the model's family.",
        )
    return vae.to(own.device, own.dtype).eval()
