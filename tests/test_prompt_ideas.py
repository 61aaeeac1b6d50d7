"""Random prompts, enhancement by rules, and advice: what they add, and what they never do."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest
from studio.core.feature import Feature
from studio.core.model import Look, Model
from studio.core.prompts import Brief
from studio.engine.brief_config import build_config, find_format
from studio.prompting.dialects import Dialect, advise_model, find_dialect, find_look
from studio.prompting.enhance import MAX_ADDITIONS, SLOTS, join_additions, propose_additions
from studio.prompting.random_prompts import SUBJECTS, draw_random_prompt
from studio.prompting.wildcards import Wildcards
from studio.social.platforms import Platforms

LISTS = Wildcards().open()
CLIP = Model(id="clip", title="Clip", family="sd15")
ANIME = dataclasses.replace(CLIP, id="anime", title="Anime", look=Look.ANIME)
PHOTO = dataclasses.replace(CLIP, id="photo", title="Photo", look=Look.PHOTO)
CLOUD = Model(id="cloud", title="Cloud", family="gemini", lane="gemini", features=frozenset({Feature.SEED}))
TRAITS = re.compile(
    r"\b(?:skin(?:ned)?|blond\w*|brunette|caucasian|asian|african|european|latin\w*|arab\w*|indian|male|female|"
    r"man|men|woman|women|girl|boy|young|old(?:er)?|elderly|child\w*|muslim|christian|jew(?:s|ish)?|hindu|buddhist|"
    r"tradition\w*|turban|hijab|kimono|sari|slim|beautiful|handsome|pretty|flag|ethnic)\b",
    re.IGNORECASE,
)
PROMPTS = (
    "a doctor",
    "portrait of my grandmother in Lagos, 2024",
    "two people in Tokyo",
    "a wedding",
    "a cat",
    "1943 German soldiers",
    "a farmer in Peru",
    "",
    "a street market",
    "children playing",
)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("subject", ["", *SUBJECTS])
def test_a_random_prompt_is_whole_and_repeatable(dialect: Dialect, subject: str) -> None:
    drawn = [draw_random_prompt(seed, dialect, LISTS, subject=subject) for seed in range(60)]
    assert drawn == [draw_random_prompt(seed, dialect, LISTS, subject=subject) for seed in range(60)]
    assert len({each.prompt for each in drawn}) >= 55
    for each in drawn:
        assert each.subject in SUBJECTS
        assert subject in ("", each.subject)
        assert not re.search(r"[{}|]|__|  |,,|\ba [aeiou]", each.prompt), each.prompt
        assert not TRAITS.search(each.prompt), each.prompt
        assert each.negative_prompt
        assert (each.prompt.endswith(".") and not each.prompt[0].islower()) == (dialect is Dialect.SENTENCES)


def test_a_random_prompt_comes_without_a_negative_one_where_that_does_not_count() -> None:
    assert draw_random_prompt(1, Dialect.SENTENCES, LISTS, negative=False).negative_prompt == ""
    with pytest.raises(InvalidRequest, match="no subject"):
        draw_random_prompt(1, Dialect.TAGS, LISTS, subject="cars")


@pytest.mark.parametrize("dialect", Dialect)
def test_enhancement_keeps_every_word_and_says_nothing_of_people(dialect: Dialect) -> None:
    for seed in range(100):
        for prompt in PROMPTS:
            additions = propose_additions(prompt, seed, LISTS)
            joined = join_additions(prompt, additions, dialect)
            assert joined.startswith(prompt)
            assert 0 < len(additions) <= MAX_ADDITIONS
            assert all(each.text.casefold() in joined.casefold() for each in additions)
            assert not TRAITS.search(joined[len(prompt) :]), joined


def test_what_the_prompt_says_already_is_not_said_again() -> None:
    full = "oil painting of a cat at dawn, close-up, calm, muted colours"
    assert propose_additions(full, 1, LISTS) == ()
    assert join_additions(full, (), Dialect.PHRASES) == full
    for seed in range(50):
        slots = {each.slot for each in propose_additions("a cat in golden hour light", seed, LISTS)}
        assert "light" not in slots
        assert {each.slot for each in propose_additions("a cat", seed, LISTS, without=("mood", "light"))} <= {
            "medium",
            "composition",
            "colour",
        }
    assert {each.slot for seed in range(50) for each in propose_additions("a cat", seed, LISTS)} == set(SLOTS)


def test_additions_stand_where_they_change_no_syntax() -> None:
    additions = propose_additions("a cat", 1, LISTS)
    words = ", ".join(each.text for each in additions)
    assert join_additions("a cat AND a dog:0.6", additions, Dialect.PHRASES) == f"a cat, {words} AND a dog:0.6"
    assert join_additions("a cat:1.2 AND a dog", additions, Dialect.SENTENCES) == f"a cat, {words}:1.2 AND a dog"
    assert join_additions("a cat,", additions, Dialect.TAGS) == f"a cat, {words}"
    assert join_additions("A cat sleeps.", additions, Dialect.SENTENCES).startswith("A cat sleeps. ")
    lora = "a cat <lora:golden hour light:1>"
    assert join_additions(lora, additions, Dialect.PHRASES).startswith(lora)
    assert any(each.slot == "light" for seed in range(9) for each in propose_additions(lora, seed, LISTS))


def test_the_medium_follows_what_the_model_draws() -> None:
    cameras, media = LISTS.get("camera").values, LISTS.get("medium").values
    for look, values in ((Look.PHOTO, cameras), (Look.ANIME, media)):
        added = [each for seed in range(40) for each in propose_additions("a cat", seed, LISTS, look=look)]
        assert {each.text for each in added if each.slot == "medium"} <= set(values)


def test_each_model_is_written_for_in_its_dialect() -> None:
    assert find_dialect(CLIP) is Dialect.PHRASES
    assert find_dialect(ANIME) is Dialect.TAGS
    assert find_dialect(CLOUD) is Dialect.SENTENCES


@pytest.mark.parametrize(
    ("name", "metadata", "look"),
    [
        ("sdxl/animagineXL_v3", {}, Look.ANIME),
        ("ponyDiffusionV6XL", {}, Look.ANIME),
        ("Realistic_Vision_V5.1", {}, Look.PHOTO),
        ("juggernautXL", {}, Look.PHOTO),
        ("photo-anime-mix", {}, Look.ANY),
        ("sd_xl_base_1.0", {}, Look.ANY),
        ("mine", {"ss_tag_frequency": '{"10_x": {"1girl": 40, "solo": 30}}'}, Look.ANIME),
        ("mine", {"modelspec.description": "Trained on photographs. photo"}, Look.PHOTO),
        ("mine", {"modelspec.description": "photo and anime"}, Look.ANY),
    ],
)
def test_a_checkpoint_tells_its_look_by_name_or_training(name: str, metadata: dict[str, str], look: Look) -> None:
    assert find_look(name, metadata) is look


def test_a_prompt_that_does_not_fit_the_model_is_told_with_one_that_does() -> None:
    advice = advise_model("a photo of a cat, 35mm", ANIME, [CLIP, ANIME, PHOTO])
    assert advice is not None
    assert advice.model == "photo"
    assert "Photo fits better" in advice.text
    assert advise_model("1girl, masterpiece", PHOTO, [CLIP]).model == ""  # type: ignore[union-attr]
    for prompt, model in (("a cat", ANIME), ("a photo", PHOTO), ("a photo", CLIP), ("anime photo", ANIME)):
        assert advise_model(prompt, model, [PHOTO, ANIME]) is None
    broken = dataclasses.replace(PHOTO, problem="gone")
    assert advise_model("a photo", ANIME, [broken]).model == ""  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("an Instagram story about bread", "instagram.story"),
        ("a photo for Instagram", "instagram.feed_portrait"),
        ("YouTube thumbnail of a cat", "youtube.thumbnail"),
        ("a header for our LinkedIn page", "linkedin."),
        ("a banner for the e-mail newsletter", "email.banner"),
        ("a story about bread", ""),
        ("a web of lies, X marks the spot", ""),
    ],
)
def test_a_brief_that_names_a_platform_is_drawn_at_its_size(text: str, found: str, tmp_path: Path) -> None:
    target = find_format(Brief(text=text), Platforms(tmp_path / "platforms.toml").of("ann"))
    assert (target.id if target else "").startswith(found)
    assert (target is None) == (not found)
    config = build_config(CLIP, 7, target)
    assert config["width"] * config["height"] <= 1.1 * 512 * 512
    assert (config["model"], config["seed"], config["sampler"], config["steps"]) == ("clip", 7, "Euler", 20)
    if target is not None:
        assert abs(config["width"] / config["height"] / target.ratio - 1) < 0.2
    assert build_config(CLOUD, 7).keys() == {"model", "width", "height", "seed"}
