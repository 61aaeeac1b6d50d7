"""Another VAE for one job: loaded beside the checkpoint's own, never in place of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.weight_reading import disable_mapping, read_tensors
from studio.core.weights import WeightFile
from studio.pipelines.load_notices import add_load_notice, collect_load_notices, describe_unused

_OLD_ATTENTION_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True)
class LoadedVae:
    """A VAE, and what the user should know of it, nothing when its file was whole."""

    vae: Any
    notices: tuple[str, ...] = ()


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
        with collect_load_notices(f"the VAE {file.name}") as notices:
            if file.is_folder:
                name = json.loads((file.path / "config.json").read_text())["_class_name"]
                vae = getattr(diffusers, name).from_pretrained(file.path, local_files_only=True, use_safetensors=True)
            else:
                vae = _load_single_file(file, own)
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise ModelBroken(f"The VAE {file.name} cannot be used with this model.", hint="Pick another VAE.") from error
    if vae.config.latent_channels != own.config.latent_channels:
        raise InvalidRequest(
            f"The VAE {file.name} has {vae.config.latent_channels} latent channels, the model"
            f" {own.config.latent_channels}.",
            hint="Pick a VAE of the model's family.",
        )
    return LoadedVae(vae.to(own.device, own.dtype).eval(), tuple(notices))


def _load_single_file(file: WeightFile, own: Any) -> Any:
    """The VAE in one file, completed with `own`'s weights. diffusers' own loader refuses a file that lacks any.

    Raises:
        ValueError: it lacks the decoder. RuntimeError: its weights have other shapes.
    """
    import torch

    known = own.state_dict()
    given = _rename_weights(read_tensors(file.path), own, known.keys())
    there = {name: weight for name, weight in given.items() if name in known}
    missing = [name for name in known if name not in there]
    if not there or any(name.startswith("decoder.") for name in missing):
        raise ValueError("the decoder is not whole")
    with torch.device("meta"):
        vae = type(own).from_config(own.config)
    vae.load_state_dict({**there, **{name: known[name].clone() for name in missing}}, assign=True)
    if missing:
        add_load_notice(
            f"{len(there)} of {len(known)} weights of the VAE {file.name} are in its file; the rest is the model's own."
        )
    if len(there) < len(given):
        add_load_notice(describe_unused(len(given) - len(there), f"the VAE {file.name}", "the model's VAE"))
    return vae


def _rename_weights(tensors: Mapping[str, Any], own: Any, known: Set[str]) -> Mapping[str, Any]:
    """The tensors under diffusers' names, which are `known`: of the original layout, or of diffusers' first one."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    renamed = {_rename_attention(name): tensor for name, tensor in tensors.items()}
    layouts = [renamed]
    convert = SINGLE_FILE_LOADABLE_CLASSES.get(type(own).__name__, {}).get("checkpoint_mapping_fn")
    if convert is not None and not known >= renamed.keys():
        layouts.append(convert(checkpoint=dict(tensors), config=dict(own.config)))
    return max(layouts, key=lambda layout: sum(name in known for name in layout))


def _rename_attention(name: str) -> str:
    """The name of an attention's weight as diffusers has it today."""
    for old, new in _OLD_ATTENTION_NAMES.items():
        name = name.replace(old, new)
    return name
