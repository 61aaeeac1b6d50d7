"""Sketch, structure and style transfer said as control units, and what a checkpoint offers by the files beside it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.request_parts import Reference
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.control import control_tasks
from studio.pipelines.families import sd15
from tests.local_models import make_request

FACTS = sd15.PIPELINE.control


def file(name: str, kind: WeightKind = WeightKind.CONTROLNET, family: str = "sd15") -> WeightFile:
    return WeightFile(name=name, kind=kind, path=Path("nowhere") / name, bytes=1, family=family)


SKETCHED = GenerationRequest(task=Task.SKETCH, model="tiny", source="source", strength=0.6, prompt="a cat")


def test_a_sketch_becomes_a_unit_that_follows_it() -> None:
    nets = [file("control_v11p_sd15_canny"), file("control_v11p_sd15_scribble")]
    drawn = control_tasks.convert_to_units(SKETCHED, nets, FACTS)
    assert (drawn.task, drawn.source, drawn.strength) == (Task.TXT2IMG, None, None)
    (one,) = drawn.control
    assert (one.model, one.image, one.weight) == ("control_v11p_sd15_scribble", "source", 0.6)
    assert one.preprocessor == "scribble_xdog"
    shapes = control_tasks.convert_to_units(
        SKETCHED.replace(task=Task.STRUCTURE), [file("embedded-edges"), file("my_depth")], FACTS
    )
    assert (shapes.control[0].model, shapes.control[0].preprocessor) == ("embedded-edges", "canny")
    plain = make_request()
    assert control_tasks.convert_to_units(plain, nets, FACTS) is plain


def test_style_transfer_takes_shapes_from_a_controlnet_or_from_the_source() -> None:
    request = SKETCHED.replace(
        task=Task.STYLE_TRANSFER, strength=None, references=(Reference(image="style", weight=0.8),)
    )
    adapter = file("ip-adapter_sd15", WeightKind.IP_ADAPTER)
    held = control_tasks.convert_to_units(request, [adapter, file("canny")], FACTS)
    assert held.task is Task.TXT2IMG
    assert held.control[0].image == "source"
    assert held.references == (Reference(image="style", weight=0.8, style_only=True),)
    free = control_tasks.convert_to_units(request, [adapter], FACTS)
    assert (free.task, free.source, free.strength) == (Task.IMG2IMG, "source", control_tasks.STYLE_STRENGTH)
    for lacking, files in ((request, []), (request.replace(references=()), [adapter]), (SKETCHED, [adapter])):
        with pytest.raises(InvalidRequest) as refusal:
            control_tasks.convert_to_units(lacking, files, FACTS)
        assert refusal.value.hint


def test_a_model_offers_what_its_files_can_do() -> None:
    model = Model(id="m", title="m", family="sd15", tasks=frozenset({Task.TXT2IMG}))
    none = control_tasks.add_control_tasks(model, (), FACTS)
    assert not none.features & {Feature.CONTROL, Feature.REFERENCE}
    assert none.tasks == {Task.TXT2IMG}
    edges = control_tasks.add_control_tasks(model, (file("edges"),), FACTS)
    assert {Task.SKETCH, Task.STRUCTURE} < edges.tasks
    assert Feature.CONTROL in edges.features
    style = control_tasks.add_control_tasks(model, (file("ip", WeightKind.IP_ADAPTER),), FACTS)
    assert Task.STYLE_TRANSFER in style.tasks
    assert Feature.REFERENCE in style.features
    masked = dataclasses.replace(model, tasks=frozenset({Task.INPAINT}))
    assert control_tasks.add_control_tasks(masked, (file("edges"),), FACTS).tasks == {Task.INPAINT, Task.DETAIL}
