"""The digital source type inside a file says what was done to the image, and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, draw_fake_image, open_engine, wait_until_final
from PIL import Image, PngImagePlugin

from studio.core.events import Status
from studio.core.finish import Derivative, Finish, MetadataPolicy, OutputOptions, Upscale
from studio.core.model import Model
from studio.core.request import GenerationRequest, Outpaint
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.metadata.embed import EmbeddedMetadata, encode_image, read_metadata
from studio.engine.storage.marker_policy import MARKER_KEPT_NOTICE, NO_MARKER_NOTICE
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
CAPTURED = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
UPSCALER = Model(id="upscaler/Lanczos", title="Lanczos", family="upscaler", tasks=frozenset({Task.UPSCALE}))
SHARP = Model(id="upscaler/Sharp", title="Sharp", family="upscaler", tasks=frozenset({Task.UPSCALE}))
REDRAWING = Model(id="creative", title="Creative", family="sd", tasks=frozenset({Task.UPSCALE, Task.IMG2IMG}))
ANY = Model(
    id="any",
    title="Any",
    family="fake",
    sizes=FAKE_MODEL.sizes,
    tasks=frozenset(Task) - {Task.FINISH, Task.UPSCALE, Task.SOCIAL},
)
RESIZED = GenerationRequest(task=Task.FINISH, finish=Finish(width=32))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(
        tmp_path, FakeBackend(FAKE_MODEL, ANY, UPSCALER, SHARP, REDRAWING), FinishingBackend(Fonts(tmp_path / "fonts"))
    )
    yield opened
    opened.close(drain=1)


def camera_jpeg(source_type: str = "", seed: int = 3) -> bytes:
    """What a camera writes: make and model, and with `source_type` an XMP packet that tells it."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "EOS 5D"
    out = io.BytesIO()
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    draw_fake_image(seed, 64, 64).save(out, "JPEG", exif=exif, **({"xmp": packet.encode()} if source_type else {}))
    return out.getvalue()


def made(engine: Engine, request: GenerationRequest) -> Asset:
    snapshot = wait_until_final(engine.submit(request, LOCAL_USER))
    assert snapshot.status is Status.FINISHED, snapshot.error
    return snapshot.assets[-1]


def written(asset: Asset) -> str:
    return read_metadata(asset.path).source_type


def done(engine: Engine, source: bytes, request: GenerationRequest) -> str:
    return written(made(engine, request.replace(source=engine.keep_image(source, LOCAL_USER).hash)))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize("said", ["", CAPTURED])
def test_a_photograph_that_is_resized_says_what_it_said(engine: Engine, kind: str, said: str) -> None:
    wish = Finish(derivatives=(Derivative(width=32, file=OutputOptions(format=kind)),))
    assert done(engine, camera_jpeg(said), GenerationRequest(task=Task.FINISH, finish=wish)) == said


def test_plain_enlarging_marks_nothing(engine: Engine) -> None:
    enlarged = GenerationRequest(task=Task.UPSCALE, model="upscaler/Lanczos", upscale=Upscale(scale=2))
    assert done(engine, camera_jpeg(CAPTURED), enlarged) == CAPTURED


@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(task=Task.REMOVE_BACKGROUND, model="any"),
        GenerationRequest(task=Task.UPSCALE, model="upscaler/Sharp", upscale=Upscale(scale=2)),
        GenerationRequest(
            task=Task.UPSCALE,
            model="upscaler/Lanczos",
            upscale=Upscale(scale=2, second="upscaler/Sharp", second_weight=0.5),
        ),
        GenerationRequest(task=Task.REMOVE_BACKGROUND, model="any", then=(RESIZED,)),
    ],
)
def test_what_a_network_works_out_makes_a_photograph_enhanced(engine: Engine, request_: GenerationRequest) -> None:
    assert done(engine, camera_jpeg(CAPTURED), request_) == ENHANCED
    assert done(engine, camera_jpeg(EDITED, seed=9), request_) == EDITED
    drawn = made(engine, GenerationRequest(prompt="an apple", seed=1))
    assert done(engine, drawn.path.read_bytes(), request_) == GENERATED


def test_what_is_drawn_into_a_photograph_makes_it_edited(engine: Engine) -> None:
    assert done(engine, camera_jpeg(CAPTURED), GenerationRequest(task=Task.EDIT, model="any", prompt="a hat")) == EDITED
    assert done(engine, camera_jpeg(), GenerationRequest(task=Task.IMG2IMG, model="any", prompt="x")) == EDITED
    assert done(engine, camera_jpeg(), GenerationRequest(task=Task.RESTORE_FACES, model="any")) == EDITED
    outpainted = GenerationRequest(task=Task.OUTPAINT, model="any", outpaint=Outpaint(left=32), then=(RESIZED,))
    assert done(engine, camera_jpeg(), outpainted) == EDITED
    mask = engine.keep_image(Image.new("L", (64, 64), 255), LOCAL_USER).hash
    assert done(engine, camera_jpeg(), GenerationRequest(task=Task.INPAINT, model="any", mask=mask)) == EDITED
    enlarged = GenerationRequest(task=Task.UPSCALE, model="creative", upscale=Upscale(scale=2, creativity=0.3))
    assert done(engine, camera_jpeg(), enlarged) == EDITED


def test_what_is_drawn_as_a_whole_is_generated_and_stays_so(engine: Engine) -> None:
    assert done(engine, camera_jpeg(), GenerationRequest(task=Task.SKETCH, model="any", prompt="x")) == GENERATED
    first = made(engine, GenerationRequest(prompt="an apple", seed=1))
    assert written(first) == GENERATED
    for step in (RESIZED, GenerationRequest(task=Task.EDIT, model="any", prompt="a hat")):
        kept = engine.keep_asset(first.id, LOCAL_USER)
        assert written(made(engine, step.replace(source=kept.hash))) == GENERATED
        assert done(engine, first.path.read_bytes(), step) == GENERATED


def test_a_result_that_is_worked_on_again_keeps_what_it_is(engine: Engine) -> None:
    source = engine.keep_image(camera_jpeg(CAPTURED), LOCAL_USER).hash
    bare = OutputOptions(keep="nothing")  # type: ignore[arg-type]
    small = made(engine, RESIZED.replace(source=source, file=bare))
    assert written(small) == ""
    again = engine.keep_asset(small.id, LOCAL_USER).hash
    assert written(made(engine, RESIZED.replace(source=again))) == CAPTURED


def test_a_file_that_hides_its_making_says_so_to_its_user(engine: Engine, tmp_path: Path) -> None:
    bare = OutputOptions(keep=MetadataPolicy.NOTHING)
    drawn = made(engine, GenerationRequest(prompt="an apple", seed=1, file=bare))
    assert (written(drawn), NO_MARKER_NOTICE in drawn.notes) == ("", True)
    photo = made(engine, RESIZED.replace(source=engine.keep_image(camera_jpeg(), LOCAL_USER).hash, file=bare))
    assert NO_MARKER_NOTICE not in photo.notes
    strict = open_engine(tmp_path / "strict", FakeBackend(FAKE_MODEL), marking="always")
    kept = made(strict, GenerationRequest(prompt="an apple", seed=1, file=bare))
    assert (written(kept), MARKER_KEPT_NOTICE in kept.notes) == (GENERATED, True)
    assert read_metadata(kept.path).recipe is None
    strict.close(drain=1)


def test_an_image_of_another_studio_is_known_as_generated_without_a_marker(engine: Engine) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps({"3": {"class_type": "KSampler", "inputs": {}}}))
    graph = io.BytesIO()
    draw_fake_image(5, 64, 64).save(graph, "PNG", pnginfo=info)
    assert done(engine, graph.getvalue(), RESIZED) == GENERATED
    infotext = EmbeddedMetadata(infotext="a pear\nSteps: 4, Sampler: Euler", tool="x", source_type="")
    plain = encode_image(draw_fake_image(6, 64, 64), "jpeg", quality=90, carried=infotext)
    assert done(engine, plain, RESIZED) == GENERATED


def test_a_source_type_that_is_no_term_of_the_vocabulary_is_not_written_on(engine: Engine) -> None:
    assert done(engine, camera_jpeg("https://example.org/x"), RESIZED) == ""
    assert done(engine, camera_jpeg(CAPTURED.replace("http:", "https:"), seed=4), RESIZED) == CAPTURED
