"""Templates: what ships, search, and the user's own on disk."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest, NotFound
from studio.core.request import GenerationRequest
from studio.core.social_templates import Template, from_recipe
from studio.social.platforms import Platforms
from studio.social.templates import Templates, to_toml

CHANNELS = {"instagram", "facebook", "twitter", "linkedin", "youtube", "pinterest", "tiktok"}


@pytest.fixture(scope="module")
def ours() -> Templates:
    return Templates()


@pytest.fixture
def library(tmp_path: Path) -> Templates:
    return Templates(tmp_path / "templates")


def test_what_ships_is_whole(ours: Templates) -> None:
    formats = {each.id for each in Platforms().formats()}
    assert not ours.problems
    assert len(ours.templates()) >= 40
    assert {each.platform for each in ours.templates()} >= CHANNELS | {"web", "email"}
    for each in ours.templates():
        assert each.format in formats, each.id
        fields = [name for _, name, _, _ in string.Formatter().parse(each.frame) if name]
        assert "subject" in fields, each.id
        assert each.style, each.id
        assert each.palette, each.id
        assert each.uses, each.id


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("recepie pin", "pinterest_pin_standard_recipe"),
        ("youtube thumbnial versus", "youtube_thumbnail_versus"),
        ("instgram quote", "instagram_feed_portrait_4x5_quote"),
        ("hero website", "web_hero_wide_hero"),
        ("hir cult", "linkedin_post_portrait_people"),
    ],
)
def test_search_forgives_typing_errors(ours: Templates, words: str, first: str) -> None:
    assert ours.search(words)[0].id == first


def test_search_wants_every_word_and_none_gives_all(ours: Templates) -> None:
    assert ours.search("recipe zzzzz") == ()
    assert len(ours.search("", 1000)) == len(ours.templates())
    assert len(ours.search("instagram", 3)) == 3


def test_filter_and_recommendation(ours: Templates) -> None:
    assert {each.purpose for each in ours.templates(platform="instagram", purpose="ad")} == {"ad"}
    best = ours.recommend("linkedin", "hiring")[0]
    assert (best.platform, "hiring" in best.uses) == ("linkedin", True)
    assert ours.recommend("tiktok.photo_9x16", "product")[0].id == "tiktok_photo_9x16_product"
    assert ours.recommend("nowhere", "nothing")


def test_own_templates_are_saved_from_a_recipe_and_found_again(library: Templates, tmp_path: Path) -> None:
    recipe = GenerationRequest(prompt='a "red" {subject},\n on snow', negative_prompt="blur", model="sdxl")
    made = library.save(from_recipe(recipe, "Winter für alle!", "instagram.story"))
    assert made.id == "own_winter_fur_alle"
    again = Templates(tmp_path / "templates")
    assert again.get_template(made.id) == made
    assert again.search("winter")[0] == made
    assert again.templates()[0] == made
    again.remove(made.id)
    with pytest.raises(NotFound):
        Templates(tmp_path / "templates").get_template(made.id)


def test_export_and_import_carry_everything(library: Templates, ours: Templates, tmp_path: Path) -> None:
    text = ours.export(["instagram_story_poll", "web_hero_section"])
    source = tmp_path / "shared.toml"
    source.write_text(text.replace('id = "', 'id = "own_'))
    taken = library.import_file(source)
    assert [each.id for each in taken] == ["own_instagram_story_poll", "own_web_hero_section"]
    original, copy = ours.get_template("web_hero_section"), library.get_template("own_web_hero_section")
    assert (copy.frame, copy.style, copy.palette, copy.own) == (original.frame, original.style, original.palette, True)


@pytest.mark.parametrize(
    "change",
    [
        ("id = ", 'id = "../../etc/x" #'),
        ("palette = ", 'palette = ["red"] #'),
        ("purpose = ", 'purpose = "evil" #'),
        ("name = ", "name = 3 #"),
        ("frame = ", 'command = "x"\nframe = '),
        ("frame = ", 'frame = "' + "x" * 3000 + '" #'),
    ],
)
def test_a_wrong_import_changes_nothing(
    library: Templates, ours: Templates, tmp_path: Path, change: tuple[str, str]
) -> None:
    good = ours.export(["web_hero_section"]).replace('id = "', 'id = "own_')
    bad = ours.export(["instagram_story_poll"]).replace(*change).removeprefix("schema = 1")
    source = tmp_path / "shared.toml"
    source.write_text(good + bad)
    before = library.templates()
    with pytest.raises(InvalidRequest):
        library.import_file(source)
    assert library.templates() == before


def test_ours_cannot_be_overwritten_or_deleted(library: Templates) -> None:
    with pytest.raises(InvalidRequest):
        library.save(library.get_template("web_hero_section"))
    with pytest.raises(InvalidRequest):
        library.remove("web_hero_section")


def test_odd_letters_survive_the_file(library: Templates, tmp_path: Path) -> None:
    odd = Template(id="own_odd", name='"\\ é 🎉', format="web.hero", purpose="brand", frame="{subject} \n\t\\u")
    library.save(odd)
    assert Templates(tmp_path / "templates").get_template("own_odd").name == odd.name


def test_control_characters_of_an_earlier_version_are_read_and_no_longer_saved(
    library: Templates, tmp_path: Path
) -> None:
    old = Template(id="own_odd", name='"\\ \t\x07 é', format="web.hero", purpose="brand", frame="{subject} \x00\n\\u")
    with pytest.raises(InvalidRequest):
        library.save(old)
    (tmp_path / "templates").mkdir(exist_ok=True)
    (tmp_path / "templates" / "own_odd.toml").write_text("schema = 1\n\n" + to_toml(old), encoding="utf-8")
    assert Templates(tmp_path / "templates").get_template("own_odd").name == old.name


def test_a_broken_own_file_is_named_and_the_rest_works(library: Templates, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "broken.toml").write_text("[[template]]\nid = 3")
    assert len(library.templates()) == len(Templates().templates())
    assert "broken.toml" in library.problems[0]
