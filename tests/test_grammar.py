"""The prompt grammar against what AUTOMATIC1111 documents and does."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio.prompting import editing, emphasis, grammar

SCHEDULES = [
    ("test", [(10, "test")]),
    ("a [b:3]", [(3, "a "), (10, "a b")]),
    ("a [b: 3]", [(3, "a "), (10, "a b")]),
    ("a [b:3 ]c", [(3, "a c"), (10, "a bc")]),
    ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
    ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
    ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [b:c:3]d", [(3, "a bd"), (10, "a cd")]),
    ("a [b::3]d", [(3, "a bd"), (10, "a d")]),
    ("a [unbalanced", [(10, "a [unbalanced")]),
    ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
    ("a [b:0.25] c", [(2, "a  c"), (10, "a b c")]),
    ("a [b:1.0] c", [(10, "a  c")]),
    ("a [b:1] c", [(1, "a  c"), (10, "a b c")]),
    ("a [b:0] c", [(10, "a b c")]),
    ("a [b:99] c", [(10, "a  c")]),
    ("a [b:-2] c", [(10, "a b c")]),
    ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("[a (b] c:3]", [(10, "[a (b] c:3]")]),
    ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
    (r"a \[b:3\]", [(10, r"a \[b:3\]")]),
    ("a|b [c:3]", [(10, "a|b [c:3]")]),  # a bare | makes A1111 give up on editing
    ("a [{b|d{:.5] c", [(10, "a [{b|d{:.5] c")]),
    ("(a|b) [c:3]", [(10, "(a|b) [c:3]")]),
    ("[a [b:3]", [(3, "[a "), (10, "[a b")]),
    ("[a:b:1e1]", [(10, "a")]),
]

ALTERNATIONS = [
    ("[a|(b:1.1)]", ["a", "(b:1.1)"] * 5),
    ("[fe|]male", ["female", "male"] * 5),
    ("[fe|||]male", ["female", "male", "male", "male", "female", "male", "male", "male", "female", "male"]),
    ("[a|[b:c:4]]", ["a", "b", "a", "b", "a", "c", "a", "c", "a", "c"]),
]

EMPHASES = [
    ("normal text", [("normal text", 1.0)]),
    ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    (r"\(literal\]", [("(literal]", 1.0)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    ("un)balanced", [("un)balanced", 1.0)]),
    ("a:1.2)", [("a:1.2)", 1.0)]),
    ("[[x]]", [("x", 1 / 1.1 / 1.1)]),
    ("((a:1.2):1.5)", [("a", 1.2 * 1.5)]),
    ("(a : 1.3)", [("a ", 1.3)]),
    ("(a:-0.5)", [("a", -0.5)]),
    ("(a:1.2.3)", [("a:1.2.3)", 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            ("a ", 1.0),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ],
    ),
]

PROMPTS = st.text(alphabet=st.sampled_from("ab1.5 ,:|()[]\\\nANDBREK<>"), max_size=60) | st.text(max_size=40)


@pytest.mark.parametrize(("prompt", "expected"), SCHEDULES)
def test_editing_follows_a1111(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert editing.schedule_texts(prompt, 10) == expected


@pytest.mark.parametrize(("prompt", "expected"), ALTERNATIONS)
def test_alternation_changes_every_step(prompt: str, expected: list[str]) -> None:
    assert editing.schedule_texts(prompt, 10) == list(enumerate(expected, start=1))


def test_a_hires_pass_counts_on_from_the_first() -> None:
    assert editing.schedule_texts("a [b:.5] c", 10, 10) == [(10, "a b c")]
    assert editing.schedule_texts("a [b:1.5] c", 10, 10) == [(5, "a  c"), (10, "a b c")]
    assert editing.schedule_texts("a [b:13] c", 10, 10) == [(3, "a  c"), (10, "a b c")]


@pytest.mark.parametrize(("prompt", "expected"), EMPHASES)
def test_emphasis_follows_a1111(prompt: str, expected: list[tuple[str, float]]) -> None:
    (part,) = emphasis.parse_emphasis(prompt)
    assert [segment.text for segment in part] == [text for text, _ in expected]
    assert [segment.weight for segment in part] == pytest.approx([weight for _, weight in expected])


def test_break_divides_also_inside_brackets() -> None:
    parts = emphasis.parse_emphasis("a BREAK (b BREAK c:1.2) BREAKFAST")
    assert [[(segment.text, segment.weight) for segment in part] for part in parts] == [
        [("a", 1.0)],
        [("b", 1.2)],
        [("c", 1.2), (" BREAKFAST", 1.0)],
    ]


def test_and_joins_conditions_with_their_weights() -> None:
    (stage,) = grammar.schedule_prompt("a cat AND a (dog:1.3) :0.5 AND HAND:-1", 10)
    assert [condition.weight for condition in stage.conditions] == [1.0, 0.5, -1.0]
    assert [condition.parts[0][0].text.strip() for condition in stage.conditions] == ["a cat", "a", "HAND"]


def test_a_lone_prompt_and_a_negative_prompt_keep_colons_and_ands() -> None:
    (stage,) = grammar.schedule_prompt("an image, 16:9", 10)
    assert (stage.conditions[0].weight, stage.conditions[0].parts[0][0].text) == (1.0, "an image, 16:9")
    (stage,) = grammar.schedule_prompt("this AND that", 10, conjunction=False)
    assert len(stage.conditions) == 1


def test_conditions_with_different_timelines_share_stages() -> None:
    stages = grammar.schedule_prompt("[a:b:2] AND [c:d:5]:0.5", 10)
    texts = [(stage.end, *(condition.parts[0][0].text.strip() for condition in stage.conditions)) for stage in stages]
    assert texts == [(2, "a", "c"), (5, "b", "c"), (10, "b", "d")]


@settings(deadline=None)
@given(prompt=PROMPTS, steps=st.integers(1, 30))
@example(prompt="(" * 20_000, steps=5)
@example(prompt="[a:" * 2_000, steps=5)
@example(prompt="(a" * 10_000 + ":9)" * 10, steps=5)
@example(prompt="[" * 50 + "a|b" + "]" * 50, steps=5)
@example(prompt="(a:" + "9" * 500 + ")", steps=5)
@example(prompt="[a:b:1e999]", steps=5)
def test_no_prompt_is_refused_and_stages_cover_all_steps(prompt: str, steps: int) -> None:
    stages = grammar.schedule_prompt(prompt, steps)
    ends = [stage.end for stage in stages]
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    assert ends[0] >= 1
    assert len({len(stage.conditions) for stage in stages}) == 1


@given(
    text=st.text(alphabet=st.characters(exclude_characters="\\()[]:|"), min_size=1).filter(
        lambda t: "AND" not in t and "BREAK" not in t
    )
)
def test_text_without_syntax_survives_as_it_is(text: str) -> None:
    (stage,) = grammar.schedule_prompt(text, 7)
    assert stage.conditions[0].parts == ((emphasis.Segment(text, 1.0),),)
