"""LoRAs on a resident pipeline, put on for the job that names them and taken off for the next that does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studio.core.block_weights import parse_blocks
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.request import LoraUse
from studio.core.weight_reading import disable_mapping, read_tensors
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind, is_same_name
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.file_stamps import FileStamp, read_stamp
from studio.pipelines.run.lora_blocks import scale_blocks
from studio.pipelines.run.lora_merge import AppliedLayers, MergedLoras, needs_merging

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog

_Applied = tuple[tuple[WeightFile, FileStamp, str], ...]
_DENOISERS = ("unet", "transformer")
_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class LoraAdapters:
    """The LoRAs that one pipeline wears at the moment. Consecutive passes of a job find theirs already on.

    What diffusers can apply is an adapter of its own; the rest is merged into the weights.
    """

    def __init__(self) -> None:
        self._applied: _Applied = ()
        self._uses: tuple[LoraUse, ...] = ()
        self._adapters: dict[int, str] = {}
        self._merged = MergedLoras()
        self._notices: tuple[str, ...] = ()
        self.changes = 0
        """How often the pipeline's layers were changed or restored."""

    @property
    def is_active(self) -> bool:
        """Whether any LoRA is on."""
        return bool(self._applied)

    def apply(self, pipe: Any, loras: Sequence[tuple[WeightFile, LoraUse]]) -> tuple[str, ...]:
        """Let `pipe` run with exactly these LoRAs; with none, every layer is the checkpoint's own again. Returns what
        the user should know: which of them the model takes in part only.

        Raises:
            InvalidRequest: a file whose layers do not fit the checkpoint; the pipeline is bare then.
        """
        applied = tuple((file, read_stamp(file.path), use.blocks) for file, use in loras)
        uses = tuple(use for _, use in loras)
        if applied == self._applied and uses == self._uses:
            return self._notices
        self.changes += 1
        if applied != self._applied or len(self._adapters) < len(loras):  # what is merged is merged anew
            self.remove(pipe)
            try:
                self._notices = tuple(filter(None, (self._put_on(pipe, *each) for each in enumerate(loras))))
            except InvalidRequest:
                self.remove(pipe)
                raise
        self.set_weights(pipe, uses)
        self._applied, self._uses = applied, uses
        return self._notices

    def set_weights(self, pipe: Any, uses: Sequence[LoraUse]) -> None:
        """Let the adapters that are on count as `uses`, in their order, say; what is merged stays as it is."""
        if self._adapters:
            weights = [_weigh_components(pipe, uses[index]) for index in self._adapters]
            pipe.set_adapters(list(self._adapters.values()), weights)

    def remove(self, pipe: Any) -> None:
        """Restore the checkpoint's own layers."""
        self.changes += 1
        if self._adapters:
            pipe.unload_lora_weights()
        self._merged.restore()
        self._adapters.clear()
        self._applied, self._uses, self._notices = (), (), ()

    def _put_on(self, pipe: Any, index: int, lora: tuple[WeightFile, LoraUse]) -> str:
        """The notice to give, empty when all of the file's layers are on."""
        file, use = lora
        try:
            header = read_header(file.path)
            tensors = read_tensors(file.path)
        except ModelBroken as error:
            raise InvalidRequest(f"The LoRA {file.name} cannot be used: {error.message}", hint=error.hint) from error
        blocks = parse_blocks(use.blocks)
        if blocks:
            tensors = scale_blocks(tensors, blocks)
        if is_merged(header, use):
            layers = self._merged.merge(pipe, file, tensors, use)
        else:
            self._adapters[index] = f"lora{index}"
            layers = _load_adapter(pipe, file, tensors, self._adapters[index])
        if not layers.applied:
            raise _make_lora_error(file, f"none of its {layers.total} layers is in this model")
        if layers.applied >= layers.total:
            return ""
        return f"{layers.applied} of {layers.total} layers of {file.name} were applied; the model lacks the rest."


def is_merged(header: SafetensorsHeader, use: LoraUse) -> bool:
    """Whether the file with this header is merged into the weights rather than put on as an adapter. diffusers would
    read one with settings in its header again, unscaled."""
    return needs_merging(header) or (bool(parse_blocks(use.blocks)) and "lora_adapter_metadata" in header.metadata)


def find_loras(
    catalog: Catalog, uses: Sequence[LoraUse], family: str, title: str
) -> tuple[tuple[WeightFile, LoraUse], ...]:
    """The files of `uses` for a model called `title` of `family`. Of several that have the name in different folders
    the one that fits the family is meant.

    Raises:
        InvalidRequest: none of that name, a broken one, or one of another family.
    """
    loras = tuple((_find_lora(catalog, use.name, family), use) for use in uses)
    for file, _ in loras:
        if file.problem:
            raise InvalidRequest(f"The LoRA {file.name} cannot be used: {file.problem}", hint="Pick another LoRA.")
        if file.family and file.family != family:
            raise InvalidRequest(
                f"The LoRA {file.name} was made for {file.family}, and {title} is {family}.",
                hint="Pick a LoRA of the same family, or another model.",
                details={"lora": file.name, "family": file.family},
            )
    return loras


def _find_lora(catalog: Catalog, name: str, family: str) -> WeightFile:
    try:
        return catalog.find(WeightKind.LORA, name)
    except InvalidRequest:
        alike = [
            file
            for file in catalog.weights()
            if file.kind is WeightKind.LORA and is_same_name(file.name, name) and file.family == family
        ]
        if len(alike) != 1 or alike[0].problem:
            raise
        return alike[0]


def _weigh_components(pipe: Any, use: LoraUse) -> float | dict[str, float]:
    """The strength as diffusers takes it: one number, or one for each component."""
    if use.encoder_weight is None:
        return use.weight
    weights = {name: use.weight for name in _DENOISERS} | {name: use.encoder_weight for name in _ENCODERS}
    return {name: weight for name, weight in weights.items() if getattr(pipe, name, None) is not None}


def _load_adapter(pipe: Any, file: WeightFile, tensors: Mapping[str, Any], name: str) -> AppliedLayers:
    """Let diffusers apply the file under the adapter's `name`."""
    from safetensors import SafetensorError

    plain = {key: tensor.half() if tensor.element_size() == 1 else tensor for key, tensor in tensors.items()}
    try:
        total = _count_converted(pipe, plain)
        if file.path.suffix == ".safetensors" and "lora_adapter_metadata" in read_header(file.path).metadata:
            disable_mapping()  # by its path, for the settings in its header
            pipe.load_lora_weights(
                str(file.path.parent), weight_name=file.path.name, adapter_name=name, local_files_only=True
            )
        else:
            pipe.load_lora_weights(plain, adapter_name=name)
    except (ValueError, RuntimeError, KeyError, AttributeError, TypeError, IndexError, SafetensorError) as error:
        # what diffusers and peft raise for keys they cannot place and shapes that do not match
        raise _make_lora_error(
            file, str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        ) from error
    return AppliedLayers(_count_adapted(pipe, name), total)


def _count_converted(pipe: Any, tensors: Mapping[str, Any]) -> int:
    """The layers of a file after diffusers has renamed and split them."""
    config = {"unet_config": pipe.unet.config} if getattr(pipe, "unet", None) is not None else {}
    found = pipe.lora_state_dict(dict(tensors), **config)
    state = found[0] if isinstance(found, tuple) else found
    return len({re.split(r"[._]lora[._]|\.lokr_", key)[0] for key in state if re.search(r"[._]lora[._]|\.lokr_", key)})


def _count_adapted(pipe: Any, name: str) -> int:
    """The layers of `pipe` that have the adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    models = [getattr(pipe, component, None) for component in (*_DENOISERS, *_ENCODERS)]
    return sum(
        isinstance(module, BaseTunerLayer) and name in getattr(module, "scaling", {})
        for model in models
        if model is not None
        for module in model.modules()
    )


def _make_lora_error(file: WeightFile, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The layers of the LoRA {file.name} do not fit this model: {reason}.",
        hint="Pick a LoRA that was made for this kind of model.",
        details={"lora": file.name},
    )
