"""Near duplicates are found and nothing else; a question in other words or languages finds the image."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from fakes import FakeBackend, open_engine, wait_until_final
from library_rows import add_asset
from PIL import Image, ImageDraw, ImageOps

from studio.core.errors import NotConfigured, NotFound
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER, User
from studio.library.asset_library import AssetLibrary
from studio.library.changes import Change
from studio.library.database import Database
from studio.library.indexing import Indexing
from studio.library.likeness import MAX_DISTANCE, find_pairs, hash_image
from studio.library.meaning import clean_prompt
from studio.vision.sentence_encoder import SentenceEncoder, find_sentence_encoder

LOCAL = LOCAL_USER.name


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    found = find_sentence_encoder()
    assert found is not None
    return found


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "library.db")
    yield opened
    opened.close()


def draw_scene(seed: int, side: int = 256) -> Image.Image:
    """Shapes of many sizes and colours on a gradient, different for each seed."""
    dice = random.Random(seed)
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    first, second = (np.array([dice.random() * 255 for _ in range(3)], np.float32) for _ in range(2))
    ground = first + (second - first) * ramp[:, None, None]
    image = Image.fromarray(np.broadcast_to(ground, (side, side, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, size = dice.random() * side, dice.random() * side, (0.1 + 0.4 * dice.random()) * side
        colour = tuple(dice.randrange(256) for _ in range(3))
        (draw.ellipse if dice.random() < 0.5 else draw.rectangle)((x, y, x + size, y + size), fill=colour)
    return image


def change(image: Image.Image, how: str) -> Image.Image:
    if how == "jpeg":
        out = io.BytesIO()
        image.save(out, "JPEG", quality=30)
        return Image.open(out)
    if how == "half":
        return image.resize((image.width // 2, image.height // 2))
    if how == "stretched":
        return image.resize((image.width * 2, image.height))
    return ImageOps.grayscale(image)


def count_bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize("how", ["jpeg", "half", "stretched", "grey"])
def test_a_changed_copy_is_near_its_original(how):
    for seed in range(40):
        image = draw_scene(seed)
        assert count_bits(hash_image(image), hash_image(change(image, how))) <= MAX_DISTANCE, seed


def test_different_images_are_not_near():
    hashes = np.array([hash_image(draw_scene(seed, 64)) for seed in range(500)], np.uint64)
    assert list(find_pairs(hashes)) == []


@pytest.mark.parametrize("colour", ["black", "white", "#336699"])
def test_one_colour_alone_is_like_nothing(colour):
    assert hash_image(Image.new("RGB", (64, 64), colour)) is None


def test_pairs_are_those_that_a_comparison_of_all_finds():
    dice = random.Random(5)
    values = [dice.getrandbits(64) for _ in range(300)]
    for value in values[:60]:
        for _ in range(dice.randrange(0, 9)):
            value ^= 1 << dice.randrange(64)
        values.append(value)
    hashes = np.array([*values, values[0], values[0]], np.uint64)
    found = {frozenset(pair) for pair in find_pairs(hashes)}
    all_pairs = {
        frozenset((one, other))
        for one in range(len(hashes))
        for other in range(one)
        if count_bits(int(hashes[one]), int(hashes[other])) <= MAX_DISTANCE
    }
    assert found <= all_pairs
    assert link(found, len(hashes)) == link(all_pairs, len(hashes))


def link(pairs, count):
    groups = [{number} for number in range(count)]
    for pair in pairs:
        joined = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair] + [set().union(*joined)]
    return {frozenset(group) for group in groups}


def test_duplicates_are_grouped_for_their_user_alone(tmp_path):
    engine = open_engine(tmp_path, FakeBackend(steps=1))
    library = engine.asset_library
    mine = [make(engine, seed=7) for _ in range(2)] + [make(engine, seed=8)]
    theirs = make(engine, seed=7, user=User("bob"))
    while engine._indexing.work():
        pass
    (group,) = library.list_duplicates(LOCAL)
    assert {asset.id for asset in group} == set(mine[:2])
    assert library.list_similar(mine[0], LOCAL).assets[0].id == mine[1]
    assert theirs not in {asset.id for asset in library.list_similar(mine[0], LOCAL).assets}
    assert library.list_duplicates("bob") == []
    with pytest.raises(NotFound):
        library.list_similar(mine[0], "bob")
    library.change_many(Change(trash=True), LOCAL, ids=mine[:1])
    assert library.list_duplicates(LOCAL) == []
    engine.close(drain=0)


def make(engine, seed, user=LOCAL_USER):
    job = engine.submit(GenerationRequest(prompt="a red apple", seed=seed), user)
    return wait_until_final(job).assets[0].id


def make_library(database, tmp_path, encoder):
    library = AssetLibrary(database, tmp_path, embedder=encoder)

    def refuse(asset_id, user):
        raise NotFound("no thumbnail here")

    indexing = library.make_indexing(lambda: False, refuse)
    return library, indexing


def find(library, text, user=LOCAL, **how):
    return [asset.id for asset in library.list_assets(text, user, **how).assets]


def work_all(indexing: Indexing) -> None:
    while indexing.work():
        pass


def test_other_words_and_languages_find_the_image(database, tmp_path, encoder):
    library, indexing = make_library(database, tmp_path, encoder)
    castle = add_asset(database, "(a castle:1.3) on a hill at night, <lora:stone:0.8>")
    fox = add_asset(database, "a red fox in fresh snow")
    add_asset(database, "a bowl of ripe strawberries on a wooden table")
    add_asset(database, "", path="no-words.png")
    work_all(indexing)
    for text in ("a fortress after dark", "eine Burg bei Nacht", "un château la nuit", "夜の城"):
        assert find(library, f'meaning:"{text}"') == [castle], text
    assert find(library, 'meaning:"a wild canine in winter"') == [fox]
    assert find(library, 'meaning:"quarterly tax report"') == find(library, 'meaning:"kubernetes cluster"') == []
    assert find(library, 'meaning:"a fortress after dark" fox') == []
    assert find(library, 'meaning:"a fortress after dark" castle') == [castle]
    assert library.list_assets('meaning:"a fortress after dark"', LOCAL).total == 1
    library.change_many(Change(trash=True), LOCAL, ids=[castle])
    assert find(library, 'meaning:"a fortress after dark"') == []
    assert find(library, 'meaning:"a fortress after dark"', trashed=True) == [castle]


def test_meanings_of_others_are_not_shown(database, tmp_path, encoder):
    library, indexing = make_library(database, tmp_path, encoder)
    theirs = add_asset(database, "a castle at night", user="bob")
    work_all(indexing)
    assert find(library, "meaning:castle") == []
    assert find(library, "meaning:castle", "bob") == [theirs]


def test_the_nearest_come_first_and_pages_follow(database, tmp_path, encoder):
    library, indexing = make_library(database, tmp_path, encoder)
    near = add_asset(database, "a castle at night")
    prompts = ["a castle by a lake", "an old castle", "castle walls in the evening", "a fortress on a mountain"]
    others = [add_asset(database, prompt) for prompt in prompts]
    work_all(indexing)
    whole = find(library, 'meaning:"a castle at night"')
    assert whole[0] == near
    assert set(whole) <= {near, *others}
    first = library.list_assets('meaning:"a castle at night"', LOCAL, limit=2)
    rest = library.list_assets('meaning:"a castle at night"', LOCAL, limit=50, cursor=first.next)
    assert [asset.id for asset in (*first.assets, *rest.assets)] == whole


def test_more_like_this_is_by_meaning_and_by_words_without_a_model(database, tmp_path, encoder):
    library, indexing = make_library(database, tmp_path, encoder)
    castle = add_asset(database, "a castle on a hill at night")
    like = add_asset(database, "a fortress on a mountain after dark")
    add_asset(database, "a bowl of ripe strawberries")
    work_all(indexing)
    assert [asset.id for asset in library.list_similar(castle, LOCAL).assets] == [like]
    plain = AssetLibrary(database, tmp_path)
    shared = add_asset(database, "the castle gate")
    assert [asset.id for asset in plain.list_similar(castle, LOCAL).assets] == [shared]


def test_without_a_model_it_is_said_what_is_missing(database, tmp_path):
    add_asset(database, "a castle")
    with pytest.raises(NotConfigured, match="meaning"):
        AssetLibrary(database, tmp_path).list_assets("meaning:castle", LOCAL)


def test_another_model_reads_everything_again(database, tmp_path, encoder):
    class Other(SentenceEncoder):
        id = "other"

    _, indexing = make_library(database, tmp_path, encoder)
    one = add_asset(database, "a castle")
    work_all(indexing)
    other, again = make_library(database, tmp_path, Other())
    assert find(other, "meaning:castle") == []
    work_all(again)
    assert find(other, "meaning:castle") == [one]
    assert {row["model"] for row in database.rows("SELECT model FROM vectors")} == {"other"}


def test_a_changed_prompt_has_a_new_meaning_at_once(database, tmp_path, encoder):
    library, indexing = make_library(database, tmp_path, encoder)
    one = add_asset(database, "a castle")
    work_all(indexing)
    assert find(library, "meaning:castle") == [one]
    with database.transaction() as connection:
        connection.execute("UPDATE recipes SET prompt = 'a bowl of strawberries'")
        connection.execute("DELETE FROM vectors")
    work_all(indexing)
    assert find(library, "meaning:castle") == []
    assert find(library, "meaning:berries") == [one]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("(a castle:1.3), <lora:stone:0.8> at [night]", "a castle , at night"),
        ("red AND blue BREAK green", "red blue green"),
        ("", ""),
        ("(((", ""),
    ],
)
def test_marks_of_prompts_have_no_meaning(prompt, words):
    assert clean_prompt(prompt) == words
