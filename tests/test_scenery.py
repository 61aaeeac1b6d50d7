"""Composed things in the place that a prompt names: which place it is, how large they are, and on what they rest."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model, Sampling
from studio.core.request import GenerationRequest
from studio.pipelines.catalog.model_folders import read_vocabulary
from studio.pipelines.run.scene_layout import Placement, place_by_nature, put_into_place, take_out_of_place
from studio.pipelines.run.scenery import choose_scenery, paint_scenery
from studio.pipelines.run.thing_cutouts import cut_out
from studio.prompting.scene import Scene, Thing, read_scene
from studio.prompting.thing_facts import Footing, get_footing, get_relative_sizes
from tests.local_models import EMBEDDED

VOCABULARY = read_vocabulary(EMBEDDED)
assert VOCABULARY is not None
RED, GREEN, WHITE = (220, 30, 30), (70, 170, 70), (255, 255, 255)
KNOWS_PLACES = Model(id="one", title="One", family="x", sampling=Sampling(compose=True, scenery=True))


def read(prompt: str) -> Scene:
    assert VOCABULARY is not None
    scene = read_scene(prompt, VOCABULARY)
    assert scene is not None, prompt
    return scene


def place(prompt: str, width: int = 256, height: int = 256) -> Placement:
    return place_by_nature(read(prompt), width, height)


def make_disc(colour: tuple[int, int, int], ground: tuple[int, int, int], side: int = 64) -> Image.Image:
    """A disc in the middle of an image, its edge as soft as one that was drawn finely and made smaller."""
    rows, columns = np.mgrid[: 4 * side, : 4 * side] / 4
    inside = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side * 0.35) ** 2
    fine = Image.fromarray(np.where(inside[..., None], colour, ground).astype(np.uint8))
    return fine.resize((side, side), Image.Resampling.BOX)


def compose(prompt: str, seed: int = 1, side: int = 128, ground: tuple[int, int, int] = GREEN) -> np.ndarray:
    scene = read(prompt)
    scenery = choose_scenery(scene)
    assert scenery is not None
    images = [make_disc(RED, ground) for _ in scene.things]
    placement = place_by_nature(scene, side, side)
    return np.asarray(put_into_place(images, placement, scenery, (side, side), seed), float)


def test_there_is_no_ground_behind_things_that_are_all_high_up() -> None:
    placement = place("a rocket and a crescent moon at night")
    assert max(spot.top + spot.side for spot in placement.spots) <= placement.horizon < 256
    assert place("a cat at night").horizon < placement.horizon


def test_every_place_that_the_model_knows_has_a_look() -> None:
    assert VOCABULARY is not None
    for words in VOCABULARY.places:
        scene = Scene(((Thing("a cat", name="cat"),),), place=words)
        scenery = choose_scenery(scene)
        assert scenery is not None, words
        pixels = paint_scenery(scenery, (96, 64), 30, seed=3)
        assert pixels.shape == (64, 96, 3)
        assert 0 <= pixels.min() <= pixels.max() <= 255


def test_a_prompt_says_where_its_things_are() -> None:
    assert read("a cat and a dog on the grass").place == "on grass"
    assert read("two stars in the night sky").place == "in the night sky"
    assert read("a cat and a dog on a pink background").place == ""
    assert choose_scenery(read("a cat and a dog")) is None


def test_a_meadow_is_green_below_a_blue_sky_and_the_sea_is_blue_below_it() -> None:
    meadow, sea = compose("a cat on grass"), compose("a boat in the sea")
    for image in (meadow, sea):
        red, _, blue = image[:8].mean(axis=(0, 1))
        assert blue > red + 60
    red, green, blue = meadow[-6:].mean(axis=(0, 1))
    assert green > max(red, blue) + 40
    red, green, blue = sea[-6:].mean(axis=(0, 1))
    assert blue > red + 60


def test_fish_are_seen_below_the_surface_and_boats_above_it() -> None:
    under, over = (
        choose_scenery(read("a fish and a crab in the sea")),
        choose_scenery(read("a fish and a boat in the sea")),
    )
    assert under is not None
    assert under.ground is None
    assert over is not None
    assert over.is_water
    assert choose_scenery(read("a boat under water")) == under


def test_the_seed_alone_says_where_the_stars_are() -> None:
    first, again, other = (compose("a cat at night", seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    large = compose("a cat at night", 2**64 - 1)
    assert (large != other).any()


def test_small_things_are_drawn_smaller_beside_large_ones() -> None:
    cat, house = place("a cat and a house").spots
    assert 0.5 * house.side < cat.side < 0.8 * house.side
    assert abs(cat.top + cat.side - house.top - house.side) <= 1
    first, second = place("a cat and a dog").spots
    assert first.side == second.side
    big, small = place("a big ant and an elephant").spots
    assert big.side > 0.7 * small.side
    assert get_relative_sizes(("gizmo", "cat")) == (1.0, 1.0)


def test_what_flies_is_above_what_stands() -> None:
    house, sun = place("a house and a sun").spots
    assert sun.top + sun.side <= house.top
    left, right = place("a sun left of a house").spots
    assert left.left < right.left
    assert abs(left.top + left.side - right.top - right.side) <= 1


@pytest.mark.parametrize(
    "prompt", ["a cat and a dog", "nine stars on grass", "two suns, a cat and five bees on the beach"]
)
def test_no_thing_leaves_the_image(prompt: str) -> None:
    for width, height in ((512, 512), (704, 320), (256, 640)):
        placement = place(prompt, width, height)
        assert 0 < placement.horizon < height
        for spot in placement.spots:
            assert min(spot.left, spot.top) >= 0
            assert spot.left + spot.side <= width + 1
            assert spot.top + spot.side <= height + 1


def test_a_standing_thing_throws_a_shadow_and_a_flying_one_none() -> None:
    scene = read("two cats in fog")
    scenery = choose_scenery(scene)
    assert scenery is not None
    placement = place_by_nature(scene, 128, 128)
    feet = placement.spots[0].top + placement.spots[0].side
    images = [make_disc(RED, WHITE)] * 2
    standing, flying, bare = (
        np.asarray(put_into_place(images[:count], cut(placement, count, footing), scenery, (128, 128), 1), float)
        for count, footing in ((2, Footing.STANDS), (2, Footing.FLIES), (0, Footing.STANDS))
    )
    assert (standing[feet - 2 :] < bare[feet - 2 :] - 5).any()
    assert (flying[feet - 2 :] == bare[feet - 2 :]).all()


@pytest.mark.parametrize("footing", [Footing.STANDS, Footing.SWIMS, Footing.FLIES])
def test_things_taken_out_of_a_place_are_where_the_model_put_them(footing: Footing) -> None:
    """A thing that stood below its middle, as on the grass, was redrawn badly at low strengths."""
    scene = read("a blue car and a red apple on grass")
    scenery, placement = choose_scenery(scene), place_by_nature(scene, 256, 256)
    assert scenery is not None
    placement = dataclasses.replace(placement, footings=(footing,) * 2)
    whole = put_into_place([make_disc(RED, WHITE)] * 2, placement, scenery, (256, 256), 1)
    for square, spot in zip(take_out_of_place(whole, placement, scenery, 1), placement.spots, strict=True):
        assert square.size == (spot.side, spot.side)
        seen = np.flatnonzero((np.asarray(square, float)[..., 1] < 128).any(axis=1))
        above, below = seen[0], spot.side - 1 - seen[-1]
        assert abs(above - below) <= 2, (above, below)
        assert below > 0.05 * spot.side


def cut(placement: Placement, count: int, footing: Footing) -> Placement:
    """The first things of a placement, all resting so."""
    return dataclasses.replace(
        placement, spots=placement.spots[:count], footings=(footing,) * count, openings=placement.openings[:count]
    )


def test_a_thing_is_cut_out_without_a_rim_of_its_ground() -> None:
    cutout = cut_out(make_disc(RED, GREEN, 64), 64)
    shares = cutout.shares[..., 0]
    assert shares[32, 32] == 1
    assert shares[2, 2] == 0
    seen = shares > 0.3
    colours = cutout.colours[seen] / cutout.shares[seen]
    assert np.abs(colours - RED).max() < 30


def test_stains_of_the_ground_are_no_part_of_a_thing() -> None:
    pixels = np.asarray(make_disc(RED, WHITE)).copy()
    pixels[3:6, 50:53] = (90, 60, 200)
    shares = cut_out(Image.fromarray(pixels), 64).shares[..., 0]
    assert shares[:9, 46:].max() < 0.01
    assert shares[32, 32] == 1


def test_pale_stains_that_reach_the_rim_are_no_part_of_a_thing_and_pale_parts_of_it_are() -> None:
    """The model tints its ground beside dark feet; those stains came along into the place as grey blocks."""
    pixels = np.asarray(make_disc(RED, WHITE)).copy()
    pixels[54:64, 29:37] = (225, 220, 235)  # below the disc, down to the rim
    pixels[30:34, 30:34] = (225, 220, 235)  # a light on it
    shares = cut_out(Image.fromarray(pixels), 64).shares[..., 0]
    assert shares[58:].max() < 0.01
    assert shares[28:36, 28:36].min() > 0.99


def make_ring(inner: np.ndarray | tuple[int, int, int], side: int = 64) -> Image.Image:
    """A red ring on white around what is `inner`, a colour or one for each of 4 · `side` columns."""
    rows, columns = np.mgrid[: 4 * side, : 4 * side] / 4
    far = np.hypot(rows - side / 2, columns - side / 2)
    pixels = np.where((far < side * 0.4)[..., None], RED, WHITE)
    pixels = np.where((far < side * 0.22)[..., None], inner, pixels)
    return Image.fromarray(pixels.astype(np.uint8)).resize((side, side), Image.Resampling.BOX)


def test_the_ground_inside_a_ring_is_cut_away_without_a_rim() -> None:
    for side in (64, 256):
        cutout = cut_out(make_ring(WHITE, side), 64, has_openings=True)
        shares = cutout.shares[..., 0]
        assert shares[32, 32] < 0.01
        assert shares[32, 12] > 0.99
        seen = shares > 0.3
        assert np.abs(cutout.colours[seen] / cutout.shares[seen] - RED).max() < 30
        assert cut_out(make_ring(WHITE, side), 64).shares[32, 32, 0] == 1


def test_white_parts_with_light_and_shade_stay_and_so_do_highlights_that_fade() -> None:
    shaded = np.linspace(255, 225, 256)[:, None].repeat(3, axis=1)
    greyish = (246, 246, 246)
    faded = 255 - np.abs(np.arange(256) - 128)[:, None].repeat(3, axis=1) * 1.2
    for inner in (shaded, greyish, faded):
        assert cut_out(make_ring(inner), 64, has_openings=True).shares[32, 32, 0] == 1


def test_the_place_shows_through_a_ring_and_not_through_the_white_of_an_eye() -> None:
    seen: list[float] = []
    for name in ("ring", "smiley"):
        scene = read(f"a {name} on grass")
        scenery = choose_scenery(scene)
        assert scenery is not None
        placement = place_by_nature(scene, 128, 128)
        whole = np.asarray(put_into_place([make_ring(WHITE)], placement, scenery, (128, 128), 1), float)
        (spot,) = placement.spots
        seen.append(float(np.abs(whole[spot.top + spot.side // 2, spot.left + spot.side // 2] - WHITE).max()))
    ring, smiley = seen
    assert ring > 30 > 2 > smiley


def test_a_thing_that_is_nothing_but_ground_is_no_error() -> None:
    cutout = cut_out(Image.new("RGB", (32, 32), GREEN), 16)
    assert cutout.shares.max() == 0


def test_faces_and_signs_rest_nowhere() -> None:
    for name, footing in {"sad face": Footing.NOWHERE, "heart": Footing.NOWHERE, "cat": Footing.STANDS}.items():
        assert get_footing(name) is footing


def test_a_recipe_that_says_nothing_of_scenery_has_a_ground_of_one_colour() -> None:
    earlier = GenerationRequest.from_json({"prompt": "a cat on grass", "compose": True, "seed": 1})
    assert not earlier.scenery
    asked = earlier.replace(scenery=True)
    assert GenerationRequest.from_json(json.loads(json.dumps(asked.to_json()))).scenery
    text = format_infotext(asked, model=KNOWS_PLACES, width=128, height=128, seed=1)
    assert "Scenery: True" in text
    assert parse_infotext(text).request.scenery
    assert "Scenery: True" not in format_infotext(earlier, model=KNOWS_PLACES, width=128, height=128, seed=1)
