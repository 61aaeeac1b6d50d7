"""The noise of one image as other programs draw it: by noise source, with a seed of its own for later noise, and fitted
from the size that a seed belongs to.

The order of draws is AUTOMATIC1111's: the first noise and every step's come from one generator of the image. ComfyUI
draws a whole batch from one generator, the first noise on the CPU and that of the steps on the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from studio.core.ports import ImageSeed
from studio.core.request import MAX_SEED, GenerationRequest, parse_size
from studio.core.request_choices import NoiseSource
from studio.pipelines.run.philox import draw_normals

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]


class _Stream(Protocol):
    def draw(self, shape: Shape) -> torch.Tensor: ...


class _TorchStream:
    """A CPU generator of torch, from which the image at `index` of a batch is cut."""

    def __init__(self, seed: int, index: int) -> None:
        import torch

        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._index = index

    def draw(self, shape: Shape) -> torch.Tensor:
        import torch

        return torch.randn((self._index + 1, *shape), generator=self._generator)[self._index]


class _PhiloxStream:
    """A card's generator, from which the image at `index` of a batch is cut."""

    def __init__(self, seed: int, index: int) -> None:
        self._seed = seed
        self._index = index
        self._draws = 0

    def draw(self, shape: Shape) -> torch.Tensor:
        import math

        import torch

        count = math.prod(shape)
        numbers = draw_normals(self._seed, self._draws, count, self._index * count)
        self._draws += 1
        return torch.from_numpy(numbers).reshape(shape)


class ImageNoise:
    """All noise of one image. Shapes are those of its latents without the batch; tensors are float32 on the CPU."""

    def __init__(self, seed: ImageSeed, request: GenerationRequest, factor: int) -> None:
        """`factor` is how many px a latent stands for."""
        self._seed = seed
        self._source = request.noise_source
        self._strength = request.variation_strength if seed.variation is not None else 0.0
        width, height = parse_size(request.seed_resize) if request.seed_resize else (0, 0)
        self._size = (height // factor, width // factor)
        self._main = self._open_first(seed.seed)
        delta = request.noise_seed_delta
        self._later = self._main if not delta and self._source is not NoiseSource.COMFYUI else self._open_later(delta)
        self._began = False

    def draw(self, shape: Shape) -> torch.Tensor:
        """The first noise when it was not drawn yet, else the next step's."""
        return self._later.draw(shape) if self._began else self.draw_first(shape)

    def draw_first(self, shape: Shape) -> torch.Tensor:
        """The noise that the image begins with."""
        self._began = True
        wanted = (*shape[:-2], *self._size) if all(self._size) else shape
        noise = self._main.draw(shape) if wanted == shape else self._open_first(self._seed.seed).draw(wanted)
        if self._strength and self._seed.variation is not None:
            noise = slerp(noise, self._open_first(self._seed.variation).draw(wanted), self._strength)
        return noise if wanted == shape else _put_in_the_middle(noise, self._main.draw(shape))

    def _open_first(self, seed: int) -> _Stream:
        kind = _PhiloxStream if self._source is NoiseSource.NV else _TorchStream
        return kind(seed, self._seed.batch_index)

    def _open_later(self, delta: int) -> _Stream:
        kind = _TorchStream if self._source is NoiseSource.CPU else _PhiloxStream
        return kind((self._seed.seed + delta) % (MAX_SEED + 1), self._seed.batch_index)


def slerp(low: torch.Tensor, high: torch.Tensor, fraction: float) -> torch.Tensor:
    """From `low` to `high` along the arc, column by column (the last axis but one) as AUTOMATIC1111 does, so that its
    variations come out the same. Where the two agree, `low` stays."""
    import torch

    a, b = low.float(), high.float()
    lengths = a.norm(dim=-2, keepdim=True) * b.norm(dim=-2, keepdim=True)
    angle = torch.acos(((a * b).sum(dim=-2, keepdim=True) / lengths).clamp(-1, 1))
    sine = torch.sin(angle)
    mixed = (torch.sin((1 - fraction) * angle) * a + torch.sin(fraction * angle) * b) / sine
    return torch.where(sine < 1e-4, a, mixed).to(low.dtype)


def _put_in_the_middle(noise: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
    """`around` with `noise` over its middle; what is larger than it is cut evenly on both sides."""
    into: list[slice] = []
    out_of: list[slice] = []
    for inner, outer in zip(noise.shape[-2:], around.shape[-2:], strict=True):
        shift = (outer - inner) // 2
        length = inner if shift >= 0 else inner + 2 * shift
        into.append(slice(max(shift, 0), max(shift, 0) + length))
        out_of.append(slice(max(-shift, 0), max(-shift, 0) + length))
    around[..., into[0], into[1]] = noise[..., out_of[0], out_of[1]]
    return around


class NoiseAnswers:
    """Answers `torch.randn` in place of the generators of `noises`, and of any other as the noise source would."""

    def __init__(
        self, noises: Sequence[ImageNoise], generators: Sequence[torch.Generator], source: NoiseSource
    ) -> None:
        self._source = source
        self._generators = list(generators)  # kept alive: they are known by identity
        self._noises = {id(generator): noise for generator, noise in zip(generators, noises, strict=True)}

    def apply(self, function: Any) -> Any:
        """`function`, within which drawn noise is answered for; its signature stays."""
        import functools

        @functools.wraps(function)  # pipelines look at the signature
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._make_mode():
                return function(*args, **kwargs)

        return call

    def _make_mode(self) -> Any:
        import torch
        from torch.overrides import TorchFunctionMode

        answer = self._answer

        class DrawnElsewhere(TorchFunctionMode):
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                given = kwargs or {}
                found = answer(args, given) if func is torch.randn else None
                return func(*args, **given) if found is None else found

        return DrawnElsewhere()

    def _answer(self, args: Sequence[Any], given: Mapping[str, Any]) -> torch.Tensor | None:
        generator = given.get("generator")
        if generator is None:
            return None
        size = given.get("size", args[0] if args and not isinstance(args[0], int) else args)
        shape = tuple(int(side) for side in size)
        noise = self._noises.get(id(generator))
        if noise is not None:
            drawn = noise.draw(shape[1:])[None]
        elif self._source is NoiseSource.NV:  # the branches of a Brownian tree, each with a seed of its own
            drawn = _PhiloxStream(generator.initial_seed(), 0).draw(shape)
        else:
            return None
        return drawn.to(device=given.get("device"), dtype=given.get("dtype"))
