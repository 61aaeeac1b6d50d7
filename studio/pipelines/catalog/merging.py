"""Merging checkpoints: tensor by tensor from the files into a new one, so that memory holds one tensor of each."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.block_weights import BASE
from studio.core.durable_files import sync_folder
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.merges import MergeMethod, MergePrecision, MergeRecipe
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.file_headers import read_header

_BLOCKS = (
    (re.compile(r"\bdiffusion_model\.input_blocks\.(\d+)\."), "IN{:02}"),
    (re.compile(r"\bdiffusion_model\.middle_block\.()"), "M00"),
    (re.compile(r"\bdiffusion_model\.output_blocks\.(\d+)\."), "OUT{:02}"),
    (re.compile(r"\bdouble_blocks\.(\d+)\."), "DOUBLE{:02}"),
    (re.compile(r"\bsingle_blocks\.(\d+)\."), "SINGLE{:02}"),
    (re.compile(r"\bjoint_blocks\.(\d+)\."), "JOINT{:02}"),
)
_FLOATS = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
_OTHER_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "BOOL": 1, "C64": 8}
_NAMES = {MergePrecision.F16: "F16", MergePrecision.BF16: "BF16", MergePrecision.F32: "F32"}
_TORCH = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_KEPT_METADATA = ("modelspec.prediction_type", "modelspec.resolution", "modelspec.architecture")
_FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"  # wider in inpainting and instruction models


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """A checked merge: the files, `dtypes` of the new file by tensor, and its size in bytes."""

    recipe: MergeRecipe
    files: tuple[WeightFile, ...]
    first: SafetensorsHeader
    dtypes: Mapping[str, str]
    bytes: int


def plan_merge(recipe: MergeRecipe, find: Callable[[str], WeightFile]) -> MergePlan:
    """Look at the headers of the checkpoints, which `find` gives by name, and refuse what does not go together.

    Raises:
        InvalidRequest: folders, other families, weights in 8 bits or of other shapes, or as `MergeRecipe.check` says.
        UnknownModel, ModelBroken: no such checkpoint, or a broken one.
    """
    recipe.check()
    chosen = [recipe.first, recipe.second, *([recipe.third] if recipe.method is MergeMethod.DIFFERENCE else [])]
    files = tuple(find(name) for name in chosen)
    headers = [_read_checked(file, files[0]) for file in files]
    first = headers[0]
    for file, header in zip(files[1:], headers[1:], strict=True):
        _check_shapes(first, header, file.name)
    wanted = _NAMES.get(recipe.precision, "")
    dtypes = {name: wanted if wanted and dtype in _FLOATS else dtype for name, dtype in first.dtypes.items()}
    size = sum(_count_bytes(first, name, dtype) for name, dtype in dtypes.items())
    return MergePlan(recipe=recipe, files=files, first=first, dtypes=dtypes, bytes=size)


def write_merge(plan: MergePlan, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Write the merged checkpoint to `target`, which appears when it is whole. `on_bytes` hears of every tensor in
    bytes and may raise; nothing is left then.

    Raises:
        OSError: the disk. ModelBroken: a file that changed meanwhile.
    """
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as out:
            _write_tensors(plan, out, on_bytes)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
        sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def find_block(name: str) -> str:
    """The block that a tensor of a checkpoint belongs to."""
    for pattern, form in _BLOCKS:
        found = pattern.search(name)
        if found is not None:
            return form.format(int(found[1])) if found[1] else form
    return BASE


def _write_tensors(plan: MergePlan, out: BinaryIO, on_bytes: Callable[[int], None]) -> None:
    import safetensors
    import torch

    opener: Any = safetensors.safe_open
    out.write(_build_header(plan))
    blocks, amount = plan.recipe.read_blocks(), plan.recipe.amount
    with ExitStack() as stack:
        files = [stack.enter_context(opener(file.path, framework="pt", backend="pread")) for file in plan.files]
        names = [set(file.keys()) for file in files]
        for name, dtype in plan.dtypes.items():
            if not all(name in there for there in names[:1]):
                raise ModelBroken(f"{plan.files[0].name} changed while it was merged.", hint="Merge again.")
            tensor = files[0].get_tensor(name)
            if dtype in _FLOATS:
                others = [file.get_tensor(name) for file, there in zip(files, names, strict=True) if name in there][1:]
                if len(others) == len(files) - 1:
                    share = blocks.get(find_block(name), amount)
                    tensor = _mix(tensor, others, share)
                tensor = tensor.to(getattr(torch, _TORCH[dtype]))
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            out.write(data)
            on_bytes(len(data))


def _mix(first: Any, others: list[Any], amount: float) -> Any:
    """The weighted sum with one other, the difference of two others added. Of a first layer that is wider in some of
    them, the columns that all have are mixed."""
    a, rest = first.float(), [other.float() for other in others]
    if any(one.shape != a.shape for one in rest):
        width = min(one.shape[1] for one in rest)
        mixed = a.clone()
        mixed[:, :width] = _mix(a[:, :width], [one[:, :width] for one in rest], amount)
        return mixed
    if len(rest) == 1:
        return a + (rest[0] - a) * amount
    return a + (rest[0] - rest[1]) * amount


def _build_header(plan: MergePlan) -> bytes:
    recipe = plan.recipe
    told = {
        "type": "easel",
        "interp_method": recipe.method.value,
        "multiplier": recipe.amount,
        "blocks": dict(recipe.read_blocks()),
        "primary_model_name": recipe.first,
        "secondary_model_name": recipe.second,
        "tertiary_model_name": recipe.third if recipe.method is MergeMethod.DIFFERENCE else None,
        "save_as_half": recipe.precision is MergePrecision.F16,
        "hashes": {file.name: file.sha256 for file in plan.files if file.sha256},
    }
    metadata = {key: text for key in _KEPT_METADATA if (text := plan.first.metadata.get(key))}
    metadata |= {"format": "pt", "modelspec.title": recipe.name, "sd_merge_recipe": json.dumps(told)}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, dtype in plan.dtypes.items():
        size = _count_bytes(plan.first, name, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(plan.first.shapes[name]),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _read_checked(file: WeightFile, first: WeightFile) -> SafetensorsHeader:
    if file.is_folder or file.path.suffix.lower() != ".safetensors":
        raise InvalidRequest(f"{file.name} is not a single .safetensors file.", hint="Only single files can be merged.")
    if file.problem and not file.family:
        raise InvalidRequest(f"{file.name} cannot be merged: {file.problem}", hint="Choose another checkpoint.")
    if file.family != first.family:
        raise InvalidRequest(
            f"{file.name} is of another family than {first.name}.", hint="Choose checkpoints of one family."
        )
    header = read_header(file.path)
    if any(dtype.startswith(("F8", "F4", "U8", "I8")) for dtype in header.dtypes.values()):
        raise InvalidRequest(
            f"{file.name} holds weights in 8 bits, which cannot be merged.", hint="Take the file with 16 bits."
        )
    return header


def _check_shapes(first: SafetensorsHeader, other: SafetensorsHeader, name: str) -> None:
    shared = [key for key in first.shapes if key in other.shapes]
    if not shared:
        raise InvalidRequest(f"{name} has no weights in common with A.", hint="Choose checkpoints of one family.")
    for key in shared:
        one, two = first.shapes[key], other.shapes[key]
        wider = key == _FIRST_LAYER and len(one) == len(two) == 4 and one[1] > two[1]
        if one != two and not wider:
            raise InvalidRequest(
                f"{key[:80]} has another shape in {name} than in A.", hint="Choose checkpoints of one training."
            )


def _count_bytes(header: SafetensorsHeader, name: str, dtype: str) -> int:
    count = 1
    for side in header.shapes[name]:
        count *= side
    return count * _FLOATS.get(dtype, _OTHER_BYTES.get(dtype, 1))
