"""Calls of a torch network by their pattern, so that one that was compiled for a pattern runs all calls of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class NetworkCall:
    """One call: its tensors in the order of its arguments, and everything else as the text `pattern`, equal for calls
    that one compiled network answers. `marks` are those of the network (see `describe_processors`). `leaves` and
    `structure` are what torch's pytree takes the arguments apart into."""

    tensors: tuple[Any, ...]
    pattern: str
    marks: str
    leaves: tuple[Any, ...]
    structure: Any

    @property
    def shapes(self) -> Shapes:
        return tuple(tuple(tensor.shape) for tensor in self.tensors)

    def find_tensor(self, keyword: str) -> int | None:
        """The place among `tensors` of the one that is given by this name."""
        import torch
        from torch.utils import _pytree

        _, named = _pytree.tree_unflatten(list(range(len(self.leaves))), self.structure)
        place = named.get(keyword)
        if not isinstance(place, int) or not isinstance(self.leaves[place], torch.Tensor):
            return None
        return sum(isinstance(leaf, torch.Tensor) for leaf in self.leaves[:place])

    def fill_arguments(self, tensors: Sequence[Any]) -> tuple[Any, Any]:
        """The arguments, positional and by name, with other `tensors` in place of its own."""
        import torch
        from torch.utils import _pytree

        rest = iter(tensors)
        leaves = [next(rest) if isinstance(leaf, torch.Tensor) else leaf for leaf in self.leaves]
        return _pytree.tree_unflatten(leaves, self.structure)


def read_call(arguments: Sequence[Any], named: Mapping[str, Any], marks: str) -> NetworkCall | None:
    """The call with these arguments of a network with `marks`. None for one that cannot be
    compiled: with numbers that may differ the next time, or whole results asked for by name."""
    import torch
    from torch.utils import _pytree

    leaves, structure = _pytree.tree_flatten((tuple(arguments), dict(named)))
    # Some samplers count timesteps in whole numbers, others in fractions; networks make floats of both.
    leaves = [leaf.float() if isinstance(leaf, torch.Tensor) and not leaf.ndim else leaf for leaf in leaves]
    tensors = tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
    others = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
    if not tensors or not all(leaf is None or isinstance(leaf, bool | str) for leaf in others):
        return None
    kinds = [f"{leaf.dtype}:{leaf.ndim}" if isinstance(leaf, torch.Tensor) else repr(leaf) for leaf in leaves]
    return NetworkCall(tensors, "|".join((str(structure), *kinds, marks)), marks, tuple(leaves), structure)


def describe_processors(network: Any) -> str | None:
    """The attention processors of a network and their places, as a short text; None where one has weights of its own,
    or a LoRA, a hook or a cache changes what a layer does."""
    import torch

    if getattr(network, "is_cache_enabled", False):
        return None
    processors: dict[str, Any] = getattr(network, "attn_processors", {})
    if any(isinstance(processor, torch.nn.Module) for processor in processors.values()):
        return None
    for module in network.modules():
        # Looked up as torch keeps them: its own lookup of a name that is not there takes most of this.
        if "base_layer" in module._modules or "_hf_hook" in module.__dict__ or module._forward_hooks:
            return None
    kinds = sorted((name, type(processor).__name__, repr(vars(processor))) for name, processor in processors.items())
    return hashlib.sha256(repr(kinds).encode()).hexdigest()[:16] if kinds else ""


def copy_network(network: Any) -> Any:
    """The network's modules anew around the same weights: what a job changes on the original does not reach it."""
    import copy

    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    patched = network.__dict__.pop("forward", None)
    try:
        return copy.deepcopy(network, shared).eval()
    finally:
        if patched is not None:
            network.forward = patched
