"""Names of files are looked up when a request comes in, wherever they stand, before anything is drawn."""

from __future__ import annotations

import dataclasses
import unicodedata
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest
from studio.core.finish import Upscale
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse, Task
from studio.core.request_parts import ControlUnit, Reference
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.engine.plugins import discover
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.local_backend import LocalPipelines
from studio.tabs.common.restore_settings import parse_settings_text
from tests.fakes import FAKE_MODEL, FakeBackend, draw_fake_image, open_engine, wait_until_final
from tests.test_catalog import lora, sd, sdxl, write

_LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
_PAIR = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def backend(tmp_path: Path) -> LocalPipelines:
    models = tmp_path / "models"
    write(models / "checkpoints" / "photo.safetensors", sd(768))
    write(models / "checkpoints" / "large.safetensors", sdxl())
    write(models / "loras" / "sd15" / "fur.safetensors", lora(_LAYER))
    write(models / "loras" / "sdxl" / "fur.safetensors", lora(_PAIR, 2048))
    write(models / "loras" / (unicodedata.normalize("NFD", "Bögen") + ".safetensors"), lora(_LAYER))
    write(models / "vae" / "crisp.safetensors", {"decoder.conv_in.weight": (512, 4, 3, 3)})
    write(models / "controlnet" / "edges.safetensors", _net(768))
    write(models / "controlnet" / "wide.safetensors", _net(1024))
    write(models / "controlnet" / "xl.safetensors", {**_net(2048), "add_embedding.linear_1.weight": (1280, 2816)})
    encoder = write(models / "ip_adapters" / "image_encoder" / "model.safetensors", {"x": (1,)})
    encoder.with_name("config.json").write_text('{"projection_dim": 1024}')
    write(models / "ip_adapters" / "face.safetensors", _adapter(768))
    write(models / "ip_adapters" / "large.safetensors", _adapter(2048))
    write(models / "embeddings" / "hands.safetensors", {"emb_params": (4, 768)})
    write(models / "embeddings" / "odd.safetensors", {"emb_params": (4, 640)})
    specs = discover("studio.pipelines.families", "PIPELINE")
    catalog = Catalog(models, specs, tmp_path / "cache")
    settings = Settings(models_dir=models, device="cpu")
    return LocalPipelines(lambda: settings, catalog, None)  # type: ignore[arg-type]


def _net(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, width),
    }


def _adapter(width: int) -> dict[str, tuple[int, ...]]:
    return {"image_proj.proj.weight": (4 * width, 1024), "ip_adapter.1.to_k_ip.weight": (320, width)}


def ask(**fields: object) -> GenerationRequest:
    return GenerationRequest(**{"model": "photo", "prompt": "a cat", **fields})  # type: ignore[arg-type]


_IMAGE = "an image"


def _put_images(engine: Engine, request: GenerationRequest) -> GenerationRequest:
    stored = engine.keep_image(draw_fake_image(1, 64, 64), LOCAL_USER).hash
    return request.replace(
        control=tuple(dataclasses.replace(one, image=one.image and stored) for one in request.control),
        references=tuple(dataclasses.replace(one, image=stored) for one in request.references),
    )


_WRONG = {
    "lora": ({"loras": (LoraUse(name="nowhere"),)}, "nowhere"),
    "tag": ({"prompt": "a <lora:nowhere:1> cat"}, "nowhere"),
    "family": ({"loras": (LoraUse(name="sdxl/fur"),)}, "sdxl"),
    "vae": ({"vae": "nowhere"}, "nowhere"),
    "hires upscaler": ({"hires": Hires(upscaler="nowhere")}, "nowhere"),
    "hires tag": ({"hires": Hires(prompt="<lora:nowhere:1>")}, "nowhere"),
    "hires model": ({"hires": Hires(model="large", upscaler="Lanczos"), "loras": (LoraUse(name="sd15/fur"),)}, "sd15"),
    "upscaler": ({"upscale": Upscale(base="nowhere")}, "nowhere"),
    "second": ({"upscale": Upscale(second="nowhere")}, "nowhere"),
    "ControlNet": ({"control": (ControlUnit(model="nowhere", image=_IMAGE),)}, "nowhere"),
    "ControlNet of another width": ({"control": (ControlUnit(model="wide", image=_IMAGE),)}, "wide"),
    "ControlNet in a chain": (
        {"then": (GenerationRequest(task=Task.IMG2IMG, model="photo", control=(ControlUnit(model="nowhere"),)),)},
        "nowhere",
    ),
    "ControlNet in a cell": (
        {
            "control": (ControlUnit(model="edges", image=_IMAGE),),
            "axes": (Axis(parameter="Model", values=("photo", "large")),),
        },
        "edges",
    ),
    "IP-Adapter": ({"references": (Reference(image=_IMAGE, model="nowhere"),)}, "nowhere"),
    "IP-Adapter of another family": ({"references": (Reference(image=_IMAGE, model="large"),)}, "large"),
    "embedding": ({"prompt": "a cat, odd"}, "odd"),
    "embedding in a cell": (
        {"prompt": "a cat", "axes": (Axis(parameter="Prompt S/R", values=("cat", "dog", "odd")),)},
        "odd",
    ),
    "chain": ({"then": (GenerationRequest(task=Task.IMG2IMG, model="photo", prompt="<lora:nowhere:1>"),)}, "nowhere"),
    "cell": (
        {"prompt": "a cat", "axes": (Axis(parameter="Prompt S/R", values=("cat", "dog", "<lora:nowhere:1>")),)},
        "nowhere",
    ),
}


@pytest.mark.parametrize("name", _WRONG)
def test_a_wrong_name_is_refused_before_anything_is_drawn(backend, tmp_path, name) -> None:
    fields, said = _WRONG[name]
    engine = open_engine(tmp_path / "studio", backend)
    try:
        with pytest.raises(InvalidRequest, match=said) as caught:
            engine.submit(_put_images(engine, ask(**fields)), LOCAL_USER)
        assert caught.value.hint
    finally:
        engine.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"loras": (LoraUse(name="fur"),)},
        {"model": "large", "loras": (LoraUse(name="fur"),)},
        {"prompt": "<lora:" + unicodedata.normalize("NFC", "Bögen") + ":1>"},
        {"prompt": "<lora:" + unicodedata.normalize("NFD", "bögen") + ":1>"},
        {"vae": "crisp"},
        {"vae": "crisp.safetensors"},
        {"vae": "CRISP"},
        {"hires": Hires(upscaler="Latent")},
        {"upscale": Upscale(second="Lanczos")},
        {"control": (ControlUnit(model="edges", image="0" * 64), ControlUnit(model="nowhere", weight=0))},
        {"references": (Reference(image="0" * 64, model="face"),)},
        {"prompt": "a cat, hands"},
        {"model": "large", "prompt": "a cat, hands"},
    ],
)
def test_a_name_that_can_only_mean_one_file_is_taken(backend, fields) -> None:
    backend.check_names(ask(**fields))


@pytest.mark.parametrize("name", ["photo", "PHOTO", "photo.safetensors"])
def test_a_model_is_found_without_its_folder(tmp_path, name) -> None:
    models = [dataclasses.replace(FAKE_MODEL, id=one) for one in ("sd15/photo", "other")]
    engine = open_engine(tmp_path / "studio", FakeBackend(*models))
    try:
        [asset] = wait_until_final(engine.submit(GenerationRequest(model=name, prompt="a cat"), LOCAL_USER)).assets
        assert asset.request.model == "sd15/photo"
        assert engine.model(name).id == "sd15/photo"
    finally:
        engine.close()


_TEXT = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, {}Model: renamed, Version: v1.10.1"


def test_a_renamed_model_is_found_by_the_hash_of_an_infotext(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write(models / "checkpoints" / "photo.safetensors", sd(768))
    write(models / "checkpoints" / "large.safetensors", sdxl())
    catalog = Catalog(models, discover("studio.pipelines.families", "PIPELINE"), tmp_path / "cache")
    digest = catalog.sha256("photo")
    engine = open_engine(
        tmp_path / "studio", FakeBackend(), lookups=Lookups(find_by_hash=catalog.find_checkpoint_by_hash)
    )
    try:
        for pairs, wanted in (
            (f"Model hash: {digest[:10]}, ", "photo"),
            (f"Model hash: {digest[:10].upper()}, ", "photo"),
            (f'Hashes: "{{\\"model\\": \\"{digest[:10]}\\"}}", ', "photo"),
            ("Model hash: 0123456789, ", "renamed"),
            ("Model hash: , ", "renamed"),
            ("Hashes: [], ", "renamed"),
            ("", "renamed"),
        ):
            found, told = parse_settings_text(_TEXT.format(pairs), engine.match_model)
            assert (found.model, told) == (wanted, "")
    finally:
        engine.close()
    assert Catalog(models, [], tmp_path / "cache").find_checkpoint_by_hash("") == ""
