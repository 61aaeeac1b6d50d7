"""The native API's work on images, over a real server: by id, base64 and form."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, draw_fake_image
from PIL import Image
from serving import RunningStudio, make_users, serve_studio

from studio.api.request_bodies import EditBody
from studio.core.finish import FaceRestoration, Finish
from studio.core.model import Model
from studio.core.operations import OPERATIONS
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest, count_outputs
from studio.core.request_parts import ControlUnit, Inpaint, Outpaint, Reference, Resize
from studio.core.result import RenderedImage
from studio.core.task import Task

API = "/api/image-studio"
DOES = frozenset(Task) - {Task.ERASE}


class Painter(FakeBackend):
    """The fake, doing every task but one; each result is its source, darker."""

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        self.seen.append((request, tuple(seeds)))
        source = ctx.load_image(request.source) if request.source else draw_fake_image(1, 8, 8)
        files = range(len(seeds) * count_outputs(request))
        return [
            RenderedImage(image=source.point(lambda value: value // 2), label=f"n{n}", request=request) for n in files
        ]


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[RunningStudio]:
    backend = Painter(dataclasses.replace(FAKE_MODEL, tasks=DOES))
    with serve_studio(folder, backend=backend, users=make_users(folder)) as served:
        yield served


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """One studio for all tests that only ask, or are refused."""
    with serve(tmp_path_factory.mktemp("unchanged")) as served:
        yield served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    with serve(tmp_path) as served:
        yield served


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def text(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def test_a_image_is_kept_and_named_by_its_id(served: RunningStudio) -> None:
    ann, bob = served.open_client("ann"), served.open_client("bob")
    kept = ann.post(f"{API}/inputs", json={"image": text(draw_fake_image(1, 24, 16))})
    assert kept.status_code == 201
    assert (kept.json()["width"], kept.json()["height"]) == (24, 16)
    name = kept.json()["id"]
    by_form = ann.post(f"{API}/inputs", files={"image": ("a.png", png(draw_fake_image(1, 24, 16)), "image/png")})
    assert by_form.json() == kept.json()
    image = ann.get(f"{API}/inputs/{name}")
    assert Image.open(io.BytesIO(image.content)).tobytes() == draw_fake_image(1, 24, 16).tobytes()
    assert bob.get(f"{API}/inputs/{name}").status_code == 404
    edit = {"operation": "img2img", "prompt": "x", "image": name}
    assert bob.post(f"{API}/edit", json=edit).status_code == 404
    assert ann.post(f"{API}/edit?wait=true", json=edit).status_code == 200


def test_an_edit_by_form_and_by_base64_is_the_same_request(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    mask = Image.new("L", (24, 16))
    mask.paste(255, (4, 4, 12, 12))
    fields = {"operation": "inpaint", "prompt": "7", "strength": 0.5, "seed": 3, "inpaint": {"mask_blur": 2}}
    one = ann.post(
        f"{API}/edit?wait=true", json={**fields, "image": text(draw_fake_image(1, 24, 16)), "mask": text(mask)}
    )
    assert one.status_code == 200, one.text
    two = ann.post(
        f"{API}/edit?wait=true",
        data={
            "operation": "inpaint",
            "prompt": "7",
            "strength": "0.5",
            "seed": "3",
            "request": '{"inpaint": {"mask_blur": 2}}',
        },
        files={"image": ("a.png", png(draw_fake_image(1, 24, 16))), "mask": ("m.png", png(mask))},
    )
    assert two.status_code == 200, two.text
    requests = [request for request, _ in served.backend.seen]
    assert requests[0] == requests[1]
    assert (requests[0].prompt, requests[0].inpaint.mask_blur, requests[0].strength) == ("7", 2, 0.5)
    image = one.json()["images"][0]
    assert (image["width"], image["height"]) == (24, 16)


def test_every_field_of_an_edit_reaches_the_request() -> None:
    body = EditBody.model_validate(
        {
            "operation": "outpaint",
            "prompt": "p",
            "image": "i",
            "images": ["j"],
            "mask": "m",
            "background": "b",
            "lighting": "l",
            "strength": 0.25,
            "resize_mode": "fill",
            "loops": 2,
            "inpaint": {"invert": True},
            "outpaint": {"left": 8},
            "search": "s",
            "control": [{"model": "c", "image": "u"}],
            "references": [{"image": "r"}],
            "file": {"format": "webp"},
        }
    )
    request = body.to_request()
    assert request.task is Task.OUTPAINT
    assert (request.source, request.batch, request.mask, request.background, request.lighting) == (
        "i",
        ("j",),
        "m",
        "b",
        "l",
    )
    assert (request.strength, request.resize, request.loops, request.search) == (0.25, Resize.FILL, 2, "s")
    assert (request.inpaint, request.outpaint) == (Inpaint(invert=True), Outpaint(left=8))
    assert (request.control, request.references) == ((ControlUnit(model="c", image="u"),), (Reference(image="r"),))
    assert request.file is not None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"operation": "upscale", "image": "ID"}, "Unknown editing operation"),
        ({"operation": "paint"}, "operation"),
        ({"operation": "img2img"}, "No image"),
        ({"operation": "img2img", "image": "not base64!"}, "neither a valid id nor base64"),
        ({"operation": "img2img", "image": base64.b64encode(b"text").decode()}, "cannot be opened"),
        ({"operation": "img2img", "image": "ID", "strength": 2}, "strength"),
        ({"operation": "img2img", "image": "ID", "inpaint": {"mask_blurr": 1}}, "mask_blurr"),
        ({"operation": "img2img", "image": "ID", "control": [{"weight": 9}]}, "weight"),
        ({"operation": "img2img", "image": "ID", "mask": "f" * 64}, "no longer available"),
        ({"operation": "erase", "image": "ID", "mask": "ID"}, "No model for erase"),
    ],
)
def test_bad_edits_are_refused_at_once_and_say_why(
    unchanged: RunningStudio, body: dict[str, object], says: str
) -> None:
    ann = unchanged.open_client("ann")
    name = ann.post(f"{API}/inputs", json={"image": text(draw_fake_image(1, 24, 16))}).json()["id"]
    filled = {key: name if value == "ID" else value for key, value in body.items()}
    answer = ann.post(f"{API}/edit", json=filled)
    assert 400 <= answer.status_code < 500
    assert says in answer.json()["error"]
    assert not unchanged.backend.seen


def test_operations_tell_which_models_do_them_now(unchanged: RunningStudio) -> None:
    found = unchanged.open_client("ann").get(f"{API}/edit/operations").json()["operations"]
    assert [one["operation"] for one in found] == [operation.task for operation in OPERATIONS]
    by_name = {one["operation"]: one for one in found}
    assert by_name["inpaint"]["models"] == ["fake"]
    assert by_name["erase"]["models"] == []
    assert by_name["erase"]["would"]
    models = unchanged.open_client("ann").get(f"{API}/models?task=erase").json()["models"]
    assert models == []


def test_preprocess_restore_and_derivatives(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    served.backend.list = (
        *served.backend.list,
        Model(
            id="preprocessor/canny", title="Canny", family="", tasks=frozenset({Task.PREPROCESS}), features=frozenset()
        ),
    )
    name = ann.post(f"{API}/inputs", json={"image": text(draw_fake_image(1, 24, 16))}).json()["id"]
    body = {"image": name, "preprocessor": "canny", "options": {"low": 50}}
    assert ann.post(f"{API}/preprocess?wait=true", json=body).status_code == 200
    [unit] = served.backend.seen[-1][0].control
    assert (unit.preprocessor, unit.pixel_perfect, unit.options[0].value) == ("canny", True, 50.0)
    nameless = ann.post(f"{API}/preprocess", json={"image": name, "preprocessor": "words"})
    assert (nameless.status_code, nameless.json()["details"]["hint"]) == (400, "Enter what to search for in `search`.")
    faces = {"images": [name], "faces": {"visibility": 0.5}, "model": "fake"}
    assert ann.post(f"{API}/restore-faces?wait=true", json=faces).status_code == 200
    assert served.backend.seen[-1][0].faces == FaceRestoration(visibility=0.5)
    wish = {
        "image": name,
        "finish": {"width": 16},
        "derivatives": [{"width": 8}, {"width": 4, "file": {"format": "jpeg"}}],
    }
    done = ann.post(f"{API}/derivatives?wait=true", json=wish)
    assert done.status_code == 200, done.text
    finish = served.backend.seen[-1][0].finish
    assert isinstance(finish, Finish)
    assert [one.width for one in finish.derivatives] == [8, 4]
    job = done.json()["jobId"]
    archive = zipfile.ZipFile(io.BytesIO(ann.get(f"{API}/jobs/{job}/zip").content))
    assert archive.testzip() is None
    assert len(archive.namelist()) == 2
    assert served.open_client("bob").get(f"{API}/jobs/{job}/zip").status_code == 404
