"""What torch and diffusers can do faster by themselves, above all on a graphics card: compiled blocks, the kind of
attention, skipped blocks, the order of numbers in memory."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from studio.core.settings import Settings
from studio.pipelines.accelerate.small_weights import find_denoiser
from studio.pipelines.network_forward import replace_forward

# What is asked for first; the others follow for what it cannot do.
_ATTENTION = {
    "cudnn": "CUDNN_ATTENTION",
    "flash": "FLASH_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
}
COMPILE_NOTICE = "This model could not be compiled on this machine and runs as it is. The log says why."
STEP_CACHE_NOTICE = "Step cache: blocks that hardly changed since the last step were skipped; the image differs."

_log = logging.getLogger(__name__)


@contextmanager
def apply_torch_options(
    pipe: Any, settings: Settings, tell: Callable[[str], None], **compile_options: Any
) -> Iterator[None]:
    """Within the block the denoiser of `pipe` runs with the options of `settings`. `tell` hears what changes the image
    or cannot be had. `compile_options` are torch.compile's."""
    network = find_denoiser(pipe)
    with ExitStack() as stack:
        if network is not None:
            is_wanted = settings.accelerator == "compile"
            if not compile_blocks(network, is_wanted, **compile_options):
                tell("This model has no blocks that can be compiled; it runs as without.")
            elif is_wanted:
                stack.enter_context(_run_plain_after_failure(network, tell))
            if settings.fused_projections:
                stack.enter_context(_fuse_projections(network, tell))
            if settings.step_cache > 0:
                stack.enter_context(_skip_blocks(network, settings.step_cache, tell))
        stack.enter_context(prefer_attention(settings.attention))
        yield


def compile_blocks(network: Any, wanted: bool, **options: Any) -> bool:
    """Let the repeated blocks of a denoiser run compiled, or as they are. They are compiled by their first call, and
    stay so while `wanted`. False when they cannot be."""
    kinds = getattr(network, "_repeated_blocks", None) or ()
    blocks = [module for module in network.modules() if type(module).__name__ in kinds]
    if not wanted:
        for block in blocks:
            block._compiled_call_impl = None
        return True
    if not blocks:
        return False
    if any(block._compiled_call_impl is None for block in blocks):
        network.compile_repeated_blocks(**options)
    return True


@contextmanager
def _run_plain_after_failure(network: Any, tell: Callable[[str], None]) -> Iterator[None]:
    """Within the block a call whose blocks cannot be compiled, on a machine without a compiler for example, is answered
    by the blocks as they are, and so are those after it."""
    from torch._dynamo.exc import TorchDynamoException

    forward = network.forward

    @functools.wraps(forward)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return forward(*arguments, **named)
        except TorchDynamoException as error:
            _log.warning("the blocks of a resident model were not compiled: %s", error)
        compile_blocks(network, False)
        tell(COMPILE_NOTICE)
        return forward(*arguments, **named)

    with replace_forward(network, call):
        yield


def arrange_channels(vae: Any, last: bool) -> None:
    """Keep the weights of a VAE's convolutions with the channels of a pixel side by side, as graphics cards read them
    fastest, or in torch's usual order. Weights that lie so already are left alone."""
    import torch

    order = torch.channels_last if last else torch.contiguous_format
    for weight in vae.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=order)


@contextmanager
def _fuse_projections(network: Any, tell: Callable[[str], None]) -> Iterator[None]:
    """One product for query, key and value. Made anew for each block, as LoRAs that are merged change the weights."""
    if not hasattr(network, "fuse_qkv_projections") or _has_own_attention(network):
        tell("Fused projections were not used: the model or something in this job has its own attention.")
        yield
        return
    import torch

    before = network.attn_processors
    with torch.no_grad():
        network.fuse_qkv_projections()
    try:
        yield
    finally:
        network.set_attn_processor(before)
        for module in network.modules():
            if getattr(module, "fused_projections", False):
                _unfuse_projections(module)


def _has_own_attention(network: Any) -> bool:
    """Whether a LoRA, an adapter or weights in fewer bits answer for an attention's projections."""
    import torch

    processors = network.attn_processors.values()
    return any(isinstance(processor, torch.nn.Module) for processor in processors) or any(
        hasattr(layer, "base_layer") or hasattr(layer, "_diffusers_hook")  # a hook casts its weights as it is called
        for module in network.modules()
        for name in ("to_q", "to_k", "to_v")
        if (layer := getattr(module, name, None)) is not None
    )


def _unfuse_projections(attention: Any) -> None:
    """diffusers' own leaves the fused weights in memory in some families."""
    for name in ("to_qkv", "to_kv", "to_added_qkv"):
        if hasattr(attention, name):
            delattr(attention, name)
    attention.fused_projections = False


@contextmanager
def _skip_blocks(network: Any, threshold: float, tell: Callable[[str], None]) -> Iterator[None]:
    """diffusers' first-block cache, where the family has it."""
    if not hasattr(network, "enable_cache"):
        tell("The step cache is not available for this model.")
        yield
        return
    from diffusers.hooks.first_block_cache import FirstBlockCacheConfig

    network.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    tell(STEP_CACHE_NOTICE)
    try:
        yield
    finally:
        network.disable_cache()


def prefer_attention(choice: str) -> Any:
    """A context in which torch asks that kind of attention first; "auto" leaves the choice to torch."""
    if choice not in _ATTENTION:
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    first = getattr(SDPBackend, _ATTENTION[choice])
    rest = [getattr(SDPBackend, name) for name in _ATTENTION.values() if getattr(SDPBackend, name) != first]
    return sdpa_kernel([first, *rest], set_priority=True)
