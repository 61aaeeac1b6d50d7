"""The pure parts of tools/embedded: captions, colours, concept list, schedules."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")

from tools.embedded.captions import (  # noqa: E402
    View,
    add_article,
    build_caption,
    build_captions,
    filter_uncoloured,
    is_held_out,
)
from tools.embedded.colours import PALETTE, WHITE, composite, find_nearest_name, recolour  # noqa: E402
from tools.embedded.concepts import load_concepts, make_slug, parse_concepts  # noqa: E402
from tools.embedded.convolution import replace_convolutions  # noqa: E402
from tools.embedded.paths import MODEL  # noqa: E402
from tools.embedded.render import FILL, fit_drawing  # noqa: E402
from tools.embedded.things import THINGS, write_things  # noqa: E402
from tools.embedded.training import Ema, compute_cosine_rate, compute_ema_decay  # noqa: E402


def disc(colour: tuple[int, int, int]) -> np.ndarray:
    """A shaded disc of one colour, premultiplied RGBA, uint8 [32, 32, 4]."""
    rows, columns = np.mgrid[:32, :32]
    inside = (rows - 16) ** 2 + (columns - 16) ** 2 < 144
    light = 0.8 + 0.2 * columns / 31
    image = np.zeros((32, 32, 4), np.uint8)
    image[..., :3] = np.array(colour) * light[..., None] * inside[..., None]
    image[..., 3] = inside * 255
    return image


def test_concept_lines_are_read() -> None:
    parsed = parse_concepts("# note\nautomobile | car, motor car\n!leopard | leopard\n\n")
    assert [(concept.label, concept.names, concept.held_out) for concept in parsed] == [
        ("automobile", ("car", "motor car"), False),
        ("leopard", ("leopard",), True),
    ]


def test_concept_labels_are_unique_and_named() -> None:
    concepts = load_concepts()
    assert len({concept.label for concept in concepts}) == len(concepts)
    assert all(concept.names for concept in concepts)
    assert 250 <= sum(not concept.held_out for concept in concepts) <= 500


def test_names_that_ship_are_those_of_the_concepts_without_the_held_out_ones(tmp_path: Path) -> None:
    write_things(tmp_path)
    assert (tmp_path / THINGS).read_text(encoding="utf-8") == (MODEL / THINGS).read_text(encoding="utf-8")
    assert '"leopard"' not in (tmp_path / THINGS).read_text(encoding="utf-8")


def test_slug_matches_icon_names() -> None:
    assert make_slug("woman’s boot") == "womans-boot"
    assert make_slug("T-Rex") == "t-rex"


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("apple", "an apple"),
        ("red apple", "a red apple"),
        ("unicorn", "a unicorn"),
        ("grapes", "grapes"),
        ("green grapes", "green grapes"),
    ],
)
def test_articles(phrase: str, expected: str) -> None:
    assert add_article(phrase) == expected


def test_caption_names_colour_ground_and_style() -> None:
    view = View("flat", "red", "blue")
    assert build_caption("car", view) == "a red car on a blue background, flat style"
    assert build_caption("car", View("3d"), natural="red") == "a red car"
    assert build_caption("car", View("3d", "green"), article=False, styled=True) == "green car, 3d style"


def test_recoloured_views_never_use_names_with_colours() -> None:
    assert filter_uncoloured(("red apple", "apple", "polar bear")) == ("apple",)
    for seed in range(20):
        for text in build_captions(("red apple", "apple"), View("3d", "blue"), "red", random.Random(seed)):
            assert "red" not in text
            assert "blue apple" in text


def test_held_out_pairs_are_stable_and_few() -> None:
    pairs = [(f"thing {number}", colour) for number in range(200) for colour in PALETTE]
    chosen = [pair for pair in pairs if is_held_out(*pair)]
    assert chosen == [pair for pair in pairs if is_held_out(*pair)]
    assert 0.05 < len(chosen) / len(pairs) < 0.15


@pytest.mark.parametrize("colour", list(PALETTE))
def test_palette_words_name_themselves(colour: str) -> None:
    assert find_nearest_name(np.array(PALETTE[colour], np.float32)) == colour


@pytest.mark.parametrize("colour", list(PALETTE))
def test_recolouring_reaches_the_word_and_keeps_the_outline(colour: str) -> None:
    before = disc((200, 40, 40))
    after = recolour(before, colour)
    assert np.array_equal(after[..., 3], before[..., 3])
    middle = after[16, 16, :3].astype(np.float32)
    assert find_nearest_name(middle) == colour


def test_composite_fills_what_is_transparent() -> None:
    shown = composite(disc((200, 40, 40)), np.array([10.0, 20.0, 30.0]))
    assert shown[0, 0].tolist() == [10, 20, 30]
    assert shown[16, 16, 0] > 150


@pytest.mark.parametrize("ground", [WHITE, np.array([0.0, 0.0, 0.0]), np.array([40.0, 120.0, 200.0])])
def test_edges_of_a_reduced_drawing_mix_its_colour_and_the_ground(ground: np.ndarray) -> None:
    large = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    ImageDraw.Draw(large).ellipse((0, 0, 511, 511), (240, 230, 20, 255))
    drawn = fit_drawing(large, 64)
    assert drawn is not None
    assert (drawn[..., :3] <= drawn[..., 3:]).all()
    shown = composite(drawn, ground)
    side = round(64 * FILL)
    whole = Image.new("RGB", large.size, tuple(int(value) for value in ground))
    whole.paste(large, mask=large)
    expected = np.asarray(whole.resize((side, side), Image.Resampling.LANCZOS), np.float32)
    corner = (64 - side) // 2
    inner = slice(corner, corner + side)
    errors = np.abs(shown[inner, inner] - expected)
    assert errors.mean() < 1
    assert errors.max() < 30  # the filter swings at edges, and each of both is cut off at its own limits
    assert shown[0, 0].tolist() == ground.tolist()


def test_cosine_rate_rises_then_falls() -> None:
    assert compute_cosine_rate(1.0, 0, 0.0, warmup=10) == pytest.approx(0.1)
    assert compute_cosine_rate(1.0, 100, 0.0, warmup=10) == pytest.approx(1.0)
    assert compute_cosine_rate(1.0, 100, 0.5, warmup=10) == pytest.approx(0.51)
    assert compute_cosine_rate(1.0, 100, 1.5, warmup=10) == pytest.approx(0.02)


@pytest.mark.parametrize("stride", [1, 2])
def test_quick_convolutions_agree_with_the_library(stride: int) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, stride, 1), torch.nn.Conv2d(8, 4, 1))
    quick = copy.deepcopy(plain)
    replace_convolutions(quick)
    image = torch.randn(2, 4, 8, 8)
    gradients = []
    for module in (plain, quick):
        given = image.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            module(given).float().square().mean().backward()
        assert given.grad is not None
        gradients.append([given.grad, *(value.grad for value in module.parameters())])
    for expected, found in zip(*gradients, strict=True):
        assert torch.allclose(expected, found, atol=0.02 * float(expected.abs().max()))


def test_ema_is_quick_at_first_and_bounded_later() -> None:
    assert compute_ema_decay(0, 0.99) == pytest.approx(0.1)
    assert compute_ema_decay(10**6, 0.99) == 0.99


def test_ema_moves_towards_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    ema = Ema(layer, 0.5)
    torch.nn.init.constant_(layer.weight, 1.0)
    ema.update(layer, step=1000)
    assert ema.values["weight"].item() == pytest.approx(0.5)
    ema.update(layer, step=1000, every=2)
    assert ema.values["weight"].item() == pytest.approx(0.875)
    ema.copy_to(layer)
    assert layer.weight.item() == pytest.approx(0.875)


def test_a_gain_is_the_mean_of_paired_differences_with_its_interval() -> None:
    from tools.embedded.upscaler_evaluation import format_gain

    theirs = np.linspace(20, 30, 100)
    assert format_gain(theirs + 0.5, theirs) == "+0.5000 ± 0.0000"
    assert format_gain(theirs + np.tile([0.0, 1.0], 50), theirs) == "+0.5000 ± 0.0985"
