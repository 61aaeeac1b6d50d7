"""AND inside the UNet: several conditions answered for in one call, so that the pipeline around it need not know.

Composition by weights as in "Compositional Visual Generation with Composable Diffusion Models" (Liu et al., 2022) and
in A1111: noise = negative + guidance · Σ weight · (condition − negative).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from studio.pipelines.network_forward import replace_forward
from studio.pipelines.run.region_loras import RegionLoras
from studio.pipelines.run.region_maps import RegionMaps


@dataclass(frozen=True)
class AreaWeight:
    """A weight that holds in one region alone, number `region` of `maps`."""

    weight: float
    maps: RegionMaps
    region: int

    def draw_map(self, noise: Any) -> Any:
        """The weight at every place of `noise` (images, channels, height, width)."""
        height, width = noise.shape[-2:]
        return self.weight * self.maps.draw(height, width)[self.region].to(noise.device, noise.dtype)


Weight = float | AreaWeight


@contextmanager
def compose_conditions(
    unet: Any, weights: tuple[Weight, ...], images: int, loras: RegionLoras | None = None
) -> Iterator[None]:
    """Within the block, `unet` takes embeddings in which one condition per weight lies side by side along the sequence
    (and pooled ones side by side along their width), and answers as if there were one condition that is all of them.

    The batch is [negative; positive] with guidance and just the positive without; then there is nothing to measure the
    conditions against, and their mean by weight is the answer. With `loras` the regions that have others of them are
    asked in a call of their own.
    """
    with replace_forward(unet, _build_composed_forward(unet.forward, weights, images, loras)):
        yield


def _build_composed_forward(
    forward: Any, weights: tuple[Weight, ...], images: int, loras: RegionLoras | None = None
) -> Any:
    count = len(weights)

    def forward_composed(
        sample: Any, timestep: Any, *, encoder_hidden_states: Any, return_dict: bool = True, **rest: Any
    ) -> Any:
        import torch

        guided = sample.shape[0] == 2 * images

        def repeat_conditions(value: Any) -> Any:
            """One copy per condition, of everything that comes per image."""
            if isinstance(value, torch.Tensor):
                if value.ndim == 0 or value.shape[0] != sample.shape[0]:
                    return value
                return torch.cat([*([value[:images]] if guided else []), *[value[-images:]] * count])
            if isinstance(value, Mapping):
                return {
                    key: split_conditions(item) if key == "text_embeds" else repeat_conditions(item)
                    for key, item in value.items()
                }
            return type(value)(map(repeat_conditions, value)) if isinstance(value, list | tuple) else value

        def split_conditions(value: torch.Tensor) -> torch.Tensor:
            """Conditions that lie side by side, one below the other."""
            along = value.shape[1] // count
            negative = [value[:images, :along]] if guided else []
            return torch.cat([*negative, *value[-images:].split(along, dim=1)])

        inputs = {
            "sample": repeat_conditions(sample),
            "timestep": repeat_conditions(timestep),
            "encoder_hidden_states": split_conditions(encoder_hidden_states),
            **{key: repeat_conditions(value) for key, value in rest.items()},
        }
        noise = _call_with_loras(forward, inputs, _list_row_regions(weights, images, guided=guided), loras)
        answer = _combine_noises(noise.split(images), weights, guided=guided)
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_composed


def _list_row_regions(weights: tuple[Weight, ...], images: int, *, guided: bool) -> list[int | None]:
    """The region of each row of the batch; None for the negative prompt, and where there are no regions."""
    own = [weight.region if isinstance(weight, AreaWeight) else None for weight in weights]
    return [region for region in [*([None] if guided else []), *own] for _ in range(images)]


def _call_with_loras(forward: Any, inputs: dict[str, Any], regions: list[int | None], loras: RegionLoras | None) -> Any:
    """The noise of all rows: in one call, or with `loras` in one for the rows of each set of them."""
    import torch

    if loras is None:
        return _call_forward(forward, inputs)
    rows = list(range(len(regions)))
    found: dict[int, torch.Tensor] = {}
    while rest := [row for row in rows if row not in found]:
        alike = [row for row in rest if loras.is_alike(regions[row], regions[rest[0]])]
        given = {name: _pick_rows(value, alike, len(rows)) for name, value in inputs.items()}
        with loras.put_on(regions[alike[0]]):
            noise = _call_forward(forward, given)
        found |= dict(zip(alike, noise.unbind(), strict=True))
    return torch.stack([found[row] for row in rows])


def _call_forward(forward: Any, inputs: dict[str, Any]) -> Any:
    sample, timestep, *_ = inputs.values()
    rest = {name: value for name, value in inputs.items() if name not in ("sample", "timestep")}
    return forward(sample, timestep, **rest, return_dict=False)[0]


def _pick_rows(value: Any, rows: list[int], count: int) -> Any:
    """`rows` of everything that has one of `count` rows each."""
    if isinstance(value, Mapping):
        return {key: _pick_rows(item, rows, count) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_pick_rows(item, rows, count) for item in value)
    return value[rows] if getattr(value, "ndim", 0) and value.shape[0] == count else value


def _combine_noises(noises: tuple[Any, ...], weights: tuple[Weight, ...], *, guided: bool) -> Any:
    import torch

    scales = [weight.draw_map(noises[0]) if isinstance(weight, AreaWeight) else weight for weight in weights]
    if not guided:
        total: Any = sum(scales)
        total = total.clamp(min=1e-6) if isinstance(total, torch.Tensor) else total or 1.0
        return torch.stack([noise * (scale / total) for noise, scale in zip(noises, scales, strict=True)]).sum(dim=0)
    negative, *conditions = noises
    moves = torch.stack([(noise - negative) * scale for noise, scale in zip(conditions, scales, strict=True)])
    return torch.cat([negative, negative + moves.sum(dim=0)])
