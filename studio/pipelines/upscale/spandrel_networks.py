"""Networks from files, through spandrel, which recognises the architecture by the tensors' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studio.core.errors import ModelBroken
from studio.core.settings import AUTOMATIC_PRECISIONS
from studio.core.weight_reading import read_tensors
from studio.core.weights import WeightFile
from studio.pipelines import device_memory
from studio.pipelines.catalog.file_headers import read_header

if TYPE_CHECKING:
    import torch


def load_network(file: WeightFile) -> Any:
    """spandrel's descriptor of the image network in `file`, on the CPU in 32-bit floats. Nothing in a file is ever
    executed: a pickle is read with torch's own `weights_only`, which builds tensors and nothing else.

    Raises:
        ModelBroken: damaged, foreign, or of no architecture that the loader knows; the file is named.
    """
    import spandrel

    try:
        network = spandrel.ModelLoader("cpu", _build_arch_registry()).load_from_state_dict(read_state_dict(file))
    except (spandrel.UnsupportedModelError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        if device_memory.is_out_of_memory(error):
            raise
        raise ModelBroken(
            f"{file.path.name} contains no known network.",
            hint="Download it again, or pick another one.",
            details={"file": file.path.name},
        ) from error
    if not isinstance(network, spandrel.ImageModelDescriptor):
        raise ModelBroken(
            f"{file.path.name} is an inpainting network, which is not supported.", hint="Pick another one."
        )
    return network.eval()


def read_state_dict(file: WeightFile) -> dict[str, torch.Tensor]:
    """The tensors in `file` by their names, without the wrappings that training leaves around them.

    Raises:
        ModelBroken: not such a file.
    """
    import pickle

    import spandrel
    import torch
    from safetensors import SafetensorError

    try:
        if file.path.suffix.lower() == ".safetensors":
            read_header(file.path)
            found = read_tensors(file.path)
        else:
            found = torch.load(file.path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise TypeError("not a table of tensors")
        return spandrel.canonicalize_state_dict(found)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        if device_memory.is_out_of_memory(error):
            raise
        raise ModelBroken(
            f"{file.path.name} is damaged or not a weight file and was not opened.",
            hint="Download it again, as .safetensors where there is one.",
            details={"file": file.path.name},
        ) from error


def _build_arch_registry() -> Any:
    """spandrel's own, and those of spandrel_extra_arches where it is installed, in a registry of our own."""
    import spandrel

    registry = spandrel.ArchRegistry()
    registry.add(*spandrel.MAIN_REGISTRY)
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError:
        return registry
    registry.add(*EXTRA_REGISTRY)
    return registry


def choose_dtype(network: Any, device: str, wanted: str) -> Any:
    """The torch dtype to run `network` in: what is `wanted`, or with "auto" half precision on a graphics card; where
    the architecture cannot, bfloat16 in place of float16, or float32."""
    import torch

    automatic = wanted in AUTOMATIC_PRECISIONS
    name = {"cpu": "float32", "mps": "float32"}.get(device, "float16") if automatic else wanted
    if name == "float16" and not network.supports_half:
        name = "bfloat16"
    if name == "bfloat16" and not network.supports_bfloat16:
        name = "float32"
    return getattr(torch, name)


@contextmanager
def hook_layers(network: torch.nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Within the block `check` is called before every layer of `network`, and may raise to stop it in the middle."""
    handles = [
        layer.register_forward_pre_hook(lambda *_: check())
        for layer in network.modules()
        if not any(True for _ in layer.children())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def measure_bytes_per_pixel(network: torch.nn.Module, run: Callable[[], Any], pixels: int) -> int:
    """Bytes that a run of `network` takes beside its weights, per px of the image, measured while `run` puts `pixels`
    px through it: those that the largest layer reads and writes, and a quarter more for the rest."""
    import torch

    most = 0

    def weigh(_: Any, given: Any, answer: Any) -> None:
        nonlocal most
        tensors = [one for one in (*given, answer) if isinstance(one, torch.Tensor)]
        most = max(most, sum(one.nbytes for one in tensors))

    handles = [
        layer.register_forward_hook(weigh) for layer in network.modules() if not any(True for _ in layer.children())
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return max(1, 5 * most // (4 * pixels))
