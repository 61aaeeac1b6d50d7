"""LoRAs on a resident pipeline, put on for the job that names them and taken off for the next that does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import LoraUse
from studio.core.weights import WeightFile


class LoraAdapters:
    """The LoRAs that one pipeline wears at the moment. Consecutive passes of a job find theirs already on."""

    def __init__(self) -> None:
        self._worn: dict[WeightFile, str] = {}
        self._weights: tuple[float, ...] = ()

    def apply(self, pipe: Any, loras: Sequence[tuple[WeightFile, float]]) -> None:
        """Let `pipe` run with exactly these LoRAs; with none, every layer is the checkpoint's own again.

        Raises:
            InvalidRequest: a file whose layers do not fit the checkpoint; the pipeline is bare then.
        """
        files = [file for file, _ in loras]
        weights = tuple(weight for _, weight in loras)
        if files == list(self._worn) and weights == self._weights:
            return
        if files != list(self._worn):
            self.remove(pipe)
            for index, file in enumerate(files):
                self._worn[file] = f"lora{index}"
                try:
                    _load_lora(pipe, file, self._worn[file])
                except InvalidRequest:
                    self.remove(pipe)
                    raise
        if files:
            pipe.set_adapters(list(self._worn.values()), list(weights))
        self._weights = weights

    def remove(self, pipe: Any) -> None:
        """Restore the checkpoint's own layers."""
        if self._worn:
            pipe.unload_lora_weights()
        self._worn.clear()
        self._weights = ()


def check_lora_family(loras: Sequence[tuple[WeightFile, LoraUse]], family: str, title: str) -> None:
    """Refuse, before anything is loaded, a LoRA of another family.

    Raises:
        InvalidRequest: naming both families.
    """
    for file, _ in loras:
        if file.problem:
            raise InvalidRequest(f"The LoRA {file.name} cannot be used: {file.problem}", hint="Pick another LoRA.")
        if file.family and file.family != family:
            raise InvalidRequest(
                f"The LoRA {file.name} was made for {file.family}, and {title} is {family}.",
                hint="Pick a LoRA of the same family, or another model.",
                details={"lora": file.name, "family": file.family},
            )


def _load_lora(pipe: Any, file: WeightFile, name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        pipe.load_lora_weights(load_file(file.path), adapter_name=name)
    except (ValueError, RuntimeError, KeyError, AttributeError, SafetensorError) as error:
        # what diffusers and peft raise for keys they cannot place and shapes that do not match
        raise _make_lora_error(file) from error
    if name not in {worn for names in pipe.get_list_adapters().values() for worn in names}:
        raise _make_lora_error(file)


def _make_lora_error(file: WeightFile) -> InvalidRequest:
    return InvalidRequest(
        f"The layers of the LoRA {file.name} do not fit this model.",
        hint="It was made for another family; pick one that matches.",
        details={"lora": file.name},
    )
