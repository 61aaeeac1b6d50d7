"""Prompts of several things: what is read out of plain English, and what is left as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.pipelines.catalog.model_folders import read_vocabulary
from studio.prompting.scene import MAX_THINGS, Arrangement, Vocabulary, find_unknown_words, names_anything, read_scene

NAMES = (
    "cat",
    "black cat",
    "dog",
    "apple",
    "red apple",
    "orange",
    "house",
    "house with a garden",
    "fish",
    "mouse",
    "star",
    "strawberry",
    "fork and knife",
    "slice of pizza",
    "cherry",
    "cherries",
    "owl",
    "ice cube",
    "scissors",
    "robot",
)
VOCABULARY = Vocabulary(
    frozenset(NAMES), {"on grass": "on a green background", "in the sea": "on a blue background", "under water": "deep"}
)
THINGS = Path(__file__).parent.parent / "models" / "embedded" / "things.json"


def read_prompts(prompt: str) -> list[str] | None:
    scene = read_scene(prompt, VOCABULARY)
    return None if scene is None else [thing.prompt for thing in scene.things]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat and a dog", ["a cat", "a dog"]),
        ("A Cat And A Dog", ["A Cat", "A Dog"]),
        ("cat, dog", ["cat", "dog"]),
        ("a cat, a dog, and a fish", ["a cat", "a dog", "a fish"]),
        ("a cat with a dog next to a house", ["a cat", "a dog", "a house"]),
        ("a red apple beside a shiny blue robot", ["a red apple", "a shiny blue robot"]),
        ("two red apples", ["a red apple"] * 2),
        ("three mice and 2 owls", ["a mouse"] * 3 + ["an owl"] * 2),
        ("two small oranges", ["an orange"] * 2),
        ("the two strawberries", ["a strawberry"] * 2),
        ("a pair of ice cubes", ["an ice cube"] * 2),
        ("two slices of pizza", ["a slice of pizza"] * 2),
        ("two cherries and a cat", ["a cherry", "a cherry", "a cat"]),
        ("cherries and a cat", ["cherries", "a cat"]),
        ("two scissors", ["scissors"] * 2),
        ("stars", ["a star"] * 2),
        ("an orange cat and one dog", ["an orange cat", "a dog"]),
        ("a fork and knife and a house with a garden", ["a fork and knife", "a house with a garden"]),
        ("a drawing of a cat and a dog", ["a drawing of a cat", "a dog"]),
        ("a cat and a dog, flat style", ["a cat, flat style", "a dog, flat style"]),
        ("two cats, neon style, soft", ["a cat, neon style, soft"] * 2),
        ("a cat and a dog on a pink background", ["a cat on a pink background", "a dog on a pink background"]),
        ("a cat on the grass and a dog", ["a cat on a green background", "a dog on a green background"]),
        ("a fish in the sea", ["a fish on a blue background"]),
        ("a fish under water", ["a fish deep"]),
        ("(a red apple:1.2) and ((a dog))", ["(a red apple:1.2)", "((a dog))"]),
        ("a (happy:1.3) cat and a dog", ["a (happy:1.3) cat", "a dog"]),
        ("(two red apples:1.2)", ["(a red apple:1.2)"] * 2),
        ("two (red apples:1.2)", ["a (red apple:1.2)"] * 2),
        ("two (red:1.3) apples", ["a (red:1.3) apple"] * 2),
        ("((two (shiny:1.3) apples:1.2))", ["((a (shiny:1.3) apple:1.2))"] * 2),
        ("two (shiny) (apples)", ["a (shiny) (apple)"] * 2),
        ("a big (orange:1.2) cat and a dog", ["an (orange:1.2) cat", "a dog"]),
        ("(orange) (cat:1.2), a dog", ["(orange) (cat:1.2)", "a dog"]),
        ("a photo of a big orange cat and a dog", ["a photo of an orange cat", "a dog"]),
        ("a photo of two orange cats and a dog", ["a photo of an orange cat"] * 2 + ["a dog"]),
        ("drawing of dogs", ["drawing of a dog"] * 2),
        ("(red:1.2) apples", ["a (red:1.2) apple"] * 2),
        ("(red apples:1.2)", ["(a red apple:1.2)"] * 2),
        ("a cat, a dog and 3 owls", ["a cat", "a dog"] + ["an owl"] * 3),
        ("2 cats 2 dogs", ["a cat"] * 2 + ["a dog"] * 2),
        ("a cat a dog", ["a cat", "a dog"]),
        ("a cat; a dog + a fish", ["a cat", "a dog", "a fish"]),
        ("a cat\na dog", ["a cat", "a dog"]),
        ("3x cats", ["a cat"] * 3),
        ("a 3d cat and a 3D dog", ["a 3d cat", "a 3D dog"]),
        ("two 3-d cats", ["a 3-d cat"] * 2),
        ("two fishes", ["a fish"] * 2),
        ("a pair of scissors and a cat", ["scissors", "a cat"]),
        ("a pair of cherries", ["a cherry"] * 2),
    ],
)
def test_each_thing_gets_a_prompt_of_its_own(prompt: str, expected: list[str]) -> None:
    assert read_prompts(prompt) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a cat",
        "a red apple on a pink background",
        "(a cat:1.3), flat style",
        "a wizard",
        "a cat and a wizard",
        "a wizard with a dog",
        "a cat sitting beside a dog",
        "a cat without a dog",
        "a bowl of apples",
        "a cat or a dog",
        "a wizard, a cat and a dog",
        "two cats, 2 wizards",
        "two cats 2 wizards",
        "two cats, four",
        "a pair of scissors",
        "a cat ) and ( a dog",
        "no cats and no dogs",
        "a cat AND a dog",
        "a cat BREAK a dog",
        "[a cat|a dog] and a fish",
        "<lora:neon:1> a cat and a dog",
        "(a cat and a dog:1.2)",
        "a cat ((and a dog)",
        "a cat on a blue background and a dog on a red background",
        "a cat above a dog and a fish",
        "twelve cats",
        "0 cats",
        "99999999999999999999 cats",
        f"{MAX_THINGS + 1} cats",
        "five cats and five dogs",
        "and",
        "two",
        ", , ,",
        ")(",
        "left of a cat",
        "two two cats",
        "two 3 cats",
        "a pair of two cats",
        "two pairs of cats",
        "-3 cats",
        "3 x cats",
        "11 cats",
        "zero cats and a dog",
        "twenty cats",
        "a thousand stars",
        "without a cat, a dog",
        "both cats",
        "a cat and a dog, " + "soft light, " * 400,
        "a cat and two " + "(" * 21 + ")" * 21 + " dogs",
    ],
)
def test_what_is_no_list_of_known_things_is_left_alone(prompt: str) -> None:
    assert read_scene(prompt, VOCABULARY) is None


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("an owl", True),
        ("TWO BLACK CATS, dancing", True),
        ("portrait of (a:0.5) wizard with his mice", True),
        ("[owl:dog:0.5]", True),
        ("a quantum computer", False),
        ("Ein Fahrrad im Regen", False),
        ("caterpillar, scissor", False),
        ("and, with, on grass", False),
    ],
)
def test_a_prompt_names_what_is_known_wherever_it_stands(prompt: str, expected: bool) -> None:
    assert names_anything(prompt, VOCABULARY) is expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a quantum computer", ["quantum"]),
        ("A (Quantum:1.2) Computer", ["quantum"]),
        ("two wooden chairs and a big rusty red car on grass", ["wooden", "rusty"]),
        ("a quantum orange cat", ["quantum"]),
        ("a rusty car, a rusty key", ["rusty"]),
        ("a quick brown fox jumps over the lazy dog", ["quick", "lazy"]),
        ("a very cute cat, beautiful, highly detailed, 3d render", []),
        ("a highly detailed 3d render of a cat", []),
        ("a small (red:1.2) apple", []),
        ("a 3d cat, flat style", []),
        ("a smiling cat and two chocolate donuts", []),
        ("a dark blue car at night, a sea turtle, a hot dog", []),
        ("a photo of fish", []),
        ("a wizard", []),
        ("a girl who likes cats", []),
        ("une orange, la jolie rose, eine schöne rose, un piano", []),
        ("量子 computer", []),
        ("no quantum computer", []),
        ("a [quantum:red:0.5] computer", []),
        ("a quantum computer AND a cat", []),
        ("embedding:x a quantum computer", []),
        ("a )( : quantum", []),
        ("", []),
    ],
)
def test_words_that_the_model_that_ships_was_not_taught_are_found(prompt: str, expected: list[str]) -> None:
    vocabulary = read_vocabulary(THINGS.parent)
    assert vocabulary is not None
    assert list(find_unknown_words(prompt, vocabulary)) == expected


def test_no_word_is_unknown_to_a_model_that_does_not_say_all_its_words() -> None:
    assert find_unknown_words("a quantum cat", VOCABULARY) == ()


def test_no_word_of_the_examples_is_unknown() -> None:
    vocabulary = read_vocabulary(THINGS.parent)
    assert vocabulary is not None
    examples = json.loads((THINGS.parent / "examples.json").read_text(encoding="utf-8"))
    for prompt in (example["prompt"] for example in examples):
        assert find_unknown_words(prompt, vocabulary) == (), prompt


def test_twenty_brackets_around_each_other_are_read() -> None:
    scene = read_scene("a cat and two " + "(" * 20 + ")" * 20 + " dogs", VOCABULARY)
    assert scene is not None
    assert [thing.prompt for thing in scene.things] == ["a cat", "a dog", "a dog"]


def test_a_prompt_that_was_read_is_not_read_again() -> None:
    prompt = "a cat and a dog, " + "'" * 3000
    assert read_scene(prompt, VOCABULARY) is read_scene(prompt, VOCABULARY) is not None


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat and a dog, (flat style:1.2)", ["a cat, (flat style:1.2)", "a dog, (flat style:1.2)"]),
        ("((soft)), a cat and a dog", ["a cat, ((soft))", "a dog, ((soft))"]),
        ("( a cat:1.2) and a dog", ["(a cat:1.2)", "a dog"]),
        ("(two:1.2) cats", ["a cat", "a cat"]),
        ("((big)) cat and a dog", ["cat", "a dog"]),
        ("a cat and a dog!", ["a cat", "a dog"]),
    ],
)
def test_brackets_and_points_stay_with_what_they_hold(prompt: str, expected: list[str]) -> None:
    scene = read_scene(prompt, VOCABULARY)
    assert scene is not None
    assert [thing.prompt for thing in scene.things] == expected


def test_sizes_are_read_and_left_out_of_the_prompts() -> None:
    scene = read_scene("a big dog and a tiny red apple and a cat", VOCABULARY)
    assert scene is not None
    assert [thing.prompt for thing in scene.things] == ["a dog", "a red apple", "a cat"]
    big, small, plain = (thing.scale for thing in scene.things)
    assert small < plain < big


@pytest.mark.parametrize(
    ("prompt", "expected", "arrangement"),
    [
        ("a cat and a dog", ["a cat", "a dog"], Arrangement.FREE),
        ("a cat left of a dog", ["a cat", "a dog"], Arrangement.ROW),
        ("a cat to the right of a dog", ["a dog", "a cat"], Arrangement.ROW),
        ("a cat on the right and a dog on the left", ["a dog", "a cat"], Arrangement.ROW),
        ("a star above a house", ["a star", "a house"], Arrangement.COLUMN),
        ("two fish below a cat", ["a cat", "a fish", "a fish"], Arrangement.COLUMN),
    ],
)
def test_words_for_sides_put_things_in_order(prompt: str, expected: list[str], arrangement: Arrangement) -> None:
    scene = read_scene(prompt, VOCABULARY)
    assert scene is not None
    assert [thing.prompt for thing in scene.things] == expected
    assert scene.arrangement is arrangement


@pytest.mark.parametrize(
    "prompt",
    ["wolves", "mice", "computer mice", "volcanoes", "volcanos", "mangos", "cacti", "sheep", "slices of pizza"],
)
def test_plurals_are_read_as_they_are_written(prompt: str) -> None:
    names = ("wolf", "mouse", "computer mouse", "volcano", "mango", "cactus", "sheep", "slice of pizza")
    scene = read_scene(f"three {prompt}", Vocabulary(frozenset(names)))
    assert scene is not None
    assert len(scene.things) == 3
    assert scene.things[0].name in names


def test_every_name_of_the_model_that_ships_can_be_counted_and_joined() -> None:
    found = json.loads(THINGS.read_text(encoding="utf-8"))
    vocabulary = Vocabulary(frozenset(found["names"]), found["places"])
    for name in found["names"]:
        joined = read_scene(f"a {name} and a rocket", vocabulary)
        assert joined is not None, name
        assert len(joined.things) == 2, name
        counted = read_scene(f"two {name}", vocabulary)
        assert counted is not None, name
        assert len(counted.things) == 2, name
    for place in found["places"]:
        assert read_scene(f"a cat {place}", vocabulary) is not None, place
