"""The files that a request names, looked up before it is queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.core.finish import Upscale
from studio.core.ports import Annotators
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionSplit
from studio.core.weights import WeightKind
from studio.pipelines.control.control_units import check_unit_names
from studio.pipelines.control.ip_adapter import check_reference_names
from studio.pipelines.run import hires
from studio.pipelines.run.detail_areas import check_target
from studio.pipelines.run.embeddings import check_embeddings, find_embeddings
from studio.pipelines.run.lora import find_loras
from studio.pipelines.run.refining import check_refiner
from studio.pipelines.run.region_checks import check_regions
from studio.pipelines.run.region_loras import check_region_loras, merge_region_loras, move_region_tags
from studio.pipelines.upscale import realesrgan_engine
from studio.pipelines.upscale.upscale_image import RESAMPLERS
from studio.prompting.networks import extract_loras

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog


def check_names(catalog: Catalog, request: GenerationRequest, annotators: Annotators | None) -> None:
    """Look up every LoRA, VAE, textual inversion, control network and upscaler of both passes and of the detailers.

    Raises:
        UnknownModel, InvalidRequest: one that is not there, is broken or of another family.
        NotConfigured: a detailer looks for something that only `annotators` could find.
    """
    _check_pass(catalog, request)
    if not _has_other_prompts(request):
        check_regions(request)
    check_upscaler_names(catalog, request.upscale)
    for detailer in request.detailers:
        check_target(detailer, annotators)
        prompt = detailer.prompt or request.prompt
        _check_pass(
            catalog,
            request.replace(
                model=detailer.model or request.model, prompt=prompt, control=(), loras=(), regions=None, areas=()
            ),
        )
    if request.refiner:
        found = {model.id: model for model in catalog.models()}
        refiner = found[catalog.checkpoint(request.refiner).name]
        check_refiner(found[catalog.checkpoint(request.model).name], refiner)
    second_pass = request.hires
    if second_pass is None:
        return
    first, second = (catalog.checkpoint(name).family for name in (request.model, second_pass.model or request.model))
    hires.check_hires(second_pass, first, second, list_upscalers(catalog))
    _check_pass(
        catalog, request.replace(model=second_pass.model or request.model, prompt=second_pass.prompt or request.prompt)
    )


def list_upscalers(catalog: Catalog) -> tuple[str, ...]:
    """The names of the resamplers and of every upscaler that can be used."""
    files = [file for file in catalog.weights() if file.kind is WeightKind.UPSCALER and not file.problem]
    return (*RESAMPLERS, *(file.name for file in files))


def check_upscaler_names(catalog: Catalog, upscale: Upscale | None) -> None:
    """Look up the upscaler that is blended in, and the one that a redrawing starts from.

    Raises:
        InvalidRequest: one that is not there or is broken.
    """
    for name in filter(None, (upscale.second, upscale.base) if upscale else ()):
        if name not in RESAMPLERS:
            catalog.find(WeightKind.UPSCALER, name.removesuffix(realesrgan_engine.ENGINE_SUFFIX))


def _has_other_prompts(request: GenerationRequest) -> bool:
    """Whether each image has a prompt of its own, which columns and rows need not divide as this one."""
    return bool(request.template or request.drawn or request.axes)


def _check_pass(catalog: Catalog, request: GenerationRequest) -> None:
    weight = catalog.checkpoint(request.model)
    extract_loras(request.negative_prompt)
    spec = catalog.spec(weight)
    divided = request.regions is RegionSplit.AREAS or not _has_other_prompts(request)
    moved, own = move_region_tags(request if divided else request.replace(regions=None))
    uses, _ = merge_region_loras(moved.loras, own)
    check_region_loras(request, own, find_loras(catalog, uses, spec.family, weight.name))
    if spec.clip:
        check_embeddings(find_embeddings(request, catalog.weights(), spec.family)[1], weight, spec)
    check_unit_names(catalog, request)
    check_reference_names(catalog, request)
    if request.vae:
        catalog.find(WeightKind.VAE, request.vae)
