"""What is found in an image without a language: people by their faces, and where the subject stands."""

from __future__ import annotations

import pytest
from PIL import Image
from social_images import make_ball, make_couple

from studio.core.errors import ModelBroken
from studio.engine.describe_image import describe_offline
from studio.engine.storage.inputs import KeptImage
from studio.vision.image_facts import find_image_facts


def load_astronaut() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut())


def test_people_are_counted_and_nothing_is_said_of_what_they_look_like() -> None:
    astronaut = load_astronaut()
    assert find_image_facts(astronaut)[:2] == ("one person", "portrait")
    assert find_image_facts(astronaut.crop((130, 20, 330, 240)))[:2] == ("one person", "close-up portrait")
    assert find_image_facts(make_couple())[0] == "two people"


def test_the_place_of_the_subject_is_told() -> None:
    ball = make_ball()
    wide = Image.new("RGB", (ball.width * 2, ball.height), ball.getpixel((0, 0)))
    for x, place in ((0, "subject on the left"), (ball.width, "subject on the right")):
        image = wide.copy()
        image.paste(ball, (x, 0))
        assert find_image_facts(image) == (place,)


def test_an_empty_image_has_no_facts() -> None:
    assert find_image_facts(Image.new("RGB", (300, 200), "grey")) == ()


def test_an_image_is_measured_where_a_network_cannot_be_read() -> None:
    def fail(image: Image.Image) -> tuple[str, ...]:
        raise ModelBroken("The network cannot be read.", hint="")

    kept = KeptImage(hash="0" * 64, width=40, height=20, history=(), infotext="")
    image = Image.new("RGB", (40, 20), "blue")
    assert describe_offline(kept, lambda: image, fail).prompt.startswith("wide image")
    found = describe_offline(kept, lambda: image, lambda image: ("one person",))
    assert (found.prompt.split(", ")[:2], found.source) == (["one person", "wide image"], "measured")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_of_any_kind_are_looked_at(mode: str) -> None:
    assert find_image_facts(load_astronaut().convert(mode))[0] == "one person"
