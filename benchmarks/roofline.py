"""How near images of a real size come to what this processor can do with 32-bit floats: the arithmetic of a whole image
over the speed of large matrix products, and the weights over the speed of reading, in turns with the images.

    python -m benchmarks roofline

Wants quiet cores, as every part is measured against another. The checkpoint, sides and rounds are those of real_size.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.real_size import (
    BARS,
    MODEL,
    ROUNDS,
    SIDES,
    STEPS,
    build_checkpoint,
    get_folder,
    settle_size,
    start_bare,
    start_ours,
)
from benchmarks.report import Row

_MATRIX = 4096  # rows of the matrices whose product shows the most that can be computed
_READ_BYTES = 2**30
_WINOGRAD = 36 / 144  # multiplications of F(4×4, 3×3) over those of the convolution as it is written


@dataclass(frozen=True)
class Work:
    """What one call of a network computes and reads: floating-point operations, those of them in convolutions of 3×3
    that Winograd's form is for, and bytes of weights."""

    operations: float
    convolutions: float
    weights: int

    @property
    def least_operations(self) -> float:
        """With all such convolutions in Winograd's form, whose additions are left out."""
        return self.operations - self.convolutions * (1 - _WINOGRAD)


@dataclass(frozen=True)
class Processor:
    """Floating-point operations and bytes read in a second, in all threads of torch."""

    operations: float
    reading: float


def rows() -> Iterator[Row]:
    folder = get_folder()
    build_checkpoint(folder / "models" / MODEL)
    measured: list[Processor] = []
    with start_bare(folder) as bare, start_ours(folder) as ours:
        for side in SIDES:
            settle_size(ours, side)
            taken: dict[str, list[float]] = {"bare": [], "ours": []}
            bare.call(side)
            ours.call(side)
            for _ in range(ROUNDS):
                taken["bare"].append(bare.call(side).wall)
                taken["ours"].append(ours.call(side).wall)
                measured.append(measure_processor())
            median = {who: statistics.median(seconds) for who, seconds in taken.items()}
            yield from compare(side, take_median(measured), median["bare"], median["ours"])


def compare(side: int, processor: Processor, bare: float, ours: float) -> Iterator[Row]:
    """What the arithmetic of an image of `side` px takes at the least, against the seconds `bare` and `ours` took."""
    unet, decoder = count_image(side)
    reading = unet.weights / processor.reading
    least = STEPS * max(unet.operations / processor.operations, reading) + decoder.operations / processor.operations
    fewer = STEPS * max(unet.least_operations / processor.operations, reading)
    fewer += decoder.least_operations / processor.operations
    total = (STEPS * unet.operations + decoder.operations) / 1e12
    speed = f"{processor.operations / 1e9:.0f} GFLOP/s, reading {processor.reading / 2**30:.1f} GiB/s"
    name, bar = f"SD 1.5 size, {side}²", BARS.get(side, 0.55)
    yield Row(f"{name}: its arithmetic at full speed / bare", least / bare, bar, note=f"{total:.2f} TFLOP, {speed}")
    note = f"{least:.1f} s; bare {bare:.1f} s, {least / bare:.0%} of full speed"
    yield Row(f"{name}: ours / its arithmetic at full speed", ours / least, 1.5, note=f"ours {ours:.1f} s, {note}")
    yield Row(f"{name}: the same with Winograd's form everywhere / bare", fewer / bare, bar, note=f"{fewer:.1f} s")


def count_image(side: int) -> tuple[Work, Work]:
    """What a call of the UNet, with and without the prompt, and of the decoder compute for an image of `side` px."""
    import torch

    from studio.pipelines.families._parts import CONFIGS

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time

    config, latent = CONFIGS / "sd15", side // 8
    kinds = {"unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL}
    with torch.device("meta"):
        unet, vae = (kind.from_config(kind.load_config(config / name)).eval() for name, kind in kinds.items())
        prompts = torch.empty(2, 77, unet.config.cross_attention_dim)
        pair, single = (torch.empty(count, 4, latent, latent) for count in (2, 1))
        return (
            count_work(unet, lambda: unet(pair, torch.empty(1), encoder_hidden_states=prompts)),
            count_work(vae.decoder, lambda: vae.decoder(single)),
        )


def count_work(network: Any, call: Callable[[], Any]) -> Work:
    """What `call`, which calls `network`, computes. Nothing is computed where the network is on torch's "meta"
    device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    convolutions: list[float] = []

    def note_convolution(layer: Any, _: Any, found: Any) -> None:
        if layer.kernel_size == (3, 3) and layer.stride == (1, 1):
            convolutions.append(2.0 * found.numel() * layer.weight[0].numel())

    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    hooks = [layer.register_forward_hook(note_convolution) for layer in layers]
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            call()
    finally:
        for hook in hooks:
            hook.remove()
    weights = sum(weight.nbytes for weight in network.parameters())
    return Work(float(counter.get_total_flops()), sum(convolutions), weights)


def measure_processor() -> Processor:
    """The fastest of three products of large matrices and of three sums of a gibibyte, after one of each."""
    import torch

    one, other = (torch.rand(_MATRIX, _MATRIX) for _ in range(2))
    numbers = torch.ones(_READ_BYTES // 4)
    with torch.inference_mode():
        product = min(_time(lambda: one @ other) for _ in range(4))
        reading = min(_time(numbers.sum) for _ in range(4))
    return Processor(2.0 * _MATRIX**3 / product, _READ_BYTES / reading)


def take_median(measured: list[Processor]) -> Processor:
    """The median of each figure."""
    return Processor(
        statistics.median(one.operations for one in measured), statistics.median(one.reading for one in measured)
    )


def _time(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
