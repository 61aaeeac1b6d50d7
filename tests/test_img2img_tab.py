from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import FakeBackend, draw_fake_image
from PIL import Image, ImageDraw
from serving import RunningStudio, serve_studio

from studio.core.annotate import OptionSpec
from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest
from studio.core.model import Feature, Model, Sizes
from studio.core.operations import (
    EDIT,
    EDITS,
    MODES,
    Part,
    find_operation,
    find_selection,
    get_visible_parts,
)
from studio.core.request import GenerationRequest
from studio.core.request_parts import (
    ControlMode,
    ControlUnit,
    Inpaint,
    LoraUse,
    MaskedContent,
    Option,
    Outpaint,
    Reference,
    Resize,
)
from studio.core.result import Asset
from studio.core.settings import Settings
from studio.core.task import Task
from studio.engine.storage.inputs import KeptImage
from studio.page import mount
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines
from studio.tabs.common import mask_layers, preprocessor_options
from studio.tabs.common.control_values import UNITS, read_units, write_units
from studio.tabs.common.result_panel import describe_history
from studio.tabs.img2img import search_mask
from studio.tabs.img2img.img2img_values import read_img2img, write_img2img

SOURCE, MASK, OTHER = "a" * 64, "b" * 64, "c" * 64
MODEL = Model(id="fake", title="Fake", family="fake", sizes=Sizes(smallest=8), tasks=frozenset(Task))


def filled(request: GenerationRequest) -> dict[str, Any]:
    """Form values that ask for `request`, what it leaves to the model empty, and the units' untouched fields as the
    page has them."""
    empty = dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule", "strength"))
    untouched = write_units(GenerationRequest(control=(ControlUnit(model="x"),) * UNITS))
    grown = {"grow": "Sides", "left": 0, "top": 0, "right": 0, "bottom": 0}
    return {**empty, **untouched, **grown, **write_img2img(request)}


@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(
            task=Task.IMG2IMG,
            model="fake",
            prompt="a",
            source=SOURCE,
            strength=0.4,
            loops=3,
            loras=(LoraUse(name="l"),),
        ),
        GenerationRequest(task=Task.IMG2IMG, model="fake", batch=(SOURCE, OTHER), strength=0.4),
        GenerationRequest(
            task=Task.IMG2IMG, model="fake", source=SOURCE, strength=0.4, width=64, height=96, resize=Resize.FILL
        ),
        GenerationRequest(task=Task.IMG2IMG, model="fake", source=SOURCE, strength=0.4, enlarge=True),
        GenerationRequest(
            task=Task.INPAINT,
            model="fake",
            source=SOURCE,
            mask=MASK,
            strength=1.0,
            inpaint=Inpaint(mask_blur=9, fill=MaskedContent.NOISE, only_masked=True, padding=8, soft=True, invert=True),
        ),
        GenerationRequest(
            task=Task.OUTPAINT, model="fake", source=SOURCE, strength=0.8, outpaint=Outpaint(left=8, bottom=16)
        ),
        GenerationRequest(
            task=Task.OUTPAINT, model="fake", source=SOURCE, strength=0.8, outpaint=Outpaint(aspect="16:9")
        ),
        GenerationRequest(
            task=Task.OUTPAINT, model="fake", source=SOURCE, strength=0.8, outpaint=Outpaint(width=640, height=480)
        ),
        GenerationRequest(
            task=Task.IMG2IMG,
            model="fake",
            source=SOURCE,
            strength=0.4,
            detailers=(Detailer(), Detailer(target="hands", count=2)),
        ),
        GenerationRequest(task=Task.DETAIL, model="fake", source=SOURCE, detailers=(Detailer(strength=0.6),)),
        GenerationRequest(task=Task.EDIT, model="fake", prompt="make it winter", source=SOURCE),
        GenerationRequest(task=Task.ERASE, model="fake", source=SOURCE, mask=MASK),
        GenerationRequest(
            task=Task.SEARCH_REPLACE, model="fake", prompt="a bus", search="the car", source=SOURCE, strength=0.9
        ),
        GenerationRequest(
            task=Task.SEARCH_RECOLOR,
            model="fake",
            prompt="red",
            search="the car",
            source=SOURCE,
            mask=MASK,
            strength=0.9,
        ),
        GenerationRequest(
            task=Task.REPLACE_BACKGROUND,
            model="fake",
            prompt="a beach",
            source=SOURCE,
            background=OTHER,
            lighting=MASK,
            strength=0.5,
        ),
        GenerationRequest(task=Task.REMOVE_BACKGROUND, model="fake", source=SOURCE),
        GenerationRequest(
            task=Task.STYLE_TRANSFER,
            model="fake",
            source=SOURCE,
            strength=0.5,
            references=(Reference(image=OTHER, style_only=True),),
        ),
        GenerationRequest(
            task=Task.IMG2IMG,
            model="fake",
            source=SOURCE,
            strength=0.5,
            references=(Reference(image=OTHER, weight=0.3),),
        ),
        GenerationRequest(
            task=Task.IMG2IMG,
            model="fake",
            source=SOURCE,
            strength=0.5,
            control=(
                ControlUnit(
                    model="canny",
                    preprocessor="canny",
                    weight=0.7,
                    start=0.1,
                    end=0.9,
                    mode=ControlMode.PROMPT,
                    resize=Resize.FILL,
                    pixel_perfect=False,
                    resolution=256,
                    options=(Option(name="low", value=50.5),),
                ),
                ControlUnit(model="depth", image=OTHER),
            ),
        ),
    ],
    ids=lambda request: request.task.value,
)
def test_what_is_written_to_the_form_is_read_from_it(request_: GenerationRequest) -> None:
    assert read_img2img(filled(request_), MODEL) == request_


def test_a_service_searches_by_itself_and_gets_no_mask() -> None:
    service = dataclasses.replace(MODEL, lane="service")
    wanted = GenerationRequest(task=Task.SEARCH_REPLACE, model="fake", search="the car", source=SOURCE, mask=MASK)
    assert read_img2img(filled(wanted), service).mask is None
    assert Part.MASK in get_visible_parts(find_operation("Inpaint", None), service)


def test_sliders_and_line_of_a_preprocessor_say_the_same() -> None:
    seed = OptionSpec(name="seed", label="Seed", low=0, high=2**32 - 1, default=0, step=1, help="")
    low = OptionSpec(name="low", label="Low", low=1, high=255, default=100, step=1, help="")
    line = preprocessor_options.format_options({"seed": 4294967295.0, "low": 50.5})
    assert line == "seed=4294967295, low=50.5"
    assert preprocessor_options.parse_options((seed, low), line) == {"seed": 4294967295, "low": 50.5}
    assert preprocessor_options.parse_options((low,), "low=900, other=3, broken, low") == {"low": 100}, (
        "what does not fit is the default"
    )


def test_the_mask_of_words_is_asked_for_with_words_and_a_image() -> None:
    wanted = search_mask.build_search_request({"search": " the car ", "source": SOURCE})
    assert (wanted.task, wanted.model, wanted.search, wanted.source) == (
        Task.PREPROCESS,
        search_mask.FINDER,
        "the car",
        SOURCE,
    )
    for values in ({"search": " ", "source": SOURCE}, {"search": "the car", "source": ""}):
        with pytest.raises(InvalidRequest) as refused:
            search_mask.build_search_request(values)
        assert refused.value.hint


def test_what_the_operation_does_not_use_is_left_out() -> None:
    values = filled(
        GenerationRequest(task=Task.INPAINT, model="fake", prompt="a", source=SOURCE, mask=MASK, strength=0.5)
    )
    asked = read_img2img({**values, "mode": EDIT, "operation": "Remove background", "search": "x"}, MODEL)
    assert asked == GenerationRequest(task=Task.REMOVE_BACKGROUND, model="fake", source=SOURCE)


def test_what_the_model_lacks_is_left_out_and_not_shown() -> None:
    bare = Model(id="bare", title="Bare", family="x", features=frozenset({Feature.SEED}), tasks=frozenset(Task))
    asked = GenerationRequest(
        task=Task.IMG2IMG,
        model="bare",
        prompt="a",
        source=SOURCE,
        strength=0.5,
        enlarge=True,
        control=(ControlUnit(model="c"),),
        references=(Reference(image=OTHER),),
    )
    assert read_img2img(filled(asked), bare) == GenerationRequest(
        task=Task.IMG2IMG, model="bare", prompt="a", source=SOURCE
    )
    assert not get_visible_parts(MODES["Img2Img"], bare) & {
        Part.STRENGTH,
        Part.CONTROL,
        Part.REFERENCE,
        Part.ENLARGE,
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": ""}, "No image"),
        ({"source": "../../etc/passwd"}, "not an image"),
        ({"source": 7}, "not an image"),
        ({"mode": "Inpaint"}, "mask is empty"),
        ({"mode": "Outpaint"}, "adds no pixels"),
        ({"mode": EDIT, "operation": "Style transfer"}, "style"),
        ({"strength": 1.5}, "Denoising strength"),
        ({"strength": "much"}, "strength"),
        ({"unit_0_on": True, "unit_0_model": "None"}, "unit 1 has no model"),
        ({"unit_1_on": True, "unit_1_options": "low"}, "not a valid preprocessor option"),
        ({"unit_0_on": True, "unit_0_start": 0.8, "unit_0_end": 0.2}, "starts"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_advice(changes: dict[str, Any], says: str) -> None:
    values = filled(GenerationRequest(task=Task.IMG2IMG, model="fake", source=SOURCE, strength=0.5))
    with pytest.raises(InvalidRequest, match=says) as caught:
        read_img2img({**values, **changes}, MODEL)
    assert caught.value.hint


def test_every_operation_of_the_form_is_found_again_by_its_task() -> None:
    for operation in (*MODES.values(), *EDITS.values()):
        found = find_selection(operation.task)
        assert found is not None
        assert find_operation(*found).task is operation.task
        assert operation.help.endswith(".")
        assert operation.would_hint.endswith(".")
    assert find_selection(Task.UPSCALE) is None


def test_units_that_are_off_are_not_asked_for() -> None:
    assert read_units(filled(GenerationRequest(task=Task.IMG2IMG, source=SOURCE))) == []


def test_a_mask_of_any_kind_is_brought_to_the_images_size() -> None:
    below = KeptImage(hash=SOURCE, width=64, height=32)
    drawn = Image.new("RGBA", (128, 64))
    ImageDraw.Draw(drawn).rectangle((0, 0, 63, 63), fill="white")
    mask = mask_layers.fit_mask(drawn, below)
    assert (mask.mode, mask.size) == ("L", (64, 32))
    assert mask.getpixel((8, 16)) == 255
    assert mask.getpixel((50, 16)) == 0
    with pytest.raises(InvalidRequest, match="64×64") as caught:
        mask_layers.fit_mask(Image.new("L", (64, 64)), below)
    assert caught.value.hint


def test_the_chain_tells_every_step() -> None:
    first = GenerationRequest(model="fake", prompt="a cat", seed=3)
    second = GenerationRequest(
        task=Task.INPAINT, model="fake", prompt="a hat", source=SOURCE, mask=MASK, strength=0.5, seed=4
    )
    made = Asset(
        id="x",
        job_id="j",
        user="u",
        index=0,
        path=Path("x.png"),
        width=8,
        height=8,
        seed=4,
        created=0.0,
        request=second,
        history=(first,),
    )
    assert describe_history(made) == [
        "Txt2img · fake · “a cat” · seed 3",
        "Inpaint · fake · “a hat” · strength 0.5 · seed 4",
    ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("served")
    models = folder / "models"
    catalog = Catalog(models, [], models / ".cache")
    store = LocalPipelines(lambda: Settings(models_dir=models), catalog, Hub(models, lambda: True, lambda: None))
    with serve_studio(
        folder, users=True, page=mount, backend=FakeBackend(MODEL), models=store, default_model="fake"
    ) as served:
        yield served


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def keep(client: httpx.Client, data: bytes, **query: str) -> httpx.Response:
    return client.post("/page/pictures", files={"file": ("picture", data)}, params=query)


def test_a_image_is_kept_and_shown_to_its_owner_alone(served: RunningStudio) -> None:
    bob, ann = served.open_client("bob"), served.open_client("ann")
    told = keep(bob, png(draw_fake_image(1, 40, 24))).json()
    assert (told["width"], told["height"]) == (40, 24)
    shown = bob.get(f"/page/pictures/{told['hash']}")
    assert Image.open(io.BytesIO(shown.content)).convert("RGB").tobytes() == draw_fake_image(1, 40, 24).tobytes()
    assert "private" in shown.headers["cache-control"]
    assert ann.get(f"/page/pictures/{told['hash']}").status_code == 404
    assert keep(ann, png(Image.new("L", (40, 24))), mask_of=told["hash"]).status_code == 404
    assert served.open_client().get(f"/page/pictures/{told['hash']}", follow_redirects=False).status_code in (303, 401)


def test_images_from_another_site_are_not_taken(served: RunningStudio) -> None:
    answer = served.open_client("bob").post(
        "/page/pictures",
        files={"file": ("x", png(draw_fake_image(1, 8, 8)))},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "data", [b"this is text", png(draw_fake_image(1, 64, 64))[:200], b""], ids=["text called png", "truncated", "empty"]
)
def test_what_is_no_image_is_refused_with_advice(served: RunningStudio, data: bytes) -> None:
    answer = keep(served.open_client("bob"), data)
    assert answer.status_code == 400
    assert answer.json()["details"]["hint"]


def test_a_mask_and_a_sketch_come_back_at_the_images_size(served: RunningStudio) -> None:
    bob = served.open_client("bob")
    below = keep(bob, png(draw_fake_image(1, 40, 24))).json()["hash"]
    mask = keep(bob, png(Image.new("L", (80, 48), 255)), mask_of=below).json()
    paint = keep(bob, png(Image.new("RGBA", (20, 12), (255, 0, 0, 128))), paint_on=below).json()
    assert (mask["width"], mask["height"]) == (paint["width"], paint["height"]) == (40, 24)
    assert Image.open(io.BytesIO(bob.get(f"/page/pictures/{mask['hash']}").content)).mode == "L"
    assert keep(bob, png(Image.new("L", (48, 48))), mask_of=below).status_code == 400
    assert bob.post("/page/pictures").status_code == 400
