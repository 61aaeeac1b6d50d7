"""Reference images through tiny IP-Adapters, against diffusers' own loading of them, and off again without a trace."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import numpy as np
import pytest

from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit, Reference
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_control import make_tile_image, make_tiny_controlnet, make_tiny_crossed, make_tiny_ip_adapter
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
IMAGES = {"source": make_tile_image(1), "style": make_tile_image(2), "other": make_tile_image(3)}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("models")
    one, xl = make_tiny_sd15(root / "tiny"), make_tiny_sdxl(root / "xl")
    adapter, crossed = make_tiny_ip_adapter(root / "sd15", one), make_tiny_crossed(root / "crossed")
    shutil.copytree(root / "sd15", root / "lone", ignore=shutil.ignore_patterns("image_encoder"))
    deep = root / "lone" / "a" / "b" / "c" / "lone.safetensors"
    deep.parent.mkdir(parents=True)
    shutil.copy(adapter.path, deep)
    others = (
        adapter,
        make_tiny_ip_adapter(root / "xl-adapter", xl),
        make_tiny_controlnet(root / "edges", one),
        dataclasses.replace(make_tiny_ip_adapter(root / "crossed-adapter", crossed), name="adapter-for-crossed"),
        dataclasses.replace(adapter, name="lone-with-a-long-name", path=deep),
    )
    return FolderCatalog({"tiny": one, "xl": xl, "crossed": crossed}, others)


@pytest.fixture
def studio(catalog, tmp_path):
    backend, settings = make_local_pipelines(tmp_path, catalog)
    yield backend, settings
    backend.close()


def context(studio) -> RecordingContext:
    return RecordingContext(studio[1], images=IMAGES)


def draw(studio, request: GenerationRequest, *numbers: int, ctx: RecordingContext | None = None) -> list[np.ndarray]:
    drawn = studio[0].render(request, make_seeds(*(numbers or (7,))), ctx or context(studio))
    return [np.asarray(one.image, dtype=int) for one in drawn]


def bare(catalog, model: str, weight: Any, **arguments: Any) -> np.ndarray:
    """diffusers alone: the adapter loaded from its own folder, with that scale."""
    import diffusers
    import torch
    from transformers import CLIPImageProcessor

    from studio.pipelines.run.samplers import make_scheduler

    file = next(
        f for f in catalog.weights() if f.kind is WeightKind.IP_ADAPTER and f.family == catalog.checkpoint(model).family
    )
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(
        catalog.checkpoint(model).path,
        local_files_only=True,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32),
    )
    pipe.load_ip_adapter(str(file.path.parent), subfolder="", weight_name=file.path.name)
    pipe.set_ip_adapter_scale(weight)
    pipe.scheduler = make_scheduler("Euler", "Automatic", pipe.scheduler.config)
    image = pipe(
        "a red apple",
        num_inference_steps=3,
        guidance_scale=4.0,
        width=64,
        height=64,
        generator=[torch.Generator().manual_seed(7)],
        **arguments,
    ).images[0]
    return np.asarray(image, dtype=int)


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1)


@pytest.mark.parametrize("model", ["tiny", "xl"])
def test_a_reference_draws_what_diffusers_draws(studio, catalog, model: str) -> None:
    ours = draw(studio, make_request(model, references=(Reference(image="style", weight=0.7),)))[0]
    assert same(ours, bare(catalog, model, 0.7, ip_adapter_image=IMAGES["style"]))
    assert not same(ours, draw(studio, make_request(model))[0])


@pytest.mark.parametrize(("model", "adapter"), [("crossed", "adapter-for-crossed"), ("xl", "")])
def test_style_alone_reaches_other_layers_than_the_whole(studio, model: str, adapter: str) -> None:
    references = [Reference(image="style", weight=2, style_only=only, model=adapter) for only in (False, True)]
    whole, style = (draw(studio, make_request(model, references=(one,)))[0] for one in references)
    assert not same(whole, style)
    assert not same(style, draw(studio, make_request(model))[0])


def test_several_references_with_weights_of_their_own(studio) -> None:
    one, two = Reference(image="style", weight=0.7), Reference(image="other", weight=0.4, style_only=True)
    both = draw(studio, make_request(references=(one, two)))[0]
    assert not same(both, draw(studio, make_request(references=(one,)))[0])
    off = dataclasses.replace(two, weight=0.0)
    assert same(draw(studio, make_request(references=(one, off)))[0], draw(studio, make_request(references=(one,)))[0])


def test_beside_a_controlnet_in_batches_and_under_and(studio) -> None:
    steered = make_request(
        references=(Reference(image="style", weight=0.8),),
        control=(ControlUnit(model="edges", image="other"),),
        prompt="a red apple :0.5 AND a red apple :0.5",
    )
    together = draw(studio, steered, 1, 2)
    alone = draw(studio, steered.replace(prompt="a red apple"), 2)[0]
    assert np.abs(together[1] - alone).max() <= 2


def test_style_transfer_starts_from_the_source_where_no_controlnet_is(studio, catalog) -> None:
    others, catalog.others = catalog.others, [file for file in catalog.others if file.kind is WeightKind.IP_ADAPTER]
    request = make_request(task=Task.STYLE_TRANSFER, source="source", references=(Reference(image="style"),))
    free = draw(studio, request)[0]
    catalog.others = others
    held = draw(studio, request.replace(strength=0.6))[0]
    assert np.array_equal(free, held)


def test_nothing_is_left_for_the_next_job(studio, catalog) -> None:
    before = draw(studio, make_request())[0]
    referred = make_request(references=(Reference(image="style"),))
    draw(studio, referred)
    ctx = context(studio)

    def stop(done: int) -> None:
        raise JobCancelled("stopped")

    ctx.at_step = stop
    with pytest.raises(JobCancelled):
        draw(studio, referred, ctx=ctx)
    assert np.array_equal(draw(studio, make_request())[0], before)
    assert ctx.loaded == [], "adapter and encoder stayed resident"
    resident = {one.title for one in studio[0].get_memory_report().resident}
    assert {"Tiny", "ip-adapter_sd15", "the image encoder"} <= resident
    unet = studio[0]._registry.get_resident("tiny").pipe.unet
    assert unet.encoder_hid_proj is None
    assert unet.config.encoder_hid_dim_type is None
    assert not any("IPAdapter" in type(one).__name__ for one in unet.attn_processors.values())


REFUSED = {
    "no image": (make_request(references=(Reference(),)), "no image"),
    "unknown": (make_request(references=(Reference(image="style", model="nothing"),)), "nothing"),
    "another family": (
        make_request("xl", references=(Reference(image="style", model="ip-adapter_sd15"),)),
        "made for sd15",
    ),
    "no encoder": (
        make_request(references=(Reference(image="style", model="lone-with-a-long-name"),)),
        "image encoder is missing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_references_are_refused_before_anything_is_loaded(studio, name: str) -> None:
    request, words = REFUSED[name]
    ctx = context(studio)
    with pytest.raises(InvalidRequest, match=words):
        draw(studio, request, ctx=ctx)
    assert ctx.loaded == []


def test_without_an_adapter_it_says_what_to_get(studio, catalog) -> None:
    others, catalog.others = catalog.others, []
    with pytest.raises(InvalidRequest) as refusal:
        draw(studio, make_request(references=(Reference(image="style"),)))
    catalog.others = others
    assert "h94/IP-Adapter" in refusal.value.hint


def test_an_adapter_of_other_layers_is_refused(studio, catalog, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    adapter: WeightFile = next(file for file in catalog.others if file.name == "ip-adapter_sd15")
    tensors = load_file(adapter.path)
    tensors = {name: tensor[:-1].clone() if "to_k_ip" in name else tensor for name, tensor in tensors.items()}
    folder = tmp_path / "odd"
    shutil.copytree(adapter.path.parent, folder)
    save_file(tensors, folder / "odd.safetensors")
    odd = dataclasses.replace(adapter, name="odd", path=folder / "odd.safetensors")
    before, others = draw(studio, make_request())[0], catalog.others
    catalog.others = [odd]
    with pytest.raises(InvalidRequest, match="does not fit"):
        draw(studio, make_request(references=(Reference(image="style", model="odd"),)))
    catalog.others = others
    assert np.array_equal(draw(studio, make_request())[0], before)
