"""Apply ControlNets, T2I-Adapters and reference images to a pass. Used in this order:

    request = control_tasks.as_units(request, …)                 # sketch, structure, style transfer: plain drawings now
    control = plan(resources, request, drawn_as, frame, ctx)     # before the checkpoint is leased; None: nothing steers
    with leased(control, resources, options, ctx) as steering:   # within the checkpoint's lease
        pipe = view(held.pipe, class_name=steering.class_name or …, **steering.parts)
        with steering.on(pipe, images):
            the pipeline's call, with steering.inputs among its arguments

Nothing of it is left on the resident components afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.family_facts import ControlFacts
from studio.core.ports import JobContext, LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlMode
from studio.core.task import Task
from studio.pipelines.control import control_nets, ip_adapter
from studio.pipelines.control.control_maps import Frame, draw_map
from studio.pipelines.control.control_unet import LoadedUnit, apply_units
from studio.pipelines.control.control_units import ResolvedUnit, resolve_units

if TYPE_CHECKING:
    from studio.pipelines.run.run_plan import Resources

__all__ = ["ControlPlan", "Frame", "LoadedControl", "check_control", "lease_control", "plan_control"]


@dataclass(frozen=True, kw_only=True)
class ControlPlan:
    """The control of one pass, looked up, checked and drawn. `maps` has an RGB image of the size that is drawn for each
    of `units`."""

    facts: ControlFacts
    drawn_as: Task
    units: tuple[ResolvedUnit, ...]
    maps: tuple[Image.Image, ...]
    references: tuple[ip_adapter.ResolvedReference, ...]

    @property
    def class_name(self) -> str | None:
        """diffusers' pipeline class for this pass, None where the task's own one does it."""
        return self.facts.pipelines[self.drawn_as] if self.units and not self.facts.in_unet else None


@dataclass(frozen=True, kw_only=True)
class LoadedControl:
    """A pass's networks while they are leased: `parts` replace or join the pipeline's components, `inputs` its call's
    arguments."""

    class_name: str | None = None
    parts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    contexts: tuple[Callable[[Any, int], AbstractContextManager[None]], ...] = ()

    @contextmanager
    def on(self, pipe: Any, images: int) -> Iterator[None]:
        """Within the block `pipe`, a view with `parts`, is steered; `images` are drawn together.

        Raises:
            InvalidRequest: a network that turns out not to fit the checkpoint.
        """
        with ExitStack() as stack:
            for enter in self.contexts:
                stack.enter_context(enter(pipe, images))
            yield


def check_control(resources: Resources, request: GenerationRequest, drawn_as: Task) -> None:
    """Refuse, before anything is loaded, what `plan` would.

    Raises:
        InvalidRequest: an unknown or broken ControlNet or adapter, one of another family, a unit without an image, a
            family or task that diffusers cannot steer; message and hint say what to do.
    """
    resolve_units(resources.catalog, request, drawn_as)
    ip_adapter.resolve_references(resources.catalog, request)


def plan_control(
    resources: Resources, request: GenerationRequest, drawn_as: Task, frame: Frame, ctx: JobContext
) -> ControlPlan | None:
    """Plan the control of a pass of `request` that is drawn as TXT2IMG, IMG2IMG or INPAINT (whatever the request's own
    task is), with all maps drawn; None where nothing does.

    Raises:
        InvalidRequest: as `check`. NotConfigured: a preprocessor whose weights are not here. JobCancelled,
            ImageSkipped.
    """
    units = resolve_units(resources.catalog, request, drawn_as)
    references = ip_adapter.resolve_references(resources.catalog, request)
    if not units and not references:
        return None
    spec = resources.catalog.spec(resources.catalog.checkpoint(request.model))
    if not spec.control.in_unet:
        _report_limits(spec, units, ctx)
    maps: list[Image.Image] = []
    for one in units:
        ctx.raise_if_cancelled()
        own = partial(ctx.load_image, one.image) if one.image else None
        maps.append(draw_map(one.unit, own, frame, resources.annotators, ctx))
    return ControlPlan(facts=spec.control, drawn_as=drawn_as, units=units, maps=tuple(maps), references=references)


@contextmanager
def lease_control(
    control: ControlPlan | None, resources: Resources, options: LoadOptions, ctx: JobContext
) -> Iterator[LoadedControl]:
    """The networks of `control`, resident and kept for the length of the block. `options` say how the checkpoint is
    loaded; with its parts waiting outside the device, so do the networks until they are on.

    Raises:
        ModelBroken: a file that does not hold what its header promised.
    """
    if control is None:
        yield LoadedControl()
        return
    with ExitStack() as stack:
        modules = [
            stack.enter_context(
                control_nets.lease_control_network(resources.registry, one.file, options, control.facts, ctx)
            )
            for one in control.units
        ]
        adapter = stack.enter_context(ip_adapter.lease_references(control.references, resources.registry, options, ctx))
        if control.class_name is not None:
            for module in modules:
                stack.callback(_forget_parts, module, control.facts.borrowed_parts)
            parts, inputs = _build_call_inputs(control, modules)
            yield LoadedControl(class_name=control.class_name, parts=parts, inputs=inputs)
            return
        for module in modules:
            module.to(resources.device)
            if options.device != resources.device:
                stack.callback(module.to, options.device)
        loaded_units = [LoadedUnit(*each) for each in zip(control.units, modules, control.maps, strict=True)]
        yield LoadedControl(
            parts=adapter.parts,
            inputs={"ip_adapter_image": adapter.load_images(ctx)} if adapter.references else {},
            contexts=(
                lambda pipe, images: adapter.on(pipe),
                lambda pipe, images: apply_units(pipe, loaded_units, images),
            ),
        )


def _build_call_inputs(control: ControlPlan, modules: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Component and arguments of a transformer family's ControlNet pipeline: lists as soon as there are several
    units."""
    import diffusers

    units = [one.unit for one in control.units]
    arguments: dict[str, list[Any]] = {
        "control_image": list(control.maps),
        "controlnet_conditioning_scale": [unit.weight for unit in units],
    }
    if control.facts.has_range:
        arguments["control_guidance_start"] = [unit.start for unit in units]
        arguments["control_guidance_end"] = [unit.end for unit in units]
    if control.facts.has_union_argument:
        arguments["control_mode"] = [one.union_type for one in control.units]
    if len(units) == 1:
        return {"controlnet": modules[0]}, {name: values[0] for name, values in arguments.items()}
    multi = getattr(diffusers, control.facts.multi_class)
    return {"controlnet": multi(modules)}, arguments


def _report_limits(spec: PipelineSpec, units: tuple[ResolvedUnit, ...], ctx: JobContext) -> None:
    if any(one.unit.mode is not ControlMode.BALANCED for one in units):
        ctx.add_notice("This model family does not support control modes; the setting was ignored.")
    if not spec.control.has_range and any((one.unit.start, one.unit.end) != (0, 1) for one in units):
        ctx.add_notice(f"{spec.title} is steered from the first step to the last: start and end were left out.")


def _forget_parts(module: Any, names: tuple[str, ...]) -> None:
    """Drop what the pipeline lent its ControlNet of the transformer, which must be free to leave afterwards."""
    for name in names:
        setattr(module, name, None)
