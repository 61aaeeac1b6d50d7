"""Templates as words on the page: fields of a frame, the prompt that they make, the cards."""

from __future__ import annotations

import pytest

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.social_templates import MAX_FIELDS, Template, fill_prompt, find_fields, from_recipe, make_template_id
from studio.social.platforms import Platforms
from studio.social.templates import Templates
from studio.tabs.common.template_cards import render_about, render_cards

PLATFORMS = Platforms()
EVIL = Template(
    id="own_x", name="<b>x</b>", format="shop.gone", purpose="ad", frame="{<i>} {subject} <s>", style=("<u>",), own=True
)


@pytest.mark.parametrize(
    ("frame", "values", "prompt"),
    [
        (
            "{subject}, {setting}, soft light",
            {"subject": "a cup", "setting": "a desk"},
            "a cup, a desk, soft light, film",
        ),
        ("{subject}, {setting}, soft light", {"subject": "a cup"}, "a cup, soft light, film"),
        ("{subject} in {place}", {"subject": "  a \n cup "}, "a cup in, film"),
        ("{subject}", {"subject": "{setting}"}, "{setting}, film"),
        ("no field", {"subject": "a cup"}, "no field, film"),
        ("{subject}", {}, "film"),
    ],
)
def test_a_frame_is_filled_and_what_is_empty_goes_with_its_comma(
    frame: str, values: dict[str, str], prompt: str
) -> None:
    assert (
        fill_prompt(Template(id="a", name="a", format="a.b", purpose="ad", frame=frame, style=("film",)), values)
        == prompt
    )


def test_fields_stand_once_each_and_are_few() -> None:
    assert find_fields("{subject} and {mood}, {subject}, {}, {1}, {a b}") == ("subject", "mood", "a b")
    assert len(find_fields("".join(f"{{f{n}}}" for n in range(40)))) == MAX_FIELDS


def test_every_template_that_ships_has_all_its_fields_on_the_page() -> None:
    for each in Templates().templates():
        names = find_fields(each.frame)
        assert "subject" in names, each.id
        assert "{" not in fill_prompt(each, dict.fromkeys(names, "x")), each.id


def test_the_recommended_stand_first_and_once() -> None:
    library = Templates()
    found = library.templates(platform="instagram")
    html = render_cards(found, found[2:4], found[2].id, PLATFORMS)
    assert html.index("Recommended") < html.index(found[2].id) < html.index("More") < html.index(found[0].id)
    assert html.count("data-template=") == len(found)
    assert html.count('aria-pressed="true"') == 1
    assert "No matching templates" in render_cards((), (), "", PLATFORMS)


def test_words_of_a_file_are_escaped_and_a_format_that_is_gone_is_still_named() -> None:
    for html in (render_cards((EVIL,), (), "", PLATFORMS), render_about(EVIL, PLATFORMS)):
        assert not any(tag in html for tag in ("<b>x", "<u>", "<s>", "<i>}"))
        assert "shop.gone" in html
    assert render_about(None, PLATFORMS) == ""


def test_a_recipe_becomes_a_template_with_a_name() -> None:
    recipe = GenerationRequest(prompt="a {subject}\nin fog", negative_prompt="text", model="sdxl")
    made = from_recipe(recipe, " Été à la mer! ", "web.hero")
    assert (made.id, made.name, made.frame) == ("own_ete_a_la_mer", "Été à la mer!", "a {subject} in fog")
    assert (made.negative, made.models, made.own) == ("text", ("sdxl",), True)
    assert make_template_id("???") == "own_template"
    with pytest.raises(InvalidRequest, match="needs a name"):
        from_recipe(recipe, "  ", "web.hero")


def test_each_user_has_templates_of_their_own(tmp_path: object) -> None:
    library = Templates(tmp_path)  # type: ignore[arg-type]
    mine = from_recipe(GenerationRequest(prompt="x"), "Mine", "web.hero")
    library.of("ann/../x").save(mine)
    assert [each.id for each in library.of("ann/../x").templates() if each.own] == ["own_mine"]
    assert not [each for name in ("local", "bob") for each in library.of(name).templates() if each.own]
    again = Templates(tmp_path).of("ann/../x")  # type: ignore[arg-type]
    assert again.get_template("own_mine").frame == "x"
