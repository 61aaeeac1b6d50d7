"""Dynamic prompts: what is drawn, how many there are, and that nothing a user types breaks it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest, NotFound
from studio.prompting.choices import draw_integer, draw_sample, draw_weighted_sample, walk_order
from studio.prompting.dynamic import (
    MAX_COMBINATIONS,
    count_combinations,
    expand_template,
    get_combination,
    list_combinations,
)
from studio.prompting.dynamic_tree import MAX_DEPTH, escape_text, is_dynamic, parse_template
from studio.prompting.wildcards import Wildcards, WordList

LISTS = {
    "colour": ["red", "blue", "{dark|light} green"],
    "animal": ["cat", "dog", "owl", "fox"],
    "pair": ["__colour__ __animal__"],
    "loop_a": ["__loop_b__"],
    "loop_b": ["__loop_a__"],
    "sometimes": ["x", "__sometimes__"],
    "lora": ["<lora:x:1>"],
    "empty": [],
}


class FixedLists:
    """WordLists of LISTS."""

    def get(self, name: str) -> WordList:
        if name not in LISTS:
            raise NotFound(f"Wildcard “{name}” not found.", hint="")
        return WordList(name, tuple(LISTS[name]), (1.0,) * len(LISTS[name]), own=True)


def expand(template: str, seed: int = 1) -> str:
    return expand_template(template, seed, FixedLists())


def draw_many(template: str, seeds: int = 400) -> Counter[str]:
    return Counter(expand(template, seed) for seed in range(seeds))


def count(template: str) -> int:
    return count_combinations(template, FixedLists())


def every(template: str, most: int = 10_000) -> list[str]:
    return list(list_combinations(template, FixedLists(), most))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red apple",
        "price 5$",
        "#ff0000, # not a comment",
        "a __ b",
        "my_lora__v2",
        "my_lora__v2__x",
        "<lora:my__colour__x:0.8>",
        "{",
        "}",
        "{}",
        "{a red apple}",
        "{{masterpiece}}",
        "__../keys__",
        "__/etc__",
        "[cat|dog] and [a:b:0.5] (x:1.2)",
        '{"subject": "a cat", "camera": {"lens": "35mm"}}',
        "a \\(b\\) \\| c",
        "$$ {$$} 2::a",
        "$ {",
        "a | b {",
    ],
)
def test_what_is_no_choice_stays_as_it_is(text: str) -> None:
    assert expand(text) == text
    assert count(text) == 1
    assert every(text) == [text]
    assert not is_dynamic(text)


def test_one_option_is_drawn_and_all_of_them_are() -> None:
    drawn = draw_many("a {red|green|blue} car")
    assert set(drawn) == {"a red car", "a green car", "a blue car"}
    assert all(100 <= number <= 170 for number in drawn.values())


def test_a_weight_makes_an_option_likelier() -> None:
    drawn = draw_many("{3::a|b}")
    assert 250 <= drawn["a"] <= 350
    assert set(draw_many("{0::a|b|c}")) == {"b", "c"}


def test_a_count_draws_several_different_options() -> None:
    assert set(draw_many("{2$$ and $$a|b|c}")) == {f"{x} and {y}" for x in "abc" for y in "abc" if x != y}
    assert set(draw_many("{1-2$$a|b}")) == {"a", "b", "a, b", "b, a"}
    assert set(draw_many("{-1$$a|b}")) == {"", "a", "b"}
    assert set(draw_many("{3-$$/$$a|b|c}", 50)) == {"/".join(p) for p in ("abc", "acb", "bac", "bca", "cab", "cba")}
    assert set(draw_many("{9$$a|b}", 20)) == {"a, b", "b, a"}
    weighted = draw_many("{2$$9::a|9::b|c}")
    assert weighted["a, b"] + weighted["b, a"] > 250


def test_groups_and_wildcards_can_be_nested() -> None:
    assert set(draw_many("{a {b|c}|d}")) == {"a b", "a c", "d"}
    assert set(draw_many("__pair__")) == {
        f"{colour} {animal}" for colour in ("red", "blue", "dark green", "light green") for animal in LISTS["animal"]
    }
    assert set(draw_many("{2$$__animal__}")) == {
        f"{x}, {y}" for x in LISTS["animal"] for y in LISTS["animal"] if x != y
    }
    assert expand("__lora__, a cat") == "<lora:x:1>, a cat"
    assert expand("<lora:__animal__:0.5>") in {f"<lora:{x}:0.5>" for x in LISTS["animal"]}


def test_an_alternation_inside_a_group_is_one_option() -> None:
    assert set(draw_many("{[cat|dog]|owl}")) == {"[cat|dog]", "owl"}
    assert set(draw_many("{[a|b}")) == {"[a", "b"}


def test_braces_are_written_with_a_backslash() -> None:
    assert expand("\\{a|b\\}") == "{a|b}"
    assert set(draw_many("{a\\|b|c}")) == {"a|b", "c"}
    assert expand("\\__colour__") == "__colour__"


@pytest.mark.parametrize("text", ["{a|b}", "__colour__", "x {1-2$$a|b} __a/b__ \\(c\\)", "plain", "{", "{a|b", "${x}"])
def test_an_escaped_text_gives_itself(text: str) -> None:
    assert expand(escape_text(text)) == text


def test_a_variable_is_drawn_anew_or_once() -> None:
    assert set(draw_many("${v=!{a|b}}${v}${v}")) == {"aa", "bb"}
    assert set(draw_many("${v={a|b}}${v}${v}")) == {"aa", "ab", "ba", "bb"}
    assert expand("${size:small} cat") == "small cat"
    assert expand("${size=big}${size:small} cat") == "big cat"


def test_each_once_gives_every_value_before_any_twice() -> None:
    for start in (0, 17, 2**32 - 3):
        drawn = [expand("__@animal__", start + k) for k in range(8)]
        assert sorted(drawn[:4]) == sorted(drawn[4:]) == sorted(LISTS["animal"])
        assert sorted(expand("{@a|b|c}", start + k) for k in range(3)) == ["a", "b", "c"]


def test_each_once_counts_lines_that_are_twice_in_the_file_once() -> None:
    LISTS["double"] = ["a", "a", "b"]
    assert sorted(expand("__@double__", k) for k in range(2)) == ["a", "b"]


def test_an_edit_elsewhere_does_not_move_a_choice() -> None:
    for seed in range(50):
        before = expand("__animal__", seed)
        assert expand("{x|y} __colour__, __animal__ {p|q}", seed).split(", ")[1].split()[0] == before


def test_the_same_place_twice_draws_twice() -> None:
    assert len(draw_many("__animal__ __animal__")) == 16


@pytest.mark.parametrize(
    ("template", "number"),
    [
        ("{a|b} {c|d|e}", 6),
        ("{|}", 2),
        ("__colour__", 4),
        ("__pair__", 16),
        ("{2$$a|b|c}", 3),
        ("{1-3$$a|b|c}", 7),
        ("{0-1$$a|b}", 3),
        ("{2$$a|{b|c}|d}", 5),
        ("{2$$__animal__}", 6),
        ("${v=!{a|b}}${v}${v}", 2),
        ("${v={a|b}}${v}${v}", 4),
        ("{0::a|b|c}", 2),
    ],
)
def test_all_combinations_are_counted_and_listed(template: str, number: int) -> None:
    assert count(template) == number
    listed = every(template)
    assert len(listed) == number
    assert len(set(listed)) == number or template == "{|}"
    assert [get_combination(template, k, FixedLists()) for k in range(number)] == listed
    assert get_combination(template, number, FixedLists()) == listed[0]


def test_what_is_drawn_is_one_of_the_combinations() -> None:
    for template in ("__pair__ {x|y|{z|}}", "${v=!{a|b}}${v}, {1-2$$ $$c|d}"):
        known = {"".join(sorted(text)) for text in every(template)}
        assert {"".join(sorted(text)) for text in draw_many(template)} <= known


def test_the_first_combinations_of_many_come_at_once() -> None:
    group = "{" + "|".join("abcdefghijklmnopqrst") + "}"
    assert every(group * 12, 10)[1] == "a" * 11 + "b"
    assert count(group * 12) == 20**12
    assert count(group * 30) == MAX_COMBINATIONS
    with pytest.raises(InvalidRequest, match="too many combinations"):
        get_combination(group * 30, 5, FixedLists())
    assert len(set(every(group * 12, 1000))) == 1000
    assert count("{0|1|2|3|4|5|6|7|8|9}" * 15) == 10**15
    assert every("{0|1|2|3|4|5|6|7|8|9}" * 15, 1000)[-1] == "0" * 12 + "999"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a {red|blue car", r"The brace at character 3 \(“{red\|blue car”\) is never closed"),
        ("${v={a|b}", "character 1"),
        ("{" * 200, "nested too deep"),
        ("{a|" * 200 + "}" * 200, "nested too deep"),
        ("${x}", "The variable “x” is not set"),
        ("{${v=a}|b}", "set inside of braces"),
        ("${a=${a}}${a}", r"\${a} contains itself"),
        ("__loop_a__", "__loop_a__ contains itself: __loop_a__ → __loop_b__ → __loop_a__"),
        ("__empty__", "“empty” has no values"),
        ("x" * 20_001, "longer than 20000 characters"),
        ("${a=" + "x" * 10_000 + "}${a}${a}${a}", "longer than 20000 characters"),
        ("".join(f"${{v{k}=${{v{k - 1}:x}}${{v{k - 1}:x}}}}" for k in range(1, 40)) + "${v39}", "characters|choices"),
    ],
)
def test_a_template_that_cannot_be_drawn_is_refused_with_its_reason(template: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        expand(template)
    assert caught.value.hint


def test_a_list_that_may_contain_itself_is_refused_when_it_is_counted() -> None:
    with pytest.raises(InvalidRequest, match="contains itself"):
        count("__sometimes__")


def test_an_unknown_wildcard_is_named() -> None:
    with pytest.raises(NotFound, match="nobody"):
        expand("a __nobody__")


def test_deep_groups_are_read_up_to_the_limit() -> None:
    template = "{a|" * MAX_DEPTH + "b" + "}" * MAX_DEPTH
    assert count(template) == MAX_DEPTH + 1
    assert set(draw_many(template)) >= {"a"}


def test_a_choice_is_the_same_in_every_process() -> None:
    code = "from studio.prompting.choices import *; print([draw_integer(7, 'x', 1000, k) for k in range(4)])"
    environment = {"PYTHONHASHSEED": "12345", "PATH": ""}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == str([draw_integer(7, "x", 1000, k) for k in range(4)])
    assert [draw_integer(7, "x", 1000, k) for k in range(4)] == [864, 63, 575, 646]  # as every version has to


def test_samples_are_without_repeats_and_orders_are_complete() -> None:
    for seed in range(30):
        sample = draw_sample(seed, "x", 50, 20)
        assert len(set(sample)) == 20
        assert set(sample) <= set(range(50))
        assert sorted(draw_sample(seed, "x", 5, 9)) == [0, 1, 2, 3, 4]
        assert sorted(draw_weighted_sample(seed, "x", (1, 0, 2), 3)) == [0, 2]
    for size in (1, 2, 3, 10, 1000):
        assert sorted(walk_order("x", size, step) for step in range(size)) == list(range(size))


class TestOwnWildcards:
    """Files in the user's folder."""

    @pytest.fixture
    def lists(self, tmp_path: Path) -> Wildcards:
        return Wildcards(tmp_path / "wildcards")

    def write(self, tmp_path: Path, name: str, data: bytes) -> None:
        file = tmp_path / "wildcards" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def test_are_read_with_any_line_ends_a_bom_and_comments(self, lists: Wildcards, tmp_path: Path) -> None:
        self.write(tmp_path, "Hat Colour.txt", "\ufeffred\r\n\r\n# a comment\r\n#ff8800\r\n 2::blue \r".encode())
        (found,) = lists.find("hat_colour")
        assert found.values == ("red", "#ff8800", "blue")
        assert found.weights == (1, 1, 2)
        assert found.own
        drawn = Counter(expand_template("__Hat_Colour__", seed, lists.open()) for seed in range(400))
        assert 150 <= drawn["blue"] <= 250

    def test_replace_ours_of_the_same_name(self, lists: Wildcards) -> None:
        assert not lists.find("animal")[0].own
        lists.save("animal", "mouse\n")
        assert lists.find("animal")[0].values == ("mouse",)
        lists.delete("animal")
        assert len(lists.find("animal")[0].values) > 20

    def test_lie_in_folders_and_are_drawn_together(self, lists: Wildcards) -> None:
        lists.save("pets/small", "hamster\nmouse\n")
        lists.save("pets/large", "dog\n")
        drawn = {expand_template("__pets/*__", seed, lists.open()) for seed in range(100)}
        assert drawn == {"hamster", "mouse", "dog"}

    def test_are_yaml_too(self, lists: Wildcards, tmp_path: Path) -> None:
        self.write(tmp_path, "mine.yaml", b"clothes:\n  hats: [cap, 2::beret]\n  Shoes:\n    - boots\nbare: [x]\n")
        assert lists.find("clothes/hats")[0].values == ("cap", "beret")
        assert lists.find("clothes/shoes")[0].values == ("boots",)
        assert {"clothes/hats", "clothes/shoes", "bare"} <= set(lists.names())
        self.write(tmp_path, "bomb.yaml", b"a: &a [x, x]\nb: &b [*a, *a]\n")
        with pytest.raises(InvalidRequest, match=r"bomb\.yaml cannot be read"):
            lists.names()

    def test_are_each_users_own(self, lists: Wildcards) -> None:
        lists.of("ann").save("secret", "ann's\n")
        lists.save("shared", "x\n")
        assert lists.of("ann").find("secret")[0].values == ("ann's",)
        for other in (lists, lists.of("bob"), lists.of("../ann")):
            with pytest.raises(NotFound):
                other.find("secret")
        with pytest.raises(NotFound):
            lists.find("users/ann/secret")
        with pytest.raises(NotFound):
            lists.of("ann").find("shared")

    @pytest.mark.parametrize(
        "name",
        ["", "../keys", "a/../b", "/etc/passwd", ".hidden", "a\\b", "a__b", "a_", "users/ann/x", "a" * 61, "\0"],
    )
    def test_are_not_kept_under_what_is_no_name(self, lists: Wildcards, name: str, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match="Invalid wildcard name"):
            lists.save(name, "x\n")
        assert not list(tmp_path.rglob("*.txt"))

    def test_may_be_large_but_not_too_large(self, lists: Wildcards, tmp_path: Path) -> None:
        self.write(tmp_path, "many.txt", b"abc\n" * 1_000_000)
        assert expand_template("__many__ {2$$__many__}", 1, lists.open()) == "abc abc"
        self.write(tmp_path, "more.txt", b"abcde\n" * 1_000_000)
        with pytest.raises(InvalidRequest, match="larger than 5 MB"):
            lists.find("more")

    def test_must_be_text(self, lists: Wildcards, tmp_path: Path) -> None:
        self.write(tmp_path, "latin.txt", "caf\xe9\n".encode("latin-1"))
        with pytest.raises(InvalidRequest, match="not UTF-8"):
            lists.find("latin")
        self.write(tmp_path, "bell.txt", b"ring\x07\x00\n")
        assert lists.find("bell")[0].values == ("ring",)
        with pytest.raises(InvalidRequest, match="no values"):
            lists.save("none", "# nothing\n")

    def test_that_change_are_read_anew_but_not_by_those_who_hold_them(self, lists: Wildcards) -> None:
        lists.save("x", "old\n")
        held = lists.open()
        assert held.get("x").values == ("old",)
        lists.save("x", "newer\n")
        assert held.get("x").values == ("old",)
        assert lists.open().get("x").values == ("newer",)

    def test_of_a_near_name_are_suggested(self, lists: Wildcards) -> None:
        with pytest.raises(NotFound) as caught:
            lists.find("animl")
        assert "animal" in caught.value.hint

    def test_of_ours_cannot_be_deleted(self, lists: Wildcards) -> None:
        with pytest.raises(InvalidRequest, match="built in"):
            lists.delete("animal")
        with pytest.raises(NotFound):
            lists.delete("nobody")


def test_all_our_words_can_be_drawn() -> None:
    lists = Wildcards()
    names = lists.names()
    assert len(names) >= 20
    for name in names:
        (found,) = lists.find(name)
        assert len(found.values) >= 8, name
        assert found.distinct == found.values, name
        assert all(parse_template(value) == (value,) for value in found.values), name


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}|_$:=!@[]()<>\\-/* 12ab,\n\u00e9", max_size=400))
def test_any_text_is_drawn_or_refused_with_a_hint(text: str) -> None:
    try:
        drawn = expand(text)
    except (InvalidRequest, NotFound):
        return
    assert len(drawn) <= 20_000
    if "{" not in text and "}" not in text and "__" not in text:
        assert drawn == text


@pytest.mark.parametrize("piece", ["{a|", "{", "|}", "__a", "__a__", "${a:", "<lora:", "[|", "\\", "{1-9999$$a|b}"])
def test_a_long_hostile_text_ends(piece: str) -> None:
    text = (piece * 20_000)[:20_000]
    with contextlib.suppress(InvalidRequest, NotFound):
        expand(text)
    with contextlib.suppress(InvalidRequest, NotFound):
        count(text)
