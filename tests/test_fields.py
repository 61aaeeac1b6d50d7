"""The field tables: everything that they say is true of the request, and everything follows them."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import gradio as gr
import pytest
from fakes import FAKE_MODEL

from studio.api.field_bodies import build_body, read_body
from studio.api.request_bodies import EditBody
from studio.api.schemas import DetailerBody, HiresBody, SocialBody
from studio.core import field_tables
from studio.core.block_weights import parse_blocks
from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest
from studio.core.feature import Feature
from studio.core.field_spec import FieldSpec, GridAxis, Group, InfotextKey, Limits, Widget, get_field
from studio.core.field_tables.detailer import DETAILER_FIELDS
from studio.core.field_tables.finish import (
    BOX_FIELDS,
    DERIVATIVE_FIELDS,
    FACE_FIELDS,
    FILE_FIELDS,
    FINISH_FIELDS,
    TEXT_FIELDS,
    UPSCALE_FIELDS,
    WATERMARK_FIELDS,
)
from studio.core.field_tables.social import SOCIAL_FIELDS
from studio.core.fields import HIRES_FIELDS, INPAINT_FIELDS, OUTPAINT_FIELDS, REQUEST_FIELDS
from studio.core.finish import (
    Box,
    Derivative,
    FaceRestoration,
    Finish,
    OutputOptions,
    TextOverlay,
    Upscale,
    Watermark,
)
from studio.core.grid import PARAMETERS, collect_parameters, expand_cells
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.lora_tags import split_tags
from studio.core.model import Model, find_used_features
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse
from studio.core.request_choices import RegionSplit
from studio.core.request_parts import Inpaint, Outpaint
from studio.core.social import SocialExport
from studio.core.task import Task
from studio.engine.models.fallback_request import adapt
from studio.tabs.common.cost_line import describe_ignored_fields
from studio.tabs.common.field_widgets import build_rows
from studio.tabs.common.form_fields import build_detail_fields
from studio.tabs.common.form_values import read_fields, read_form, read_value, write_fields, write_form
from tools.field_tables import PAGE, fill_tables

STRUCTURED_FIELDS = {
    "task",
    "loras",
    "hires",
    "areas",
    "detailers",
    "axes",
    "source",
    "batch",
    "mask",
    "composed",
    "background",
    "lighting",
    "inpaint",
    "outpaint",
    "control",
    "references",
    "upscale",
    "faces",
    "finish",
    "social",
    "file",
    "then",
    "fallbacks",
    "drawn",
}
STRUCTURED = {
    GenerationRequest: STRUCTURED_FIELDS,
    Upscale: {"second", "base"},
    Watermark: {"image"},
    Derivative: {"file"},
    Finish: {"crop", "text", "watermark", "derivatives"},
    SocialExport: {"formats", "crops", "focus", "text", "watermark"},
}
TABLES = {
    GenerationRequest: REQUEST_FIELDS,
    Hires: HIRES_FIELDS,
    Detailer: DETAILER_FIELDS,
    Inpaint: INPAINT_FIELDS,
    Outpaint: OUTPAINT_FIELDS,
    Upscale: UPSCALE_FIELDS,
    FaceRestoration: FACE_FIELDS,
    OutputOptions: FILE_FIELDS,
    TextOverlay: TEXT_FIELDS,
    Watermark: WATERMARK_FIELDS,
    Box: BOX_FIELDS,
    Finish: FINISH_FIELDS,
    Derivative: DERIVATIVE_FIELDS,
    SocialExport: SOCIAL_FIELDS,
}
FORMS = (  # the parts whose fields one form has
    (GenerationRequest, Hires, Detailer, Inpaint, Outpaint),
    (Upscale, FaceRestoration, Detailer, OutputOptions, TextOverlay, Watermark, Finish, Derivative),
    (SocialExport,),
)
PLACES: dict[type, Callable[[dict[str, Any]], dict[str, Any]]] = {  # where a request has each part
    GenerationRequest: lambda data: data,
    Hires: lambda data: {"hires": data},
    Detailer: lambda data: {"detailers": [data]},
    Inpaint: lambda data: {"inpaint": data},
    Outpaint: lambda data: {"outpaint": data},
    Upscale: lambda data: {"upscale": data},
    FaceRestoration: lambda data: {"faces": data},
    OutputOptions: lambda data: {"file": data},
    TextOverlay: lambda data: {"finish": {"text": [data]}},
    Watermark: lambda data: {"finish": {"watermark": data}},
    Box: lambda data: {"finish": {"crop": data}},
    Finish: lambda data: {"finish": data},
    Derivative: lambda data: {"finish": {"derivatives": [data]}},
}
ALL_FIELDS = [spec for fields in TABLES.values() for spec in fields]
IN_FORMS = [spec for spec in ALL_FIELDS if spec.widget is not None and spec not in OUTPAINT_FIELDS]
_by_name = {"ids": lambda spec: f"{spec.group}-{spec.name}"}


def sample(spec: FieldSpec) -> Any:
    """A value that the field takes and that is not what it has when it is not set."""
    if spec.options:
        return next(value for value in reversed(list(spec.options.values())) if value != spec.unset)
    if spec.kind is bool:
        return not spec.unset
    special = {"tile_size": 512, "tile_overlap": 0.25}
    if spec.name in special:
        return special[spec.name]
    if spec.kind is str:
        texts = {"aspect": "16:9", "freeu": "1.3, 1.4, 0.9, 0.2", "skip_layers": "7"}
        return (texts | dict.fromkeys(("seed_resize", "enlarged_size"), "512x768")).get(spec.name, "DPM++ 2M")
    assert spec.limits is not None
    value = max(spec.limits.low, 8 if spec.kind is int else 0.5)
    assert value not in (spec.unset, spec.empty)
    return spec.kind(value)


def set_field(spec: FieldSpec) -> GenerationRequest:
    """A request that sets the field, and what it depends on."""
    request = GenerationRequest(model="fake")
    if spec.depends_on:
        needed = get_field(GenerationRequest.FIELDS, spec.depends_on)
        request = request.replace(**{needed.name: sample(needed)})
    if spec in HIRES_FIELDS:
        size = {"width": 64, "height": 64} if spec.name in ("width", "height") else {}
        return request.replace(hires=dataclasses.replace(Hires(), **{**size, spec.name: sample(spec)}))
    if spec.name in ("width", "height"):
        return request.replace(width=64, height=64).replace(**{spec.name: sample(spec)})
    return request.replace(**{spec.name: sample(spec)})


def get_value(request: GenerationRequest, spec: FieldSpec) -> object:
    part = request.hires if spec in HIRES_FIELDS else request
    return getattr(part, spec.name)


def test_every_table_of_a_topic_belongs_to_a_request() -> None:
    for module in pkgutil.iter_modules(field_tables.__path__):
        found = importlib.import_module(f"{field_tables.__name__}.{module.name}")
        for name, fields in vars(found).items():
            if name.endswith("_FIELDS"):
                unused = [spec.name for spec in fields if spec not in ALL_FIELDS]
                assert not unused, f"{module.name}.{name}"


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_field_is_in_the_table_or_has_a_structure(kind: type) -> None:
    structured = STRUCTURED.get(kind, set())
    names = [spec.name for spec in TABLES[kind]]
    assert sorted([*names, *structured]) == sorted(field.name for field in dataclasses.fields(kind))


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_type_and_default_of_every_field_are_those_of_the_request(kind: type) -> None:
    hints = typing.get_type_hints(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    for spec in TABLES[kind]:
        assert hints[spec.name] == (spec.kind | None if spec.unset is None else spec.kind), spec.name
        assert defaults[spec.name] == spec.unset, spec.name


@pytest.mark.parametrize("spec", ALL_FIELDS, **_by_name)
def test_every_field_has_a_label_a_help_and_limits(spec: FieldSpec) -> None:
    assert spec.label[0].isupper()
    assert len(spec.label.split()) <= (6 if spec.group is Group.SOCIAL else 3)
    assert spec.help.endswith(".")
    assert len(spec.help) <= 100
    assert spec.group
    assert spec.limits is not None or spec.options or spec.kind in (str, bool)
    if spec.slider is not None and spec.limits is not None:
        assert spec.from_form(spec.slider.high) <= spec.limits.high
        assert spec.from_form(spec.slider.low) >= spec.limits.low or spec.slider.low == spec.empty


def test_no_name_means_two_fields() -> None:
    for fields in (REQUEST_FIELDS, HIRES_FIELDS, INPAINT_FIELDS, OUTPAINT_FIELDS):
        for names in ([spec.api_name for spec in fields], [spec.a1111 for spec in fields if spec.a1111]):
            assert len(set(names)) == len(names)
    for kinds in FORMS:
        names = [spec.form_name for kind in kinds for spec in TABLES[kind] if spec.widget is not None]
        assert len(set(names)) == len(names)
    axes = [spec.grid.name for spec in ALL_FIELDS if spec.grid is not None]
    assert len(set(axes)) == len(axes)


@pytest.mark.parametrize("spec", [s for s in (*REQUEST_FIELDS, *HIRES_FIELDS) if s.infotext], **_by_name)
def test_every_infotext_key_is_read_back(spec: FieldSpec) -> None:
    request = set_field(spec)
    model = dataclasses.replace(FAKE_MODEL, id="DPM++ 2M") if spec.group is Group.MODEL else FAKE_MODEL
    seed = 8 if spec.name == "seed" else 1
    text = format_infotext(request, model=model, width=request.width or 64, height=request.height or 64, seed=seed)
    assert f"{spec.infotext.key}: " in text
    parsed = parse_infotext(text)
    assert not parsed.unknown
    assert get_value(parsed.request, spec) == sample(spec)
    for alias in spec.infotext.aliases:
        renamed = parse_infotext(text.replace(f"{spec.infotext.key}: ", f"{alias}: "))
        assert get_value(renamed.request, spec) == sample(spec)


@pytest.mark.parametrize("spec", [spec for spec in ALL_FIELDS if spec.grid is not None], **_by_name)
def test_every_grid_axis_sets_its_field(spec: FieldSpec) -> None:
    base = set_field(spec)
    cells = expand_cells(base.replace(axes=(Axis(parameter=spec.grid.name, values=(spec.grid.example,)),)))
    found = [get_value(cell.request, spec) for cell in cells]
    assert len(set(found)) == len(found) >= 2
    assert all(type(value) is spec.kind for value in found)
    for cell in cells:
        part = cell.request.hires if spec in HIRES_FIELDS else cell.request
        assert not any(getattr(part, name) for name in spec.replaces)


@pytest.mark.parametrize("spec", [spec for spec in REQUEST_FIELDS if spec.feature is not None], **_by_name)
def test_a_field_is_dropped_for_a_model_without_its_feature(spec: FieldSpec) -> None:
    bare = dataclasses.replace(FAKE_MODEL, features=FAKE_MODEL.features - {spec.feature})
    request = set_field(spec)
    values = dict.fromkeys(field.form_name for field in IN_FORMS) | write_form(request)
    if spec.group not in (Group.STRENGTH, Group.TEMPLATE):  # Txt2Img has no such field
        assert get_value(read_form(values, FAKE_MODEL), spec) == sample(spec)
    assert get_value(read_form(values, bare), spec) == spec.unset
    if spec.feature is not Feature.SEED:  # the recipe keeps the seed
        assert get_value(adapt(request, bare), spec) == spec.unset
    if spec.feature is not Feature.PROMPT_SYNTAX:  # taken as words
        assert spec.feature in find_used_features(request)


def test_what_a_model_lacks_is_named_by_its_label() -> None:
    bare = Model(id="b", title="B", family="x", features=frozenset())
    for spec in REQUEST_FIELDS:
        if spec.feature is None or spec.from_model or spec.initial is not None or spec.widget is None:
            continue
        said = describe_ignored_fields(bare, write_form(set_field(spec)))
        assert spec.label.lower() in said.lower()
    assert describe_ignored_fields(bare, write_form(GenerationRequest())) == ""


@pytest.fixture(scope="module")
def widgets() -> list[Any]:
    """The widget of each of IN_FORMS, in its order."""
    with gr.Blocks():
        return [widget for spec in IN_FORMS for (widget,) in [build_rows([spec], "x-").values()]]


@pytest.mark.parametrize("spec", IN_FORMS, **_by_name)
def test_the_widget_of_every_field_has_its_label_and_range(spec: FieldSpec, widgets: list[Any]) -> None:
    widget = widgets[IN_FORMS.index(spec)]
    assert widget.label == spec.label
    assert widget.elem_id == "x-" + spec.form_name.replace("_", "-")
    if spec.widget is Widget.SLIDER:
        shown = spec.slider or spec.limits
        assert (widget.minimum, widget.maximum) == (shown.low, shown.high)


@pytest.mark.parametrize(
    "part",
    [Upscale(), FaceRestoration(), OutputOptions(), TextOverlay(), Watermark(), Finish(), Derivative()],
    ids=repr,
)
def test_a_part_without_anything_set_is_what_a_fresh_form_writes_and_reads(part: Any) -> None:
    values = dict.fromkeys(spec.form_name for spec in part.FIELDS) | write_fields(part)
    assert {name: value for name, value in read_fields(part.FIELDS, values).items() if value} == {}


@pytest.mark.parametrize("spec", [spec for spec in IN_FORMS if spec.form_scale != 1.0], **_by_name)
def test_a_number_is_shown_in_another_unit_and_read_back(spec: FieldSpec) -> None:
    assert spec.limits is not None
    for value in (spec.limits.low, spec.limits.high):
        if value != spec.unset:
            assert read_value(spec, spec.to_form(value)) == value
    assert spec.to_form(spec.limits.high) == pytest.approx(spec.limits.high * spec.form_scale, abs=1e-4)
    with pytest.raises(InvalidRequest, match=spec.label):
        read_value(spec, float("nan"))


@pytest.mark.parametrize("spec", [spec for spec in ALL_FIELDS if spec.limits is not None], **_by_name)
def test_a_number_beyond_its_limits_is_refused_by_its_label(spec: FieldSpec) -> None:
    kind = next(kind for kind, fields in TABLES.items() if spec in fields)
    with pytest.raises(InvalidRequest, match=spec.label):
        GenerationRequest.from_json(PLACES[kind]({spec.name: spec.kind(spec.limits.high + 1)}))


def test_the_http_bodies_have_every_field_with_its_range() -> None:
    for body, fields in ((EditBody, REQUEST_FIELDS), (HiresBody, HIRES_FIELDS), (DetailerBody, DETAILER_FIELDS)):
        properties = body.model_json_schema()["properties"]
        for spec in fields:
            shown = properties[spec.api_name]
            assert shown["description"]
            choices = shown.get("anyOf", [shown])
            if spec.limits is not None:
                assert (choices[0]["minimum"], choices[0]["maximum"]) == (spec.limits.low, spec.limits.high)


def test_an_export_over_http_has_the_fields_of_the_table() -> None:
    defaults = SocialExport(formats=("instagram.story",))
    for spec in SOCIAL_FIELDS:
        assert getattr(SocialBody(), spec.name) == getattr(defaults, spec.name)


@pytest.mark.parametrize("regions", [None, RegionSplit.COLUMNS])
def test_loras_that_no_field_holds_go_into_the_prompt(regions: RegionSplit | None) -> None:
    others = [LoraUse(name="a", blocks="IN04: 0.5"), LoraUse(name="b", encoder_weight=0.5), LoraUse(name="c", weight=3)]
    plain = [LoraUse(name=f"plain{number}") for number in range(5)]
    asked = GenerationRequest(
        model="fake", prompt="a {cat} BREAK b", loras=(*others, *plain), regions=regions, template="t"
    )
    values = dict.fromkeys(field.form_name for field in IN_FORMS) | write_form(asked)
    read = read_form(values, FAKE_MODEL)
    assert read.loras == tuple(plain[:4])
    parts = read.prompt.split("BREAK")
    tagged = [uses for part in parts if (uses := split_tags(part)[1])]
    assert len(tagged) == (1 if regions is None else 2), "in columns a tag holds in its part alone"
    for uses in tagged:
        assert [(use.name, use.weight, use.encoder_weight) for use in uses] == [
            (use.name, use.weight, use.encoder_weight) for use in (*others, plain[4])
        ]
        assert parse_blocks(uses[0].blocks) == {"IN04": 0.5}


def test_detailers_go_to_the_form_and_come_back() -> None:
    asked = GenerationRequest(
        model="fake",
        detailers=(
            Detailer(target="a red hat", steps=9, width=64, height=96, prompt="felt"),
            Detailer(sampler="Euler"),
        ),
    )
    values = dict.fromkeys(field.form_name for field in IN_FORMS) | write_form(asked)
    assert read_form(values, FAKE_MODEL).detailers == asked.detailers
    bare = dataclasses.replace(FAKE_MODEL, features=FAKE_MODEL.features - {Feature.DETAILER})
    assert read_form(values, bare).detailers == ()
    assert adapt(asked, bare).detailers == ()
    assert "detailer" in describe_ignored_fields(bare, values)
    assert read_form({**values, "detailer_on": False}, FAKE_MODEL).detailers == asked.detailers[1:]
    with pytest.raises(InvalidRequest, match="width or a height"):
        read_form({**values, "detailer_height": 0}, FAKE_MODEL)


ETA = FieldSpec(
    name="eta",
    kind=float,
    label="Eta",
    help="Noise that ancestral samplers add.",
    group=Group.DETAILS,
    widget=Widget.SLIDER,
    unset=0.0,
    limits=Limits(0, 1, 0.01),
    feature=Feature.CLIP_SKIP,
    infotext=InfotextKey("Eta"),
    grid=GridAxis("Eta", "0.2, 0.4"),
    api="noise_eta",
)
EtaRequest: Any = dataclasses.make_dataclass(
    "EtaRequest",
    [("eta", float, 0.0)],
    bases=(GenerationRequest,),
    namespace={"FIELDS": (*REQUEST_FIELDS, ETA)},
    frozen=True,
    kw_only=True,
)


class TestAFieldThatOnlyTheTableKnows:
    """One entry and one line in the request are enough; nothing else names `eta`."""

    bare = dataclasses.replace(FAKE_MODEL, features=FAKE_MODEL.features - {Feature.CLIP_SKIP})

    def test_is_in_the_recipe(self) -> None:
        request = EtaRequest(prompt="x", eta=0.5)
        assert request.to_json() == {"prompt": "x", "eta": 0.5}
        assert EtaRequest.from_json(request.to_json()) == request

    def test_is_checked(self) -> None:
        with pytest.raises(InvalidRequest, match="Eta is 2"):
            EtaRequest(eta=2.0)

    def test_is_on_the_form(self) -> None:
        with gr.Blocks():
            widget: Any = build_detail_fields("i2i-", EtaRequest.FIELDS)["eta"]
        assert (widget.label, widget.elem_id, widget.maximum, widget.value) == ("Eta", "i2i-eta", 1, 0.0)
        values = dict.fromkeys(field.form_name for field in IN_FORMS) | write_form(EtaRequest(eta=0.5))
        assert read_form(values, FAKE_MODEL, EtaRequest).eta == 0.5
        assert read_form(values, self.bare, EtaRequest).eta == 0.0

    def test_is_in_the_infotext(self) -> None:
        text = format_infotext(EtaRequest(prompt="x", eta=0.5), model=FAKE_MODEL, width=64, height=64, seed=1)
        assert "Eta: 0.5" in text
        assert parse_infotext(text, EtaRequest).request.eta == 0.5
        assert parse_infotext(text).unknown == {"Eta": "0.5"}

    def test_is_an_axis_of_grids(self) -> None:
        assert "Eta" in collect_parameters(EtaRequest)
        assert "Eta" not in PARAMETERS
        cells = expand_cells(EtaRequest(axes=(Axis(parameter="Eta", values=("0.2, 0.4",)),)))
        assert [cell.request.eta for cell in cells] == [0.2, 0.4]

    def test_is_in_the_http_schema(self) -> None:
        body = build_body("EtaBody", EtaRequest.FIELDS)
        shown = body.model_json_schema()["properties"]["noise_eta"]
        assert (shown["minimum"], shown["maximum"], shown["description"]) == (0.0, 1.0, ETA.help)
        request = EtaRequest(**read_body(body.model_validate({"noise_eta": 0.5}), EtaRequest.FIELDS))
        assert request.eta == 0.5

    def test_goes_where_the_model_lacks_its_feature(self) -> None:
        request = EtaRequest(prompt="x", eta=0.5, task=Task.TXT2IMG)
        assert Feature.CLIP_SKIP in find_used_features(request)
        assert adapt(request, self.bare) == EtaRequest(prompt="x", model="fake")
        said = describe_ignored_fields(self.bare, write_form(request), EtaRequest.FIELDS)
        assert said == f"{self.bare.title} does not support an eta; yours will be ignored."


def test_fixed_choices_are_values_of_the_field() -> None:
    for spec in ALL_FIELDS:
        for value in spec.options.values():
            assert value == spec.unset or isinstance(value, spec.kind)
        assert set(spec.old_labels.values()) <= set(spec.options)
        if issubclass(spec.kind, StrEnum):
            assert set(spec.options.values()) | {spec.unset} >= set(spec.kind)


def test_the_page_about_the_api_has_every_field_of_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert fill_tables(text) == text, "run python -m tools.field_tables"
    for spec in (*REQUEST_FIELDS, *HIRES_FIELDS, *DETAILER_FIELDS, *INPAINT_FIELDS):
        assert f"| `{spec.api_name}` |" in text
    with pytest.raises(KeyError):
        fill_tables("<!-- table: nobody -->\n<!-- end -->")
