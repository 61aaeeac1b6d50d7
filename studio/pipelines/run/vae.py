"""Another VAE for one job: loaded beside the checkpoint's own, never in place of it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.weight_reading import disable_mapping, use_lowercase_ending
from studio.core.weights import WeightFile


@dataclass(frozen=True)
class LoadedVae:
    """A VAE, and what the user should know of it, empty when its file was whole."""

    vae: Any
    notice: str = ""


def load_vae(file: WeightFile, own: Any) -> LoadedVae:
    """The VAE in `file`, on the device and in the number format of the checkpoint's `own`, whose config a single file
    takes, and whose weights stand in for those that the file lacks (an encoder, often).

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
                with use_lowercase_ending(file.path) as path:
                    vae = type(own).from_single_file(str(path), config=folder, local_files_only=True)
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise ModelBroken(f"The VAE {file.name} cannot be used with this model.", hint="Pick another VAE.") from error
    if vae.config.latent_channels != own.config.latent_channels:
        raise InvalidRequest(
            f"The VAE {file.name} has {vae.config.latent_channels} latent channels, the model"
            f" {own.config.latent_channels}.",
            hint="Pick a VAE of the model's family.",
        )
    notice = _fill_missing(vae, own, file)
    return LoadedVae(vae.to(own.device, own.dtype).eval(), notice)


def _fill_missing(vae: Any, own: Any, file: WeightFile) -> str:
    """Give `vae` the weights of `own` that its file lacks; returns what to say."""
    missing = [name for name, weight in vae.named_parameters() if weight.is_meta]
    if not missing:
        return ""
    known = own.state_dict()
    total = sum(1 for _ in vae.parameters())
    if any(name not in known for name in missing) or len(missing) == total:
        raise ModelBroken(f"The VAE {file.name} cannot be used with this model.", hint="Pick another VAE.")
    vae.load_state_dict({name: known[name].clone() for name in missing}, strict=False, assign=True)
    there = total - len(missing)
    return f"{there} of {total} weights of the VAE {file.name} are in its file; the rest is the model's own."
