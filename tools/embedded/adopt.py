"""Stage "adopt": take up the model that ships, so that training goes on from it where the state of its own is lost."""

from __future__ import annotations

import shutil

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextModel

from .control import RECIPE as CONTROL_RECIPE
from .control import build_controlnet
from .paths import CONTROLNET, MODEL, PARTS, STATE
from .trainer import Trainer
from .unet import RECIPE, build_unet


def adopt_model() -> None:
    """Write .train/parts, .train/unet.pt and .train/control.pt from what ships, in float32, as if nothing had been
    trained since.

    Raises:
        SystemExit: There is a state already, which would be lost.
    """
    if PARTS.exists() or (STATE / f"{RECIPE.name}.pt").exists():
        raise SystemExit(f"{STATE} holds a state already: move it away to begin with the model that ships")
    for name, part in (("vae", AutoencoderTiny), ("text_encoder", CLIPTextModel)):
        module = part.from_pretrained(MODEL / name)
        torch.nn.Module.float(module)
        module.save_pretrained(PARTS / name)
    shutil.copytree(MODEL / "tokenizer", PARTS / "tokenizer")
    unet = build_unet()
    copy_weights(UNet2DConditionModel.from_pretrained(MODEL / "unet"), unet)
    Trainer(unet, RECIPE).save()
    control = build_controlnet()
    copy_weights(ControlNetModel.from_pretrained(CONTROLNET), control)
    Trainer(control, CONTROL_RECIPE).save()
    print(f"{STATE} begins with models/embedded")


def copy_weights(shipped: torch.nn.Module, module: torch.nn.Module) -> None:
    """Give the module the weights that ship, in float32."""
    module.load_state_dict({name: value.float() for name, value in shipped.state_dict().items()})
