"""Checkpoints are merged tensor by tensor, as the formulas say, with the recipe in the file."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from studio.core.block_weights import parse_blocks
from studio.core.errors import InvalidRequest, StorageFailed, UnknownModel
from studio.core.merges import MergeMethod, MergePrecision, MergeRecipe
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog import hub as hubs
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.catalog.merging import find_block, plan_merge

UNET = "model.diffusion_model."
NAMES = (
    f"{UNET}input_blocks.0.0.weight",
    f"{UNET}input_blocks.4.1.proj_in.weight",
    f"{UNET}middle_block.1.proj_in.weight",
    f"{UNET}output_blocks.11.0.out_layers.0.weight",
    f"{UNET}time_embed.0.weight",
    "first_stage_model.decoder.conv_in.weight",
)


def save_checkpoint(folder: Path, name: str, value: float, **changes: Any) -> WeightFile:
    """A file whose every number is `value`."""
    import torch
    from safetensors.torch import save_file

    shapes = {NAMES[0]: (8, 4, 3, 3)}
    tensors = {key: torch.full(shapes.get(key, (8, 8)), value, dtype=torch.float16) for key in NAMES}
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    tensors |= changes.get("tensors", {})
    path = folder / f"{name}.safetensors"
    save_file(tensors, path, metadata={"modelspec.prediction_type": "v"})
    family = changes.get("family", "sd15")
    return WeightFile(name=name, kind=WeightKind.CHECKPOINT, path=path, bytes=1, family=family, sha256=f"hash-{name}")


class Folder:
    """A models folder with A (1), B (3) and C (2), and the hub that writes into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {name: save_checkpoint(root, name, value) for name, value in (("A", 1), ("B", 3), ("C", 2))}
        self.found: list[str] = []
        self.hub = Hub(root, lambda: True, lambda: self.found.append("refreshed"))

    def find(self, name: str) -> WeightFile:
        if name not in self.files:
            raise UnknownModel(f"Model {name!r} not found.")
        return self.files[name]

    def merge(self, **changes: Any) -> dict[str, Any]:
        from safetensors.torch import load_file

        recipe = MergeRecipe(**{"name": "new", "first": "A", "second": "B", **changes})
        self.hub.merge(plan_merge(recipe, self.find))
        state = self.hub.wait("new", lambda state: state.finished, 30)
        assert (state.error, state.done) == ("", state.total)
        return load_file(self.root / "checkpoints" / "new.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.torch
def test_a_weighted_sum_and_an_added_difference(folder: Folder) -> None:
    merged = folder.merge(amount=0.25)
    assert {float(merged[name].float().mean()) for name in NAMES} == {1.5}
    assert merged[NAMES[0]].dtype.itemsize == 2
    assert merged["cond_stage_model.transformer.text_model.embeddings.position_ids"].tolist() == [list(range(77))]
    (folder.root / "checkpoints" / "new.safetensors").unlink()
    merged = folder.merge(amount=1.5, third="C", method=MergeMethod.DIFFERENCE)
    assert {float(merged[name].float().mean()) for name in NAMES} == {2.5}
    assert folder.found == ["refreshed", "refreshed"], "the list of models is looked at again, offline too"


@pytest.mark.torch
def test_blocks_have_amounts_of_their_own(folder: Folder) -> None:
    merged = folder.merge(amount=0.0, blocks="IN04: 1, M00: 0.5, BASE: 0.25")
    means = [float(merged[name].float().mean()) for name in NAMES]
    assert means == [1.0, 3.0, 2.0, 1.0, 1.5, 1.5]


@pytest.mark.torch
def test_the_recipe_is_in_the_file(folder: Folder) -> None:
    folder.merge(amount=0.3, blocks="IN04: 1", precision=MergePrecision.F32)
    header = read_header(folder.root / "checkpoints" / "new.safetensors")
    told = json.loads(header.metadata["sd_merge_recipe"])
    assert (told["primary_model_name"], told["secondary_model_name"], told["multiplier"]) == ("A", "B", 0.3)
    assert told["blocks"] == {"IN04": 1.0}
    assert told["hashes"] == {"A": "hash-A", "B": "hash-B"}
    assert header.metadata["modelspec.prediction_type"] == "v"
    assert set(header.dtypes.values()) == {"F32", "I64"}


@pytest.mark.torch
def test_what_only_a_has_stays_and_a_wider_first_layer_is_mixed_in_part(folder: Folder) -> None:
    import torch

    more = {NAMES[0]: torch.full((8, 9, 3, 3), 1.0).half(), "only.in.a": torch.full((2,), 7.0).half()}
    folder.files["A"] = save_checkpoint(folder.root, "A", 1, tensors=more)
    merged = folder.merge(amount=1.0)
    assert merged[NAMES[0]][:, :4].unique().tolist() == [3.0]
    assert merged[NAMES[0]][:, 4:].unique().tolist() == [1.0]
    assert merged["only.in.a"].tolist() == [7.0, 7.0]


@pytest.mark.torch
def test_a_difference_is_taken_of_the_columns_that_all_have(folder: Folder) -> None:
    import torch

    for name, value in (("A", 1.0), ("B", 3.0)):
        wide = {NAMES[0]: torch.full((8, 9, 3, 3), value).half()}
        folder.files[name] = save_checkpoint(folder.root, name, value, tensors=wide)
    merged = folder.merge(amount=1.0, third="C", method=MergeMethod.DIFFERENCE)
    assert merged[NAMES[0]][:, :4].unique().tolist() == [2.0]
    assert merged[NAMES[0]][:, 4:].unique().tolist() == [1.0]


@pytest.mark.torch
def test_a_stopped_merge_leaves_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_merge(MergeRecipe(name="new", first="A", second="B"), folder.find)
    advance = Hub._advance

    def stop_first(self: Hub, download: Any, amount: int, total: int | None = None) -> None:
        advance(self, download, amount, total)
        self.cancel("new")

    monkeypatch.setattr(Hub, "_advance", stop_first)
    folder.hub.merge(plan)
    state = folder.hub.wait("new", lambda state: state.finished, 30)
    assert state.error.startswith("Stopped")
    assert not list((folder.root / "checkpoints").iterdir())
    assert folder.found == []


@pytest.mark.torch
def test_what_does_not_go_together_is_refused_before_anything_is_read(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def plan(**changes: Any) -> Any:
        return plan_merge(MergeRecipe(**{"name": "new", "first": "A", "second": "B", **changes}), folder.find)

    for changes in (
        {"name": ""},
        {"name": "../evil"},
        {"name": "a/b"},
        {"name": ".hidden"},
        {"name": "漢" * 70},
        {"second": ""},
        {"amount": 1.5},
        {"amount": -0.1},
        {"amount": float("nan")},
        {"method": MergeMethod.DIFFERENCE},
        {"blocks": "IN00"},
        {"blocks": "IN00: 3"},
        {"blocks": "0.5, 0.5"},
    ):
        with pytest.raises(InvalidRequest):
            plan(**changes)
    with pytest.raises(UnknownModel):
        plan(second="nothing")
    folder.files["X"] = save_checkpoint(folder.root, "X", 1, family="sdxl")
    with pytest.raises(InvalidRequest, match="family"):
        plan(second="X")
    folder.files["Y"] = save_checkpoint(folder.root, "Y", 1, tensors={NAMES[1]: torch.zeros(4, 4)})
    with pytest.raises(InvalidRequest, match="shape"):
        plan(second="Y")
    folder.files["Z"] = save_checkpoint(folder.root, "Z", 1, tensors={"a": torch.zeros(4).to(torch.float8_e4m3fn)})
    with pytest.raises(InvalidRequest, match="8 bits"):
        plan(second="Z")
    (folder.root / "checkpoints").mkdir()
    (folder.root / "checkpoints" / "new.safetensors").touch()
    with pytest.raises(InvalidRequest, match="already"):
        folder.hub.merge(plan())
    monkeypatch.setattr(hubs, "SPARE_BYTES", 2**60)
    with pytest.raises(StorageFailed, match="merged checkpoint"):
        folder.hub.merge(plan(name="other"))


@pytest.mark.torch
def test_of_two_merges_of_one_name_at_once_the_second_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_merge(MergeRecipe(name="new", first="A", second="B"), folder.find)
    both_looked, answers = threading.Barrier(2), list[str]()
    monkeypatch.setattr(Hub, "_check_room", lambda *_: both_looked.wait(30))

    def merge() -> None:
        try:
            folder.hub.merge(plan)
            answers.append("begun")
        except InvalidRequest as error:
            answers.append(error.message)

    blocked = threading.Event()
    advance = Hub._advance

    def advance_later(self: Hub, download: Any, amount: int, total: int | None = None) -> None:
        blocked.wait(30)
        advance(self, download, amount, total)

    monkeypatch.setattr(Hub, "_advance", advance_later)
    threads = [threading.Thread(target=merge) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    blocked.set()
    assert sorted(answers) == ["There is a checkpoint 'new' already.", "begun"]
    assert folder.hub.wait("new", lambda state: state.finished, 30).error == ""


def test_block_weights_are_read_in_both_forms() -> None:
    assert parse_blocks("") == {}
    assert parse_blocks("in00-in02: .5, OUT03=1") == {"IN00": 0.5, "IN01": 0.5, "IN02": 0.5, "OUT03": 1.0}
    listed = parse_blocks(",".join(str(n / 100) for n in range(26)))
    assert (listed["BASE"], listed["IN11"], listed["M00"], listed["OUT11"]) == (0.0, 0.12, 0.13, 0.25)
    assert parse_blocks(",".join(["1"] * 20)).keys() == {
        "BASE",
        "M00",
        *(f"{side}{n:02}" for side in ("IN", "OUT") for n in range(9)),
    }
    for wrong in ("IN05-IN01: 1", "IN00-OUT03: 1", "XX: 1", "IN00: much", "1,2,3", "IN00:" + "0" * 3000):
        with pytest.raises(InvalidRequest):
            parse_blocks(wrong)


def test_every_block_has_a_name() -> None:
    assert [find_block(name) for name in NAMES] == ["IN00", "IN04", "M00", "OUT11", "BASE", "BASE"]
    assert find_block("model.diffusion_model.double_blocks.3.img_attn.qkv.weight") == "DOUBLE03"
    assert find_block("single_blocks.17.linear1.weight") == "SINGLE17"
