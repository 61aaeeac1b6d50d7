"""Families that draw with the sampler of their maker: tiny ones through the real catalog and backend give the image
that diffusers gives by itself, can be watched and stopped, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import JobCancelled
from studio.core.feature import Feature
from studio.core.request import GenerationRequest
from studio.core.request_parts import Hires
from studio.core.task import Task
from studio.engine.plugins import discover
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.local_backend import LocalPipelines
from tests import tiny_plain
from tests.editing_studio import make_scene
from tests.local_models import RecordingContext, make_local_pipelines, make_seeds

pytestmark = pytest.mark.torch

# family, what makes a tiny one, and what its own call is given besides prompt, size, steps and seed
CASES: dict[str, tuple[str, Callable[[Path], Any], dict[str, Any]]] = {
    "pixart-sigma": ("pixart", tiny_plain.make_pixart, {"use_resolution_binning": False, "clean_caption": False}),
    "pixart-alpha": ("pixart", tiny_plain.make_pixart_alpha, {"use_resolution_binning": False, "clean_caption": False}),
    "hidream": ("hidream", tiny_plain.make_hidream, {}),
    "chroma": ("chroma", tiny_plain.make_chroma, {}),
    "sana-sprint": (
        "sana_sprint",
        tiny_plain.make_sana_sprint,
        {"use_resolution_binning": False, "intermediate_timesteps": None},
    ),
    "omnigen": ("omnigen", tiny_plain.make_omnigen, {}),
    "kandinsky5": ("kandinsky5", tiny_plain.make_kandinsky5, {}),
    "ernie": ("ernie_image", tiny_plain.make_ernie_image, {"use_pe": False}),
    "longcat": ("longcat_image", tiny_plain.make_longcat_image, {"enable_prompt_rewrite": False}),
    "hunyuan": ("hunyuan_image", tiny_plain.make_hunyuan_image, {"guidance_scale": None}),
    "bria": ("bria", tiny_plain.make_bria, {}),
    "bria-fibo": ("bria", tiny_plain.make_bria_fibo, {}),
}
STEPS, SIDE, GUIDANCE = 3, 64, 3.0


def make_model(tmp_path: Path, name: str) -> tuple[LocalPipelines, Catalog, RecordingContext, Path]:
    """The backend over a models folder with one tiny model called "tiny"."""
    import torch

    models = tmp_path / "models"
    folder = models / "tiny"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        CASES[name][1](tmp_path / "parts").save_pretrained(folder, safe_serialization=True)
    catalog = Catalog(models, list(discover("studio.pipelines.families", "PIPELINE")), models / ".cache")
    backend, settings = make_local_pipelines(models, catalog, previews=True)  # type: ignore[arg-type]
    return backend, catalog, RecordingContext(settings, due=True), folder


def make_request(**changes: Any) -> GenerationRequest:
    values = {"model": "tiny", "prompt": "a red apple", "steps": STEPS, "width": SIDE, "height": SIDE, **changes}
    return GenerationRequest(**{"guidance": GUIDANCE, **values})


def draw_bare(folder: Path, more: dict[str, Any], seed: int) -> Any:
    """What diffusers draws by itself."""
    import diffusers
    import torch

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    arguments = {"guidance_scale": GUIDANCE, "width": SIDE, "height": SIDE, "num_inference_steps": STEPS, **more}
    if arguments["guidance_scale"] is None:  # HunyuanImage has it in its guider
        del arguments["guidance_scale"]
        for part in ("guider", "ocr_guider"):
            setattr(pipe, part, getattr(pipe, part).new(guidance_scale=GUIDANCE))
    found = pipe(prompt=["a red apple"], generator=[torch.Generator("cpu").manual_seed(seed)], **arguments)
    return (found.image if hasattr(found, "image") else found.images)[0]  # Kandinsky calls them "image"


@pytest.mark.parametrize("name", CASES)
def test_a_tiny_model_gives_the_image_of_bare_diffusers(tmp_path: Path, name: str) -> None:
    family, _, more = CASES[name]
    backend, catalog, ctx, folder = make_model(tmp_path, name)
    weight = catalog.checkpoint("tiny")
    assert (weight.problem, weight.family) == ("", family)
    model = next(model for model in catalog.models() if model.id == "tiny")
    assert not model.problem
    drawn = backend.render(make_request(), make_seeds(5), ctx)[0].image
    bare = draw_bare(folder, more, 5).convert("RGB")
    assert np.array_equal(np.asarray(drawn), np.asarray(bare))
    assert [step for step, _ in ctx.steps][-1] == STEPS, "every step is reported"
    again = backend.render(make_request(), make_seeds(5), ctx)[0].image
    assert np.array_equal(np.asarray(again), np.asarray(drawn)), "no run leaves a trace"
    other = backend.render(make_request(guidance=5.0), make_seeds(6), ctx)[0].image
    assert not np.array_equal(np.asarray(other), np.asarray(drawn))

    def stop(done: int) -> None:
        raise JobCancelled("Stopped.")

    ctx.at_step = stop
    with pytest.raises(JobCancelled):
        backend.render(make_request(), make_seeds(5), ctx)
    backend.close()


IMAGE_CASES = {"chroma": Task.IMG2IMG, "sana-sprint": Task.IMG2IMG}
_CLASSES = {"chroma": "ChromaImg2ImgPipeline", "sana-sprint": "SanaSprintImg2ImgPipeline"}


def change_bare(folder: Path, name: str, source: Any, seed: int) -> Any:
    """What diffusers makes of `source` by itself at strength 0.5."""
    import diffusers
    import torch

    pipe = getattr(diffusers, _CLASSES[name]).from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    arguments = {"width": SIDE, "height": SIDE, "num_inference_steps": 4, "strength": 0.5, **CASES[name][2]}
    generator = [torch.Generator("cpu").manual_seed(seed)]
    return pipe(prompt=["a red apple"], image=source, generator=generator, guidance_scale=GUIDANCE, **arguments).images[
        0
    ]


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_a_tiny_model_makes_of_an_image_what_bare_diffusers_makes(tmp_path: Path, name: str) -> None:
    backend, catalog, ctx, folder = make_model(tmp_path, name)
    model = next(model for model in catalog.models() if model.id == "tiny")
    assert {Task.TXT2IMG, Task.IMG2IMG} <= model.tasks
    source = make_scene()
    ctx.images["source"] = source
    request = make_request(task=Task.IMG2IMG, source="source", strength=0.5, steps=4)
    drawn = backend.render(request, make_seeds(5), ctx)[0].image
    assert np.array_equal(np.asarray(drawn), np.asarray(change_bare(folder, name, source, 5).convert("RGB")))
    assert len(ctx.steps) == 2, "half of the four steps are run"
    if Feature.HIRES in model.features:
        twice = make_request(hires=Hires(scale=2.0, strength=0.5, upscaler="Latent"))
        assert backend.render(twice, make_seeds(5), ctx)[0].image.size == (2 * SIDE, 2 * SIDE)
    backend.close()
