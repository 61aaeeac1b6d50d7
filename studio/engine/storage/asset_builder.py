"""Assets as they will be saved: the recipe of each image, in our words and in A1111's."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from studio.core.infotext import append_step_pairs, format_infotext
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.source_type import GENERATED, find_source_type
from studio.core.task import Task
from studio.engine.jobs.job import Job
from studio.engine.storage.inputs import Images


class AssetBuilder:
    """Makes the Asset of a drawn image, but for its path."""

    def __init__(self, *, version: str, images: Images, model_hash: Callable[[str], str]) -> None:
        """`images` know where a source came from. `model_hash` gives a model's short hash at once, or "" while it is
        not known."""
        self._version = version
        self._images = images
        self._model_hash = model_hash

    def build_asset(
        self,
        job: Job,
        index: int,
        request: GenerationRequest,
        model: Model,
        rendered: RenderedImage,
        notes: tuple[str, ...],
    ) -> Asset:
        """The asset of one file; its request asks for this one alone."""
        own = _narrow_request(request, rendered).replace(
            count=1,
            batch_size=1,
            axes=(),
            batch=(),
            seed=rendered.seed if Feature.SEED in model.features else None,
            variation_seed=rendered.variation_seed if request.variation_strength > 0 else request.variation_seed,
            batch_index=rendered.batch_index,
        )
        before = self._images.get(own.source, job.user) if own.source else None
        infotext = (
            self._build_infotext(own, model, rendered) if own.task.is_generative else before.infotext if before else ""
        )
        asset = _make_asset(job, index, rendered, own, append_step_pairs(infotext, own))
        return dataclasses.replace(
            asset,
            notes=tuple(dict.fromkeys((*notes, *rendered.notes))),
            label=rendered.label,
            parents=(before.asset,) if before and before.asset else (),
            history=before.history if before else (),
            source_type=find_source_type(before.source_type if before else "", (own.replace(then=()), *own.then)),
        )

    def build_grid_asset(self, job: Job, rendered: RenderedImage) -> Asset:
        """The asset of a grid's labelled image; its request asks for the whole grid again."""
        parents = tuple(asset.id for asset in job.snapshot.assets)
        source_types = [asset.source_type for asset in job.snapshot.assets]
        return dataclasses.replace(
            _make_asset(job, job.images, rendered, job.request.replace(drawn=())),
            parents=parents,
            source_type=GENERATED if GENERATED in source_types else max(source_types, default=""),
        )

    def _build_infotext(self, request: GenerationRequest, model: Model, rendered: RenderedImage) -> str:
        is_first = request.task is Task.TXT2IMG or request.enlarge  # the size of a first pass is said
        width, height = model.get_size(request) if is_first else rendered.image.size
        return format_infotext(
            request,
            model=model,
            width=width,
            height=height,
            seed=rendered.seed,
            model_hash=self._model_hash(model.id),
            version=self._version,
        )

    def fields(self, request: GenerationRequest, model: Model) -> dict[str, str]:
        """The fields of the naming pattern that the asset lacks."""
        return {
            "model": model.id,
            "sampler": request.sampler or model.sampling.sampler,
            "steps": str(request.steps or model.sampling.steps),
        }


def _narrow_request(request: GenerationRequest, rendered: RenderedImage) -> GenerationRequest:
    """`request` narrowed to the one file that `rendered` is."""
    if rendered.request is None:
        return request
    if not request.then:
        return rendered.request.replace(then=(), file=request.file)
    return request.replace(then=(*request.then[:-1], rendered.request.replace(source=None, seed=None)))


def _make_asset(job: Job, index: int, rendered: RenderedImage, request: GenerationRequest, infotext: str = "") -> Asset:
    return Asset(
        id=f"{job.id}-{index}",
        job_id=job.id,
        user=job.user,
        index=index,
        path=Path(),
        width=rendered.image.width,
        height=rendered.image.height,
        seed=rendered.seed,
        created=time.time(),
        request=request,
        infotext=infotext,
    )
