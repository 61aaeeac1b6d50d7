"""Fallbacks, in this order, when memory runs out during a run. Decoding in tiles comes before all of them,
inside the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from studio.core.errors import OutOfMemory
from studio.core.ports import ImageSeed, JobContext
from studio.pipelines import device_memory
from studio.pipelines.registry import PipelineKey, PipelineRegistry
from studio.pipelines.run.offloading import LAYERS

_UNITS = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


class OomFallbacks:
    """Runs attempts, and makes the next one smaller while memory runs out.

    The rungs: half the batch, down to one image (the images do not change by it); other checkpoints leave; on a
    graphics card, parts of the model wait outside, then single layers. Each is reported to the user.
    """

    def __init__(self, registry: PipelineRegistry, ctx: JobContext, *, device: str, offloaded: bool = False) -> None:
        self._registry = registry
        self._ctx = ctx
        self._device = device
        self.offloaded = offloaded
        self.offload_by = ctx.settings.offload
        self.working: PipelineKey | None = None  # the checkpoint of the running pass: it stays

    def run(self, seeds: Sequence[ImageSeed], attempt: Callable[[Sequence[ImageSeed]], list[Any]]) -> list[Any]:
        """`attempt(seeds)`, or the same images on a lower rung.

        Raises:
            OutOfMemory: the last rung failed too; `requested` and `available` in its details, in bytes.
        """
        try:
            return attempt(seeds)
        except (RuntimeError, MemoryError) as error:
            if not device_memory.is_out_of_memory(error):
                raise
            text = str(error)
        # Outside the handler: its traceback held the tensors of the failed attempt.
        device_memory.release_memory()
        self._ctx.raise_if_cancelled()
        if len(seeds) > 1:
            half = (len(seeds) + 1) // 2
            self._ctx.add_notice(f"Low memory: the batch size was reduced from {len(seeds)} to {half}.")
            return self.run(seeds[:half], attempt) + self.run(seeds[half:], attempt)
        left = self._registry.evict_one(keep=self.working)
        if left:
            self._ctx.add_notice(f"Low memory: {left} was unloaded.")
            return self.run(seeds, attempt)
        if self._device == "cuda" and not self.offloaded:
            self.offloaded = True
            self._registry.evict_one()  # the copy on the card, or it would lie beside the one that waits outside
            self._ctx.add_notice("Low memory: parts of the model were kept in system memory.")
            return self.run(seeds, attempt)
        if self.offloaded and self.offload_by != LAYERS:
            self.offload_by = LAYERS
            self._ctx.add_notice("Low memory: single layers of the model were kept in system memory.")
            return self.run(seeds, attempt)
        raise self._make_error(text)

    def _make_error(self, text: str) -> OutOfMemory:
        requested, available = _parse_requested_bytes(text), device_memory.read_total_and_free(self._device)[1]
        where = "graphics memory" if self._device == "cuda" else "memory"
        return OutOfMemory(
            f"There is not enough {where} for this image.",
            hint="Choose a smaller size or model, or switch hires fix off.",
            details={"requested": requested, "available": available},
        )


def _parse_requested_bytes(text: str) -> int:
    """The bytes that torch's message says it wanted, 0 when it does not say."""
    found = re.search(r"allocate ([\d.]+) ?(Ki|Mi|Gi)?(?:B|bytes)?", text)
    return int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
