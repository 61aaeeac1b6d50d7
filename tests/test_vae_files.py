"""A VAE in a single file decodes whatever its layout is, also when the file holds the decoder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import ModelBroken
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.run.vae import load_vae
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_families import convert_vae_keys, make_tiny_kl
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch

_NEW_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def _list_first_names(vae: Any) -> dict[str, Any]:
    found = {}
    for name, tensor in vae.state_dict().items():
        for new, old in _NEW_NAMES.items():
            name = name.replace(new, old)
        found[name] = tensor
    return found


LAYOUTS = {
    "diffusers": lambda vae: dict(vae.state_dict()),
    "diffusers' first names": _list_first_names,
    "original": lambda vae: {
        name.removeprefix("first_stage_model."): tensor for name, tensor in convert_vae_keys(vae).items()
    },
    "original in a checkpoint": convert_vae_keys,
}


@pytest.fixture(scope="module")
def vaes() -> tuple[Any, Any]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return make_tiny_kl(), make_tiny_kl()


def save_vae(path: Path, tensors: dict[str, Any]) -> WeightFile:
    from safetensors.torch import save_file

    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return WeightFile(name=path.stem, kind=WeightKind.VAE, path=path, bytes=1)


def _is_decoding(name: str) -> bool:
    return name.removeprefix("first_stage_model.").startswith(("decoder.", "post_quant_conv."))


def decode_and_encode(vae: Any) -> tuple[Any, Any]:
    import torch

    with torch.inference_mode():
        image = vae.decode(torch.linspace(-1, 1, 4 * 8 * 8).reshape(1, 4, 8, 8)).sample
        return image, vae.encode(torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)).latent_dist.mean


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", ["safetensors", "SAFETENSORS"])
def test_a_whole_vae_replaces_the_models_own(tmp_path: Path, vaes: Any, layout: str, ending: str) -> None:
    own, other = vaes
    loaded = load_vae(save_vae(tmp_path / f"whole.{ending}", LAYOUTS[layout](other)), own)
    assert loaded.notices == ()
    for found, wanted in zip(decode_and_encode(loaded.vae), decode_and_encode(other), strict=True):
        assert found.equal(wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_decoder_alone_decodes_and_the_models_own_encoder_stays(tmp_path: Path, vaes: Any, layout: str) -> None:
    own, other = vaes
    half = {name: tensor for name, tensor in LAYOUTS[layout](other).items() if _is_decoding(name)}
    loaded = load_vae(save_vae(tmp_path / "half.safetensors", half), own)
    assert f"{len(half)} of {len(own.state_dict())} weights of the VAE half" in loaded.notices[0]
    decoded, encoded = decode_and_encode(loaded.vae)
    assert decoded.equal(decode_and_encode(other)[0])
    assert encoded.equal(decode_and_encode(own)[1])
    assert not any(weight.is_meta for weight in loaded.vae.parameters())


def test_what_decodes_nothing_is_refused_by_name(tmp_path: Path, vaes: Any) -> None:
    own, other = vaes
    encoder = {name: tensor for name, tensor in other.state_dict().items() if name.startswith("encoder.")}
    wide = {name: tensor for name, tensor in make_tiny_kl(16).state_dict().items() if _is_decoding(name)}
    part = {name: tensor for name, tensor in other.state_dict().items() if "up_blocks.1" not in name}
    for number, tensors in enumerate((encoder, wide, part)):
        with pytest.raises(ModelBroken, match=f"odd{number}"):
            load_vae(save_vae(tmp_path / f"odd{number}.safetensors", tensors), own)


def test_a_decoder_alone_is_used_and_reported_by_a_job(tmp_path: Path, vaes: Any) -> None:
    make_tiny_sd15(tmp_path / "tiny")
    make_tiny_kl().save_pretrained(tmp_path / "tiny" / "vae")
    index = tmp_path / "tiny" / "model_index.json"
    index.write_text(index.read_text().replace("AutoencoderTiny", "AutoencoderKL"))
    half = {name: tensor for name, tensor in vaes[1].state_dict().items() if _is_decoding(name)}
    catalog = FolderCatalog({"tiny": tmp_path / "tiny"}, (save_vae(tmp_path / "half.safetensors", half),))
    backend, settings = make_local_pipelines(tmp_path, catalog)
    context = RecordingContext(settings)
    [own] = backend.render(make_request("tiny"), make_seeds(1), context)
    assert context.notices == []
    [other] = backend.render(make_request("tiny", vae="half"), make_seeds(1), context)
    assert own.image.tobytes() != other.image.tobytes()
    [said] = context.notices
    assert "the rest is the model's own" in said
