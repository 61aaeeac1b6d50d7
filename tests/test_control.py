"""ControlNets and T2I-Adapters end to end, on tiny real networks, against diffusers' own pipelines for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, JobCancelled, NotConfigured
from studio.core.request import GenerationRequest, Hires
from studio.core.request_parts import ControlMode, ControlUnit, Inpaint
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from tests.local_models import (
    FakeAnnotators,
    FolderCatalog,
    RecordingContext,
    estimate_budget_gb,
    make_local_pipelines,
    make_request,
    make_seeds,
)
from tests.tiny_control import (
    make_tile_image,
    make_tiny_controlnet,
    make_tiny_crossed,
    make_tiny_t2i_adapter,
    make_tiny_union,
)
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
IMAGES = {"source": make_tile_image(1), "other": make_tile_image(2), "mask": Image.new("L", (64, 64), 0)}
IMAGES["mask"].paste(255, (0, 0, 32, 64))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("models")
    one, xl, crossed = make_tiny_sd15(root / "tiny"), make_tiny_sdxl(root / "xl"), make_tiny_crossed(root / "crossed")
    nets = (
        make_tiny_controlnet(root / "canny", one),
        make_tiny_controlnet(root / "depth", one, seed=2),
        make_tiny_controlnet(root / "shuffle", one, global_pool_conditions=True),
        make_tiny_controlnet(root / "xl-canny", xl),
        make_tiny_union(root / "xl-union", xl),
        make_tiny_t2i_adapter(root / "sketch"),
        make_tiny_t2i_adapter(root / "grey", grey=True),
        make_tiny_controlnet(root / "crossed-canny", crossed),
        WeightFile(
            name="broken", kind=WeightKind.CONTROLNET, path=root, bytes=1, family="sd15", problem="It is truncated."
        ),
        WeightFile(name="foreign", kind=WeightKind.CONTROLNET, path=root, bytes=1, family="flux"),
        dataclasses.replace(make_tiny_controlnet(root / "narrow", make_tiny_sd15(root / "other")), name="narrow"),
    )
    config = root / "narrow" / "config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 48'))
    return FolderCatalog({"tiny": one, "xl": xl, "crossed": crossed}, nets)


@pytest.fixture
def studio(catalog, tmp_path):
    backend, settings = make_local_pipelines(tmp_path, catalog, FakeAnnotators(IMAGES["mask"]))
    yield backend, settings
    backend.close()


def context(studio) -> RecordingContext:
    return RecordingContext(studio[1], images=IMAGES)


def draw(studio, request: GenerationRequest, *numbers: int, ctx: RecordingContext | None = None) -> list[np.ndarray]:
    drawn = studio[0].render(request, make_seeds(*(numbers or (7,))), ctx or context(studio))
    return [np.asarray(one.image, dtype=int) for one in drawn]


def unit(model: str = "canny", **changes: Any) -> ControlUnit:
    return ControlUnit(**{"model": model, "image": "other", **changes})


def bare(
    catalog, model: str, class_name: str, nets: list[str], request: GenerationRequest, **arguments: Any
) -> np.ndarray:
    """diffusers' own pipeline for it."""
    import diffusers
    import torch

    from studio.pipelines.run.samplers import make_scheduler

    loaded = [_net(catalog.find(_kind(catalog, name), name)) for name in nets]
    part = "adapter" if "Adapter" in class_name else "controlnet"
    pipe = getattr(diffusers, class_name).from_pretrained(
        catalog.checkpoint(model).path, local_files_only=True, **{part: loaded if len(loaded) > 1 else loaded[0]}
    )
    pipe.scheduler = make_scheduler("Euler", "Automatic", pipe.scheduler.config)
    with torch.inference_mode():
        image = pipe(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=4.0,
            generator=[torch.Generator().manual_seed(7)],
            **arguments,
        ).images[0]
    return np.asarray(image, dtype=int)


def _kind(catalog, name: str) -> WeightKind:
    return next(file.kind for file in catalog.weights() if file.name == name)


def _net(file: WeightFile) -> Any:
    import diffusers

    name = (
        "T2IAdapter"
        if file.kind is WeightKind.T2I_ADAPTER
        else "ControlNetUnionModel"
        if "union" in file.name
        else "ControlNetModel"
    )
    return getattr(diffusers, name).from_pretrained(file.path, local_files_only=True)


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1)


@pytest.mark.parametrize("model", ["tiny", "xl"])
def test_one_unit_draws_what_diffusers_control_pipeline_draws(studio, catalog, model: str) -> None:
    net, xl = ("xl-canny", "XL") if model == "xl" else ("canny", "")
    request = make_request(model, steps=4, control=(unit(net, weight=0.7, start=0.25, end=0.75),))
    theirs = bare(
        catalog,
        model,
        f"StableDiffusion{xl}ControlNetPipeline",
        [net],
        request,
        image=IMAGES["other"],
        controlnet_conditioning_scale=0.7,
        control_guidance_start=0.25,
        control_guidance_end=0.75,
    )
    ours = draw(studio, request)[0]
    assert same(ours, theirs)
    assert not same(ours, draw(studio, request.replace(control=()))[0]), "it steers"


def test_three_units_draw_what_diffusers_draws_with_three(studio, catalog) -> None:
    names, weights = ["canny", "depth", "canny"], [0.5, 0.9, 0.3]
    maps = [IMAGES["other"], IMAGES["source"], IMAGES["source"]]
    units = (
        unit("canny", weight=0.5, end=0.5),
        unit("depth", weight=0.9, image="source"),
        unit("canny", weight=0.3, image="source"),
    )
    request = make_request(steps=4, control=units)
    theirs = bare(
        catalog,
        "tiny",
        "StableDiffusionControlNetPipeline",
        names,
        request,
        image=maps,
        controlnet_conditioning_scale=weights,
        control_guidance_start=[0.0] * 3,
        control_guidance_end=[0.5, 1.0, 1.0],
    )
    assert same(draw(studio, request)[0], theirs)


def test_image_to_image_and_inpainting_are_steered_as_diffusers_does(studio, catalog) -> None:
    request = make_request(
        task=Task.IMG2IMG, steps=4, strength=0.5, source="source", control=(unit(image=None, preprocessor="canny"),)
    )
    grey = IMAGES["source"].convert("L").convert("RGB")  # the annotators' map
    theirs = bare(
        catalog,
        "tiny",
        "StableDiffusionControlNetImg2ImgPipeline",
        ["canny"],
        request,
        image=IMAGES["source"],
        control_image=grey,
        strength=0.5,
        controlnet_conditioning_scale=1.0,
    )
    assert same(draw(studio, request)[0], theirs)
    masked = request.replace(task=Task.INPAINT, mask="mask", inpaint=Inpaint(mask_blur=0), control=(unit(),))
    changed = draw(studio, masked)[0]
    assert np.array_equal(changed[:, 32:], np.asarray(IMAGES["source"], dtype=int)[:, 32:]), "unmasked pixels stay"
    assert not same(changed, draw(studio, masked.replace(control=()))[0])


def test_a_union_controlnet_is_told_its_type(studio, catalog) -> None:
    request = make_request("xl", control=(unit("xl-union", preprocessor="none", kind="canny", weight=0.8),))
    theirs = bare(
        catalog,
        "xl",
        "StableDiffusionXLControlNetUnionPipeline",
        ["xl-union"],
        request,
        control_image=IMAGES["other"],
        control_mode=3,
        controlnet_conditioning_scale=0.8,
    )
    ours = draw(studio, request)[0]
    assert same(ours, theirs)
    depth = request.replace(control=(unit("xl-union", kind="depth", weight=0.8),))
    assert not same(ours, draw(studio, depth)[0])
    beside = request.replace(control=(*request.control, unit("xl-canny")))
    assert not same(ours, draw(studio, beside)[0]), "beside a plain one it works too"


@pytest.mark.parametrize("name", ["sketch", "grey"])
def test_a_t2i_adapter_draws_what_diffusers_draws(studio, catalog, name: str) -> None:
    request = make_request("crossed", control=(unit(name, weight=0.9),))
    image = IMAGES["other"].convert("L") if name == "grey" else IMAGES["other"]
    theirs = bare(
        catalog,
        "crossed",
        "StableDiffusionAdapterPipeline",
        [name],
        request,
        image=image,
        adapter_conditioning_scale=0.9,
    )
    ours = draw(studio, request)[0]
    assert same(ours, theirs)
    both = draw(studio, request.replace(control=(*request.control, unit("crossed-canny"))))[0]
    assert not same(ours, both), "it acts beside a ControlNet"
    with pytest.raises(InvalidRequest, match="layer sizes differ"):
        draw(studio, make_request(control=(unit(name),)))


def test_the_second_pass_is_steered_too(studio) -> None:
    hires = Hires(scale=2, upscaler="Lanczos", strength=0.5)
    request = make_request(hires=hires, control=(unit(weight=1.5),))
    steered, free = draw(studio, request)[0], draw(studio, request.replace(control=()))[0]
    assert steered.shape == (128, 128, 3)
    assert not same(steered, free)


def test_modes_weigh_blocks_and_sides_of_the_guidance(studio) -> None:
    """Balanced acts on both sides; control on the prompt's alone; both others weigh the shallow blocks less."""
    drawn = {mode: draw(studio, make_request(control=(unit(mode=mode, weight=2),)))[0] for mode in ControlMode}
    assert not same(drawn[ControlMode.BALANCED], drawn[ControlMode.PROMPT])
    assert not same(drawn[ControlMode.PROMPT], drawn[ControlMode.CONTROL])
    unguided = [
        draw(studio, make_request(guidance=1, control=(unit(mode=m, weight=2),)))[0] for m in ("prompt", "control")
    ]
    assert same(*unguided), "without guidance there is one side only"


@pytest.mark.parametrize(
    ("name", "mode"), [("canny", "control"), ("canny", "prompt"), ("shuffle", "balanced"), ("sketch", "control")]
)
def test_what_each_block_is_given(catalog, name: str, mode: str) -> None:
    import torch

    from studio.pipelines.control.control_unet import LoadedUnit, apply_units
    from studio.pipelines.control.control_units import ResolvedUnit

    file, model = catalog.find(_kind(catalog, name), name), "crossed" if name == "sketch" else "tiny"
    module = _net(file)
    chosen = ResolvedUnit(unit=ControlUnit(model=name, mode=ControlMode(mode), weight=0.5), file=file, image=None)
    balanced = dataclasses.replace(chosen, unit=dataclasses.replace(chosen.unit, mode=ControlMode.BALANCED))

    def given(one: ResolvedUnit) -> list[torch.Tensor]:
        import diffusers

        pipe = diffusers.StableDiffusionPipeline.from_pretrained(catalog.checkpoint(model).path, local_files_only=True)
        pipe._guidance_scale, pipe._num_timesteps = 4.0, 1
        seen: dict[str, Any] = {}
        pipe.unet.forward = lambda sample, timestep, **rest: seen.update(rest)
        generator = torch.Generator().manual_seed(0)
        sample, text = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 5, 32, generator=generator)
        with apply_units(pipe, [LoadedUnit(one, module, IMAGES["source"])], 2), torch.inference_mode():
            pipe.unet(sample, torch.tensor(500), encoder_hidden_states=text)
        levels = seen.get("down_intrablock_additional_residuals")
        return levels or [*seen["down_block_additional_residuals"], seen["mid_block_additional_residual"]]

    got, plain = given(chosen), given(balanced)
    only_prompt = mode == "control" or name == "shuffle"
    assert all(bool(block[:2].any()) is not only_prompt for block in got)
    soft = mode != "balanced"
    if name == "sketch":
        factors = [0.825, 1.0]
    else:
        factors = [0.825 ** (len(got) - 1 - place) if soft else 1.0 for place in range(len(got))]
    for block, before, factor in zip(got, plain, factors, strict=True):
        assert torch.allclose(block[2:], before[2:] * factor, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny", "xl"])
def test_conditions_joined_by_and_are_each_steered(studio, model: str) -> None:
    units = (unit("xl-canny" if model == "xl" else "canny"),)
    plain = draw(studio, make_request(model, prompt="a red apple", control=units))[0]
    halves = draw(studio, make_request(model, prompt="a red apple :0.5 AND a red apple :0.5", control=units))[0]
    assert np.abs(plain - halves).max() <= 2, "two halves of the same are the whole"
    other = draw(studio, make_request(model, prompt="a red apple AND a green pear", control=units))[0]
    assert not same(plain, other)


def test_a_batch_and_a_second_order_sampler_are_steered_as_single_images(studio) -> None:
    request = make_request(
        "crossed",
        sampler="Heun",
        steps=3,
        control=(unit("crossed-canny", end=0.6), unit("sketch", mode=ControlMode.CONTROL)),
    )
    together = draw(studio, request, 1, 2)
    alone = [draw(studio, request, seed)[0] for seed in (1, 2)]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("guided", [{}, {"pag_scale": 3.0}, {"sag_scale": 0.5}, {"pag_scale": 3.0, "sag_scale": 0.5}])
def test_a_unit_begins_and_ends_with_its_steps_however_often_the_unet_is_called(
    studio, monkeypatch: pytest.MonkeyPatch, guided: dict[str, Any]
) -> None:
    from studio.pipelines.control.control_unet import LoadedUnit

    steered: list[float] = []
    compute = LoadedUnit.compute_residuals

    def note_timestep(one: LoadedUnit, rows: Any) -> Any:
        steered.append(round(float(rows.timestep)))
        return compute(one, rows)

    monkeypatch.setattr(LoadedUnit, "compute_residuals", note_timestep)
    half = unit(start=0.25, end=0.75)
    draw(studio, make_request(steps=8, sampler="Euler", schedule="Uniform", control=(half,), **guided))
    assert list(dict.fromkeys(steered)) == [round(one) for one in np.linspace(999, 0, 8)[2:6]]
    assert len(steered) == 4 * (1 + len(guided))


def test_nothing_is_left_for_the_next_job(studio) -> None:
    bare = make_request("crossed")
    steered = bare.replace(control=(unit("crossed-canny"), unit("sketch")))
    before = draw(studio, bare)[0]
    draw(studio, steered)
    assert np.array_equal(draw(studio, bare)[0], before)
    ctx = context(studio)

    def stop(done: int) -> None:
        raise JobCancelled("stopped")

    ctx.at_step = stop
    with pytest.raises(JobCancelled):
        draw(studio, steered, ctx=ctx)
    assert len(ctx.steps) == 1, "it stops within a step"
    assert np.array_equal(draw(studio, bare)[0], before)


def test_networks_stay_resident_and_leave_when_memory_is_short(catalog, tmp_path) -> None:
    studio = make_local_pipelines(tmp_path, catalog, memory_budget_gb=1)
    ctx = context(studio)
    draw(studio, make_request(control=(unit(),)), ctx=ctx)
    draw(studio, make_request(control=(unit(),)), ctx=ctx)
    assert ctx.loaded == ["Loading Tiny", "Loading canny"]
    held = {one.title: one.bytes for one in studio[0].get_memory_report().resident}
    assert held["canny"] > 0.9 * catalog.find(WeightKind.CONTROLNET, "canny").bytes
    small = make_local_pipelines(tmp_path, catalog, memory_budget_gb=estimate_budget_gb(catalog, "tiny"))
    draw(small, make_request(control=(unit(),)))
    draw(small, make_request(control=(unit("depth"),)))
    assert {one.title for one in small[0].get_memory_report().resident} == {"Tiny", "depth"}
    studio[0].close()
    small[0].close()


REFUSED = {
    "no such net": (make_request(control=(unit("nothing"),)), "nothing"),
    "no model": (make_request(control=(unit(""),)), "has no ControlNet"),
    "broken": (make_request(control=(unit("broken"),)), "truncated"),
    "another family": (make_request(control=(unit("foreign"),)), "made for flux"),
    "another width": (make_request(control=(unit("narrow"),)), "48 wide"),
    "no image": (make_request(control=(unit(image=None),)), "has no image"),
    "union without type": (make_request("xl", control=(unit("xl-union"),)), "needs a control type"),
    "union of another type": (make_request("xl", control=(unit("xl-union", kind="tile"),)), "does not support tile"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_units_are_refused_before_anything_is_loaded(studio, catalog, name: str, monkeypatch) -> None:
    request, words = REFUSED[name]
    ctx = context(studio)
    if name == "broken":  # the catalog's own find refuses it; so do we
        monkeypatch.setattr(
            catalog, "find", lambda kind, wanted: next(f for f in catalog.weights() if f.name == wanted)
        )
    with pytest.raises(InvalidRequest) as refusal:
        draw(studio, request, ctx=ctx)
    assert words in refusal.value.message
    assert refusal.value.hint or name == "no such net"
    assert ctx.loaded == []


def test_a_net_of_other_layers_is_refused(studio, catalog, tmp_path) -> None:
    from diffusers import ControlNetModel

    net = ControlNetModel.load_config(catalog.find(WeightKind.CONTROLNET, "canny").path)
    wide = ControlNetModel.from_config({**net, "block_out_channels": (16, 48)})
    wide.save_pretrained(tmp_path / "wide")
    file = WeightFile(name="wide", kind=WeightKind.CONTROLNET, path=tmp_path / "wide", bytes=1, family="sd15")
    others, catalog.others = catalog.others, [*catalog.others, file]
    with pytest.raises(InvalidRequest, match="layer sizes differ"):
        draw(studio, make_request(control=(unit("wide"),)))
    catalog.others = others


def test_without_preprocessors_a_finished_map_is_wanted(catalog, tmp_path) -> None:
    studio = make_local_pipelines(tmp_path, catalog)
    with pytest.raises(NotConfigured, match="preprocessors"):
        draw(studio, make_request(control=(unit(preprocessor="canny"),)))


def test_a_unit_of_no_weight_is_off(studio) -> None:
    off = make_request(control=(ControlUnit(model="nothing", weight=0),))
    assert np.array_equal(draw(studio, off)[0], draw(studio, make_request())[0])


def test_a_sketch_is_drawn(studio) -> None:
    request = make_request("crossed", task=Task.SKETCH, source="source", strength=0.9)
    by_hand = unit("sketch", image="source", weight=0.9, preprocessor="scribble_xdog")
    drawn = draw(studio, request)[0]
    assert np.array_equal(drawn, draw(studio, make_request("crossed", control=(by_hand,)))[0])
    assert not same(drawn, draw(studio, make_request("crossed"))[0])
