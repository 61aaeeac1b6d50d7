"""What one job puts on a model is gone for the next: the same bare request gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest
from studio.core.request import LoraUse
from studio.core.weights import WeightFile, WeightKind
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch


def make_lora(folder: Path, target: Path) -> Path:
    """A LoRA of rank 4 for the UNet in `folder`, strong enough to be seen, saved as diffusers saves it."""
    import torch
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    unet.add_adapter(
        LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_v", "to_out.0"])
    )
    layers = get_peft_model_state_dict(unet)
    source = torch.Generator().manual_seed(1)
    layers = {name: torch.randn(value.shape, generator=source) for name, value in layers.items()}
    StableDiffusionPipeline.save_lora_weights(target.parent, unet_lora_layers=layers, weight_name=target.name)
    return target


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("models")
    import torch

    checkpoint = make_tiny_sd15(root / "tiny")
    lora = make_lora(checkpoint, root / "apple.safetensors")
    source = torch.Generator().manual_seed(3)
    save_file({"emb_params": 5 * torch.randn((3, 32), generator=source)}, root / "Sparkle.safetensors")
    save_file({"emb_params": torch.zeros((1, 99))}, root / "wide.safetensors")
    save_file({"clip_l": torch.ones((1, 32)), "clip_g": torch.ones((1, 32))}, root / "both.safetensors")
    alien = make_tiny_sdxl(root / "xl")
    others = [
        WeightFile(name="apple", kind=WeightKind.LORA, path=lora, bytes=1, family="sd15"),
        WeightFile(name="alien", kind=WeightKind.LORA, path=lora, bytes=1, family="flux"),
        WeightFile(name="unsure", kind=WeightKind.LORA, path=root / "wide.safetensors", bytes=1),
        WeightFile(name="Sparkle", kind=WeightKind.EMBEDDING, path=root / "Sparkle.safetensors", bytes=1),
        WeightFile(name="wide", kind=WeightKind.EMBEDDING, path=root / "wide.safetensors", bytes=1),
        WeightFile(name="both", kind=WeightKind.EMBEDDING, path=root / "both.safetensors", bytes=1),
    ]
    return make_local_pipelines(root, FolderCatalog({"tiny": checkpoint, "xl": alien}, tuple(others)))


def draw(studio, model: str = "tiny", **changes) -> bytes:
    backend, settings = studio
    return backend.render(make_request(model, **changes), make_seeds(1), RecordingContext(settings))[0].image.tobytes()


def test_a_lora_leaves_no_trace(studio) -> None:
    before = draw(studio)
    half = draw(studio, loras=(LoraUse(name="apple", weight=0.5),))
    full = draw(studio, loras=(LoraUse(name="apple"),))
    assert len({before, half, full}) == 3
    assert draw(studio) == before
    assert draw(studio, loras=(LoraUse(name="apple", weight=0.5),)) == half


def test_a_tag_in_the_prompt_is_the_lora(studio) -> None:
    chosen = draw(studio, loras=(LoraUse(name="apple", weight=0.8),))
    assert draw(studio, prompt="a red apple<lora:apple:0.8>") == chosen


def test_what_looks_like_a_tag_but_is_no_lora_is_left_out_with_a_notice(studio) -> None:
    backend, settings = studio
    context = RecordingContext(settings)
    tagged = make_request(prompt="a red apple<hypernet:old:1>")
    assert backend.render(tagged, make_seeds(1), context)[0].image.tobytes() == draw(studio)
    assert [notice for notice in context.notices if "<hypernet:old:1>" in notice]


def test_weight_zero_changes_nothing(studio) -> None:
    assert draw(studio, loras=(LoraUse(name="apple", weight=0.0),)) == draw(studio)


def test_blocks_of_a_lora_have_weights_of_their_own(studio) -> None:
    bare, whole = draw(studio), draw(studio, loras=(LoraUse(name="apple"),))
    none = "IN00-IN11: 0, M00: 0, OUT00-OUT11: 0"
    assert draw(studio, loras=(LoraUse(name="apple", blocks=none),)) == bare
    assert draw(studio, loras=(LoraUse(name="apple", blocks="M00: 1"),)) == whole
    part = draw(studio, prompt="a red apple<lora:apple:1:lbw=OUT00-OUT11=0>")
    assert part not in (bare, whole)
    assert draw(studio, loras=(LoraUse(name="apple", blocks="OUT00-OUT11: 0"),)) == part
    assert draw(studio) == bare


@pytest.mark.parametrize(("name", "said"), [("alien", "flux"), ("unsure", "do not fit"), ("nowhere", "nowhere")])
def test_a_lora_that_does_not_fit_is_refused_and_leaves_no_trace(studio, name: str, said: str) -> None:
    before = draw(studio)
    with pytest.raises(InvalidRequest, match=said):
        draw(studio, loras=(LoraUse(name="apple"), LoraUse(name=name)))
    assert draw(studio) == before


@pytest.mark.parametrize("spelled", ["Sparkle", "sparkle", "(SPARKLE:1)"])
def test_an_embedding_is_read_by_name_and_leaves_no_trace(studio, spelled: str) -> None:
    before, literal = draw(studio), draw(studio, prompt="a red apple, sparkly")
    with_it = draw(studio, prompt=f"a red apple, {spelled}")
    assert len({before, literal, with_it}) == 3
    assert with_it == draw(studio, prompt="a red apple, sparkle")
    assert draw(studio) == before
    assert draw(studio, prompt="a red apple, sparkly") == literal


def test_an_embedding_of_another_width_is_refused(studio) -> None:
    before = draw(studio)
    with pytest.raises(InvalidRequest, match="wide"):
        draw(studio, negative_prompt="wide")
    assert draw(studio) == before


def test_an_sdxl_embedding_goes_to_both_encoders(studio) -> None:
    before = draw(studio, "xl")
    assert draw(studio, "xl", prompt="a red apple, both") != before
    assert draw(studio, "xl") == before


def test_an_embedding_called_like_a_word_of_the_vocabulary_is_used(studio, tmp_path) -> None:
    """The tiny tokenizer knows every letter as a word."""
    import torch
    from safetensors.torch import save_file

    backend, _ = studio
    path = tmp_path / "z.safetensors"
    save_file({"emb_params": 5 * torch.randn((2, 32), generator=torch.Generator().manual_seed(4))}, path)
    word = WeightFile(name="z", kind=WeightKind.EMBEDDING, path=path, bytes=1)
    plain = draw(studio, prompt="a red apple, z")
    backend._catalog.others.append(word)
    try:
        with_it = draw(studio, prompt="a red apple, z")
        assert with_it != plain
        assert draw(studio, prompt="a red apple, Z") == with_it
    finally:
        backend._catalog.others.remove(word)
    assert draw(studio, prompt="a red apple, z") == plain


def test_an_embedding_of_another_family_does_not_count(studio) -> None:
    backend, _ = studio
    plain = draw(studio, prompt="a red alien")
    path = next(file.path for file in backend._catalog.others if file.name == "wide")
    backend._catalog.others.append(
        WeightFile(name="alien", kind=WeightKind.EMBEDDING, path=path, bytes=1, family="sdxl")
    )
    try:
        assert draw(studio, prompt="a red alien") == plain
    finally:
        del backend._catalog.others[-1]
