"""The resident checkpoints, and which to unload when memory is short."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.core.ports import ResidentModel
from studio.core.weights import WeightFile
from studio.pipelines import device_memory
from studio.pipelines.accelerate.cuda_graphs import RecordedGraphs
from studio.pipelines.catalog.file_stamps import FileStamp, read_stamp
from studio.pipelines.load_notices import collect_load_notices
from studio.pipelines.run.live_preview import Previewer
from studio.pipelines.run.lora import LoraAdapters
from studio.pipelines.run.prompt_cache import PromptCache
from studio.pipelines.run.vae import LoadedVae, load_vae

if TYPE_CHECKING:
    from studio.pipelines.accelerate.accelerator import AcceleratedNetwork


@dataclass(frozen=True)
class PipelineKey:
    """A checkpoint loaded in one way: on `device`, with the torch dtype of that name, or waiting outside the device.
    `stamp` is that of its file when it is requested, and not compared."""

    model: str
    device: str
    dtype: str
    offloaded: bool = False
    stamp: FileStamp = field(default=(), compare=False)


@dataclass
class ResidentPipeline:
    """One resident pipeline. Its components are shared by every pipeline that a job builds from them."""

    key: PipelineKey
    title: str
    pipe: Any
    bytes: int
    leases: int = 0
    used: float = field(default_factory=time.monotonic)
    adapters: LoraAdapters = field(default_factory=LoraAdapters)
    notices: tuple[str, ...] = ()  # what its loader left out, for every job that uses it

    def report_notices(self, tell: Callable[[str], None]) -> None:
        """Tell the user of a job what the loader left out."""
        for notice in self.notices:
            tell(notice)

    def get_previewer(self, vae: Any) -> Previewer:
        """The previewer of `vae`, made once per VAE."""
        if self._previewer is None or self._previewer[0] is not vae:
            self._previewer = vae, Previewer(vae)
        return self._previewer[1]

    def load_vae(self, file: WeightFile | None) -> LoadedVae:
        """The VAE in `file`, kept until another one is asked for; the checkpoint's own for None."""
        if file is None:
            return LoadedVae(self.pipe.vae)
        wanted = file, read_stamp(file.path)
        if self._vae is None or self._vae[0] != wanted:
            self._vae = None
            self._vae = wanted, load_vae(file, self.pipe.vae)
        return self._vae[1]

    prompts: PromptCache = field(default_factory=PromptCache)
    accelerated: dict[str, AcceleratedNetwork] = field(default_factory=dict[str, "AcceleratedNetwork"])
    """What runs networks of the pipeline faster than torch does, by the network's name."""
    graphs: RecordedGraphs = field(default_factory=RecordedGraphs)
    """The denoiser's calls as CUDA graphs, which hold memory of the card."""
    background: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever reads the weights outside of a job, such as what compiles them."""
    has_left: bool = False
    _previewer: tuple[Any, Previewer] | None = None
    _vae: tuple[tuple[WeightFile, FileStamp], LoadedVae] | None = None


class PipelineRegistry:
    """Resident pipelines under a budget in bytes, asked for anew each time.

    `lease` loads or reuses one and keeps it for the length of a block. When the budget would be passed, the pipeline
    that was used least recently leaves; one in use never does.
    """

    def __init__(self, budget: Callable[[], int]) -> None:
        self._budget = budget
        self._held: dict[PipelineKey, ResidentPipeline] = {}
        self._lock = threading.RLock()
        self._loading = threading.RLock()

    @contextmanager
    def lease(
        self, key: PipelineKey, title: str, load: Callable[[], Any], *, expected: int, working: int = 0
    ) -> Iterator[ResidentPipeline]:
        """The pipeline of `key`, loaded by `load` when it is not resident. `expected` bytes are what it may weigh,
        `working` what the run needs besides; others leave until both fit, and again if it weighs more than that.

        Raises:
            what `load` raises; memory is then where it was before.
        """
        with self._loading:  # one at a time: whoever asks for the same pipeline meanwhile finds it
            held = self._held.get(key)
            self.make_room((0 if held else expected) + working, keep=key)
            if held is None:
                held = self._load_pipeline(key, title, load)
                self.make_room(working, keep=key)
            with self._lock:
                held.leases += 1
        try:
            yield held
        finally:
            with self._lock:
                held.leases -= 1
                held.used = time.monotonic()

    def drop_changed(self, key: PipelineKey, title: str, add_notice: Callable[[str], None]) -> None:
        """Let what is resident go, and say so, when its file is not the one it was read from."""
        with self._lock:
            held = self._held.get(key)
            if held is None or held.leases or not key.stamp or held.key.stamp in ((), key.stamp):
                return
            leaving = [self._held.pop(key)]
        del held
        _release(leaving)
        add_notice(f"The file of {title} has changed since it was read, and was read again.")

    def make_room(self, wanted: int, *, keep: PipelineKey | None = None) -> None:
        """Let the least recently used idle pipelines go until `wanted` bytes fit beside the rest, or none is left to
        go."""
        while self.resident_bytes + wanted > self._budget() and self.evict_one(keep=keep):
            pass

    def has_room(self, wanted: int) -> bool:
        """Whether `wanted` bytes fit beside everything that is resident."""
        return self.resident_bytes + wanted <= self._budget()

    def measure_room(self) -> int:
        """Bytes that are left beside everything that is resident; less than none where the budget became smaller."""
        return self._budget() - self.resident_bytes

    def measure_idle(self) -> int:
        """Bytes of resident pipelines that may leave."""
        with self._lock:
            return sum(held.bytes for held in self._held.values() if not held.leases)

    def reserve(self, held: ResidentPipeline, wanted: int) -> bool:
        """Count `wanted` more bytes for a resident pipeline, whatever it holds them for, until it leaves. False when
        they do not fit or the pipeline has left."""
        with self._lock:
            if self._held.get(held.key) is not held or not self.has_room(wanted):
                return False
            held.bytes += wanted
            return True

    def give_up(self, held: ResidentPipeline, reserved: int) -> None:
        """Count `reserved` bytes no more that were reserved for nothing."""
        with self._lock:
            held.bytes -= reserved

    def evict_one(self, *, keep: PipelineKey | None = None) -> str:
        """Let the idle pipeline that was used least recently go. Returns its title, "" when there is none."""
        with self._lock:
            idle = [held for held in self._held.values() if not held.leases and held.key != keep]
            if not idle:
                return ""
            leaving = [self._held.pop(min(idle, key=lambda held: held.used).key)]
            idle.clear()
        title = leaving[0].title
        _release(leaving)
        return title

    def get_resident(self, model: str) -> ResidentPipeline:
        """The resident pipeline of this checkpoint.

        Raises:
            KeyError: it is not resident.
        """
        with self._lock:
            return {key.model: held for key, held in self._held.items()}[model]

    def is_resident(self, key: PipelineKey) -> bool:
        """Whether the pipeline of `key` is in memory."""
        with self._lock:
            return key in self._held

    def evict(self, model: str) -> None:
        """Let every idle pipeline of this checkpoint go."""
        with self._lock:
            keys = [key for key, held in self._held.items() if key.model == model and not held.leases]
            leaving = [self._held.pop(key) for key in keys]
        _release(leaving)

    def clear(self) -> None:
        """Let every idle pipeline go."""
        while self.evict_one():
            pass

    def release_working_memory(self) -> None:
        """Give back what accelerated networks worked with."""
        with self._lock:
            networks = [network for held in self._held.values() for network in held.accelerated.values()]
        for network in networks:
            network.release_memory()

    @property
    def resident_bytes(self) -> int:
        with self._lock:
            return sum(held.bytes for held in self._held.values())

    def list_residents(self) -> tuple[ResidentModel, ...]:
        """The resident pipelines, longest idle last."""
        now = time.monotonic()
        with self._lock:
            held = sorted(self._held.values(), key=lambda held: -held.used)
        return tuple(
            ResidentModel(
                model=one.key.model,
                title=one.title,
                bytes=one.bytes,
                in_use=one.leases > 0,
                idle=now - one.used,
                gains={name: network.gain for name, network in one.accelerated.items() if network.gain},
            )
            for one in held
        )

    def _load_pipeline(self, key: PipelineKey, title: str, load: Callable[[], Any]) -> ResidentPipeline:
        with ExitStack() as failed:
            failed.callback(device_memory.release_memory)  # of what had been read before it failed
            with collect_load_notices(title) as notices:
                pipe = load()
            held = ResidentPipeline(key, title, pipe, device_memory.count_weight_bytes(pipe), notices=tuple(notices))
            failed.pop_all()
        device_memory.release_memory()  # what loading worked with, which the C library would keep
        with self._lock:
            self._held[key] = held
        return held


def _release(leaving: list[ResidentPipeline]) -> None:
    """Empty the list of pipelines that nobody finds any more, and give their memory back."""
    while leaving:
        _let_go(leaving.pop())
    device_memory.release_memory()


def _let_go(held: ResidentPipeline) -> None:
    """Tell what still reads the weights in the background, and wait for it: until then their memory is not free."""
    held.has_left = True
    with held.background:
        held.accelerated.clear()
        held.graphs.clear()
