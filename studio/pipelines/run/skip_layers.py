"""Guidance away from what a transformer draws without some of its layers (skip-layer guidance of Stable Diffusion
3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest, parse_layers
from studio.pipelines.network_forward import replace_forward

_START = 0.01  # the fraction of the steps after which it begins, as diffusers and ComfyUI have it


@contextmanager
def guide_by_skipped_layers(pipe: Any, request: GenerationRequest, images: int) -> Iterator[None]:
    """Within the block the transformer of `pipe` answers so that a pipeline that guides by `request.guidance` adds
    `request.skip_layer_scale` times the way from the prediction without `request.skip_layers` to the prompt's, until
    the fraction `request.skip_layers_until` of the steps: as diffusers' pipeline for images from text does.

    Raises:
        InvalidRequest: a layer that the transformer does not have.
    """
    layers, there = parse_layers(request.skip_layers), int(pipe.transformer.config.num_layers)
    if max(layers) >= there:
        raise InvalidRequest(
            f"This model has no layer {max(layers)}.",
            hint=f"Its layers are 0 to {there - 1}.",
            details={"field": "skip_layers"},
        )
    with replace_forward(pipe.transformer, _build_forward(pipe, layers, request, images)):
        yield


def _build_forward(pipe: Any, layers: list[int], request: GenerationRequest, images: int) -> Any:
    forward, calls = pipe.transformer.forward, 0

    def forward_guided(hidden_states: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        nonlocal calls
        call, steps = calls, pipe.num_timesteps
        calls += 1
        if len(hidden_states) != 2 * images or not steps * _START < call < steps * request.skip_layers_until:
            return forward(hidden_states, return_dict=return_dict, **rest)
        answer = forward(hidden_states, return_dict=False, **rest)[0]
        given = {name: _cut_rows(value, 2 * images) for name, value in rest.items()}
        without = forward(hidden_states[images:], return_dict=False, skip_layers=layers, **given)[0]
        negative, positive = answer.chunk(2)
        share = request.skip_layer_scale / (request.guidance or 1.0)
        answer = torch.cat([negative, positive + share * (positive - without)])
        if not return_dict:
            return (answer,)
        from diffusers.models.modeling_outputs import Transformer2DModelOutput

        return Transformer2DModelOutput(sample=answer)

    return forward_guided


def _cut_rows(value: Any, rows: int) -> Any:
    """The second half of everything that comes per row of the batch."""
    if isinstance(value, list):
        return [_cut_rows(item, rows) for item in value]
    return value[rows // 2 :] if getattr(value, "ndim", 0) and value.shape[0] == rows else value
