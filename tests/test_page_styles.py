"""Our styles as they are served: once as written, and once below Gradio's container. Whether Gradio would make the
same of them is asked of Gradio's own script in tests/browser/test_gradio_internals.py."""

from __future__ import annotations

import pytest

from studio.page import read_own_styles
from studio.serving.page_styles import scope_styles

CONTAINER = ".gradio-container.gradio-container-6-1-0 .contain"


def scope(styles: str) -> list[str]:
    return [line.strip() for line in scope_styles(styles, "6.1.0").splitlines()]


def test_a_rule_stands_as_it_is_and_below_the_container() -> None:
    assert scope("/* a { b } */\n.a > b,\n.c {\n  color: red;\n}\n") == [
        ".a > b,",
        ".c { color: red; }",
        f"{CONTAINER} .a > b, {CONTAINER} .c {{ color: red; }}",
    ]


def test_a_rule_for_the_dark_page_stays_one() -> None:
    assert scope(".dark .a { color: red; }")[1] == f".dark {CONTAINER} .a {{ color: red; }}"


def test_within_a_query_there_are_only_the_rules_below_the_container() -> None:
    styles = "@media (max-width: 9px) {\n  .a { top: 0; }\n  .b { top: 1px; }\n}\n.c { top: 2px; }"
    query, *rest = scope(styles)
    assert query == f"@media (max-width: 9px) {{ {CONTAINER} .a {{ top: 0; }} {CONTAINER} .b {{ top: 1px; }} }}"
    assert rest == [".c { top: 2px; }", f"{CONTAINER} .c {{ top: 2px; }}"]


def test_keyframes_stay_as_they_are() -> None:
    assert scope("@keyframes turn { from { top: 0; } to { top: 9px; } }") == [
        "@keyframes turn { from { top: 0; } to { top: 9px; } }"
    ]


def test_what_gradio_would_leave_out_is_no_style_of_ours() -> None:
    with pytest.raises(ValueError, match="@supports"):
        scope("@supports (top: 0) { .a { top: 0; } }")


def test_every_rule_of_our_files_is_served() -> None:
    styles = read_own_styles()
    rules = styles.count("{")
    served = scope_styles(styles, "6.1.0")
    assert rules > 500
    assert rules <= served.count("{") < 2 * rules
    assert served.count("{") == served.count("}")
