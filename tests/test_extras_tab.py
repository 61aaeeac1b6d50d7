"""Extras without a browser: from the form's values to a chain and back, and what the page tells."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from fakes import draw_fake_image

from studio.core.detailer import Detailer
from studio.core.errors import BadImage, InvalidRequest
from studio.core.field_spec import get_field
from studio.core.field_tables.finish import FILE_FORMATS, TEXT_FIELDS
from studio.core.finish import (
    Anchor,
    Box,
    Derivative,
    FaceRestoration,
    Finish,
    MetadataPolicy,
    OutputOptions,
    TextOverlay,
    Upscale,
    Watermark,
)
from studio.core.model import GPU_LANE, Model, Quality, Sizes
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.provenance import CredentialReport, CredentialState, CredentialStep
from studio.core.request import GenerationRequest
from studio.core.request_parts import Axis, Hires
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.upscale_modes import UpscaleMode
from studio.core.weights import DownloadableWeights
from studio.engine.metadata.image_info import read_image_info
from studio.engine.origin import NO_MARK, Finding, Layer, OriginReport
from studio.tabs.common.restore_settings import find_drawing_request, read_image_settings
from studio.tabs.configurations import weight_downloads
from studio.tabs.extras import before_after, extras_chains, info_panel
from studio.tabs.extras.extras_fields import ExtrasLayout, build_image_fields, build_step_fields, render_tool_note
from studio.tabs.extras.extras_values import (
    OWN_SETTINGS,
    UPSCALE_MODES,
    extract_chain,
    find_upscaler,
    list_choosable_models,
    read_extras,
    read_ticked_steps,
    write_extras,
)
from studio.tabs.extras.finish_fields import build_finish_fields
from studio.tabs.extras.finish_values import NO_FORMAT, SLOTS
from tests.foreign_images import A1111, make_png_with_chunks

ONE, TWO = "a" * 64, "b" * 64
LANCZOS = Model(
    id="upscaler/Lanczos", title="Lanczos", family="upscaler", lane=GPU_LANE, tasks=frozenset({Task.UPSCALE})
)
ESRGAN = Model(
    id="upscaler/realesrgan-x4plus",
    title="Real-ESRGAN",
    family="upscaler",
    lane=GPU_LANE,
    tasks=frozenset({Task.UPSCALE}),
)
PAINTER = Model(
    id="sdxl",
    title="SDXL",
    family="sdxl",
    sizes=Sizes(smallest=8),
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG, Task.UPSCALE}),
)
CONTRAST = get_field(TEXT_FIELDS, "contrast")
MODELS = (PAINTER, LANCZOS, ESRGAN)


def untouched() -> dict[str, Any]:
    """The form's values as the page first has them."""
    import gradio as gr

    layout = ExtrasLayout()
    with gr.Blocks():
        build_image_fields(layout)
        build_step_fields(layout, lambda task: [model for model in MODELS if task in model.tasks], ["Sans"])
    return {name: getattr(field, "value", None) for name, field in layout.fields.items()}


@pytest.fixture(scope="module")
def first() -> dict[str, Any]:
    return untouched()


def test_crop_and_derivatives_have_the_ranges_of_their_fields() -> None:
    import gradio as gr

    with gr.Blocks():
        made: dict[str, Any] = build_finish_fields(["Sans"], "x-")
    shown = {name: (made[name].label, made[name].minimum, made[name].maximum) for name in ("crop_left", "width")}
    assert shown == {"crop_left": ("Left", 0, 99), "width": ("Width", 0, None)}
    for slot in (0, SLOTS - 1):
        row = {name: made[f"d{slot}_{name}"] for name in ("width", "height", "format", "quality", "crop")}
        assert [each.label for each in row.values()] == ["Width", "Height", "Format", "Quality", "Fill"]
        assert [each.elem_id for each in row.values()] == [f"x-d{slot}-{name}" for name in row]
        assert (row["quality"].minimum, row["quality"].maximum) == (0, 100)
        assert [value for _, value in row["format"].choices] == [NO_FORMAT, *FILE_FORMATS]
        assert row["format"].value == NO_FORMAT


def test_what_a_derivative_cannot_have_is_refused_by_its_name(first: dict[str, Any]) -> None:
    asked = {**first, "images": ONE, "steps": ["Finish"]}
    for values, words in (
        ({"d0_width": 99_999}, "Derivative width is 99999"),
        ({"width": 99_999}, "Width is 99999"),
        ({"crop_left": -5}, "Left is -0.05"),
        ({"crop_left": 60, "crop_right": 60}, "A box is empty"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            read_extras({**asked, **values}, MODELS)


UPSCALE = GenerationRequest(
    task=Task.UPSCALE, model=ESRGAN.id, upscale=Upscale(scale=2, second="Lanczos", second_weight=0.25)
)
TEXT = TextOverlay(
    text="Hello", size=0.1, colour="#ff0000", stroke=0.05, stroke_colour="#00ff00", anchor=Anchor.TOP, contrast="fix"
)
MARK = Watermark(image=TWO, opacity=0.3, size=0.2, anchor=Anchor.TOP_LEFT, tiled=True, hidden="mine")
FINISH = GenerationRequest(
    task=Task.FINISH,
    finish=Finish(crop=Box(left=0.1, top=0, right=0.9, bottom=1), width=640, text=(TEXT,), watermark=MARK),
    file=OutputOptions(format="jpeg", quality=80, max_bytes=200_000, keep=MetadataPolicy.MARKER),
)


@pytest.mark.parametrize(
    "steps",
    [
        [UPSCALE],
        [UPSCALE.replace(upscale=Upscale(long_side=3840))],
        [UPSCALE.replace(upscale=Upscale(width=800, height=600, tile=256, overlap=16))],
        [
            GenerationRequest(
                task=Task.UPSCALE,
                model="sdxl",
                prompt="a cat",
                upscale=Upscale(scale=2, creativity=0.6, base="realesrgan-x4plus"),
            )
        ],
        [
            GenerationRequest(
                task=Task.RESTORE_FACES, model="restorer/gfpgan", faces=FaceRestoration(visibility=0.5, fidelity=0.75)
            )
        ],
        [GenerationRequest(task=Task.DETAIL, model="sdxl", detailers=(Detailer(target="a hat", count=2),))],
        [GenerationRequest(task=Task.REMOVE_BACKGROUND, model="background/u2netp")],
        [FINISH],
        [
            GenerationRequest(
                task=Task.FINISH,
                finish=Finish(
                    derivatives=(
                        Derivative(width=640),
                        Derivative(height=90, crop=True, file=OutputOptions(format="avif", quality=50)),
                    )
                ),
            )
        ],
        [
            UPSCALE,
            GenerationRequest(task=Task.RESTORE_FACES, faces=FaceRestoration()),
            GenerationRequest(task=Task.DETAIL, detailers=(Detailer(prompt="a face", width=512, height=512),)),
            GenerationRequest(task=Task.REMOVE_BACKGROUND),
            FINISH,
        ],
    ],
    ids=lambda steps: "+".join(step.task.value for step in steps),
)
def test_what_is_written_to_the_form_is_read_from_it(first: dict[str, Any], steps: list[GenerationRequest]) -> None:
    values = {**first, **write_extras(steps)}
    assert read_ticked_steps(values, MODELS) == steps
    asked = read_extras({**values, "images": f"{ONE} {TWO}"}, MODELS)
    assert asked.batch == (ONE, TWO)
    assert extract_chain(asked.replace(seed=3)) == tuple(steps), "a chain that was carried out goes back onto the form"


@pytest.mark.parametrize("title", [title for title, mode in UPSCALE_MODES.items() if mode])
def test_each_mode_finds_its_model_and_says_how_large(first: dict[str, Any], title: str) -> None:
    values = {**first, "images": ONE, "mode": title, "prompt": "a cat"}
    asked = read_extras(values, MODELS)
    wish = asked.upscale
    assert asked.source == ONE
    assert wish is not None
    if UPSCALE_MODES[title] is UpscaleMode.CREATIVE:
        assert (asked.model, asked.prompt, wish.creativity) == ("sdxl", "a cat", values["creativity"])
    else:
        assert asked.model.startswith(UPSCALER_PREFIX)
        assert asked.prompt == ""
    assert (wish.scale == 4) is (UPSCALE_MODES[title] is UpscaleMode.FAST)


def test_better_quality_is_another_choice_and_cloud_models_only_by_name(first: dict[str, Any]) -> None:
    cloud = Model(
        id="svc/creative",
        title="Cloud",
        family="x",
        lane="svc",
        paid=True,
        quality=Quality.BEST,
        tasks=frozenset({Task.UPSCALE}),
    )
    models = (*MODELS, cloud)
    values = {**first, "mode": "Creative 4K", "quality": "Best"}
    automatic = find_upscaler(values, models)
    assert automatic is not None
    assert not automatic.paid, "nothing is spent unasked"
    assert cloud in list_choosable_models(UpscaleMode.CREATIVE, models)
    assert find_upscaler({**values, "with": cloud.id}, models) == cloud


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("keep", "Only that a machine made it", "AI marker only"),
        ("contrast", "Put a shade beneath", "Add a shade behind the text"),
        ("contrast", "Say when it is too low", "Warn if too low"),
    ],
)
def test_labels_of_the_last_version_are_still_understood(first: dict[str, Any], field: str, old: str, new: str) -> None:
    values = {**first, "images": ONE, "steps": ["Finish"], "text": "Hello"}
    assert read_extras({**values, field: old}, MODELS) == read_extras({**values, field: new}, MODELS)
    other = "Nothing" if field == "keep" else next(label for label in CONTRAST.options if label != new)
    assert read_extras({**values, field: other}, MODELS) != read_extras({**values, field: new}, MODELS)


def test_what_cannot_be_done_is_refused_with_advice(first: dict[str, Any]) -> None:
    for values, models, words in (
        ({"images": ""}, MODELS, "no image"),
        ({"images": ONE, "steps": []}, MODELS, "No step"),
        ({"images": ONE, "mode": "Creative 4K"}, (LANCZOS,), "creative"),
        ({"images": ONE, "steps": ["Finish"], "crop_left": "wide"}, MODELS, "crop"),
        ({"images": ONE, "mode": OWN_SETTINGS, "scale": 99}, MODELS, "scale"),
    ):
        with pytest.raises(InvalidRequest, match=f"(?i){words}") as refused:
            read_extras({**first, **values}, models)
        assert refused.value.hint
    with pytest.raises(InvalidRequest, match="cannot do"):
        write_extras([FINISH, UPSCALE])
    two = Finish(text=(TEXT, TEXT))
    with pytest.raises(InvalidRequest, match="2 texts"):
        write_extras([GenerationRequest(task=Task.FINISH, finish=two)])


def test_a_tool_that_lacks_its_weights_says_what_to_fetch() -> None:
    model = Model(
        id="restorer/gfpgan", title="GFPGAN", family="restorer", problem="its weights are not installed. Fetch them."
    )
    assert "its weights are not installed" in render_tool_note([model], "Automatic", "x")
    assert "Put one there" in render_tool_note([], "Automatic", "Put one there")


def test_json_of_a_chain_goes_out_and_comes_in() -> None:
    assert extras_chains.read_json(extras_chains.format_json([UPSCALE, FINISH])) == (UPSCALE, FINISH)
    for text in ("", "{", "[" * 2000, "x" * 200_000):
        with pytest.raises(InvalidRequest) as refused:
            extras_chains.read_json(text)
        assert "Paste" in refused.value.hint


def test_image_info_names_fields_as_the_forms_do() -> None:
    axis = Axis(parameter="Steps", values=("1", "2"))
    request = GenerationRequest(prompt="a fox", guidance=7.5, hires=Hires(strength=0.4), axes=(axis,))
    rows = dict(info_panel._list_fields(request))
    assert (rows["CFG scale"], rows["Hires denoising strength"], rows["Axes 1 · Parameter"]) == ("7.5", "0.4", "Steps")


def test_bytes_in_words() -> None:
    assert [before_after.format_bytes(number) for number in (0, 999, 34_400, 2_440_000)] == [
        "0 B",
        "999 B",
        "34 kB",
        "2.4 MB",
    ]


def test_image_info_is_a_table_and_says_when_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(make_png_with_chunks(parameters=A1111 + "<b>"))
    shown = info_panel.render_info(read_image_info(path, Settings()), hidden="made by <me>")
    assert "AUTOMATIC1111" in shown
    assert "made by &lt;me&gt;" in shown
    assert "<b>" not in shown
    assert "a fox" in shown
    plain = io.BytesIO()
    draw_fake_image(1, 16, 16).save(plain, "PNG")
    path.write_bytes(plain.getvalue())
    assert "no generation data" in info_panel.render_info(read_image_info(path, Settings()))


def test_where_an_image_is_from_is_told_without_running_what_a_signer_wrote(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    draw_fake_image(1, 8, 8).save(path)
    info = read_image_info(path, Settings())
    steps = (
        CredentialStep(signer="<script>x</script>", program="P & Q", actions=("c2pa.color_adjustments",), when="2026"),
        CredentialStep(actions=("c2pa.created",)),
    )
    signed = CredentialReport(state=CredentialState.UNTRUSTED, steps=steps, training="forbid")
    origin = OriginReport(
        summary="Signed by “<b>”.",
        credentials=signed,
        info=info,
        findings=(Finding(layer=Layer.CREDENTIALS, text="<i>one</i>"), Finding(layer=Layer.SETTINGS, text="two")),
    )
    shown = info_panel.render_info(info, None, origin)
    assert "Where is this from?" in shown
    assert not any(tag in shown for tag in ("<script>", "<b>", "<i>"))
    assert "P &amp; Q, 2026, color adjustments" in shown
    assert "Training models with it is not allowed." in shown
    assert shown.count("<li>") == 2
    plain = info_panel.render_info(info, None, OriginReport(summary=NO_MARK, credentials=CredentialReport(), info=info))
    assert NO_MARK in plain
    assert "<ul>" not in plain


def test_settings_come_from_a_image_but_not_from_any_comment(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(make_png_with_chunks(parameters="a holiday"))
    with pytest.raises(BadImage, match="contains no settings"):
        read_image_settings(path, Settings(), lambda found, infotext: found)
    path.write_bytes(make_png_with_chunks(parameters=A1111))
    assert read_image_settings(path, Settings(), lambda found, infotext: found)[0] == find_drawing_request((), A1111)


def test_offers_are_listed_with_size_and_licence() -> None:
    offer = DownloadableWeights(
        id="upscalers/x.pth",
        title="X <plus>",
        folder="upscalers",
        filename="x.pth",
        source="https://example.org/x.pth",
        bytes=67_000_000,
        sha256="",
        licence="BSD-3-Clause",
    )
    shown = weight_downloads.render_weights_table([offer])
    assert "X &lt;plus&gt;" in shown
    assert "63.9 MiB" in shown
    assert "BSD-3-Clause" in shown
    assert "upscaling" in shown
    assert "installed" in weight_downloads.render_weights_table([])


def test_settings_come_from_the_request_that_drew_the_image() -> None:
    drew = GenerationRequest(prompt="a fox", seed=3)
    assert find_drawing_request((drew, UPSCALE, FINISH), "") is drew, "what enlarged it has no prompt"
    foreign = find_drawing_request((UPSCALE,), A1111)
    assert foreign is not None
    assert foreign.steps == 25
    assert find_drawing_request((UPSCALE,), "") is None
