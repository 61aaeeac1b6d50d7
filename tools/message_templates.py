"""The messages in the studio's sources: what errors, notices and toasts say, with {1}, {2} … for names and numbers.

`python -m tools.message_templates CODE` lists those that a language lacks.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from studio.core.feature import Feature
from studio.core.rights import ACTIONS
from studio.core.weights import WeightKind
from studio.tabs.common.languages import read_messages

STUDIO = Path(__file__).parent.parent / "studio"
MAIN = ("core", "engine/jobs", "tabs/txt2img.py", "tabs/img2img", "tabs/extras", "tabs/library", "tabs/common")
"""Where the messages of the four main tabs come from."""
ELSEWHERE = (
    "api",
    "cluster",
    "cli.py",
    "data_folder.py",
    "serve.py",
    "serving/account_routes",
    "serving/guard",
    "serving/json_bodies",
    "serving/openid",
    "serving/share",
    "serving/users.py",
    "space.py",
)
"""Whose messages other programs and terminals show, in English."""
STATUS_LINES = (
    "Next in line",
    "1 job ahead of yours",
    "{1} jobs ahead of yours",
    "Getting ready",
    "Loading {1}",
    "Image {1} of {2}",
    "Step {1} of {2}",
    "almost done",
    "about {1} s left",
    "about {1} min left",
    "1 image",
    "{1} images",
    "1 image kept",
    "{1} images kept",
    "Failed",
    "Stopped",
)
"""What the line above the progress bar is made of (result_panel.format_status)."""
COST_LINES = (
    "Free.",
    "Free, about {1} s an image.",
    "About {1} for {2} images.",
    "About {1} for 1 image.",
    "About {1} for {2} images, about {3} s an image.",
    "About {1} for 1 image, about {2} s an image.",
    "Price unknown until billed.",
    "Price unknown until billed, about {1} s an image.",
)
"""The line below Generate (cost_line.format_estimate)."""
GAP_WORDS = (
    *(feature.label for feature in Feature),
    *(kind.value for kind in WeightKind if kind is not WeightKind.UNKNOWN),
    *ACTIONS.values(),
    *("control units", "detailers", "areas"),  # in “Too many …”
    *("size", "hires size", "detailer size"),  # in “… is not a multiple of …”
    *("images may lack detail", "images may repeat themselves"),  # in “… is far from …”
    *("day", "month"),  # of a budget
    "graphics memory",
)
"""Words that the code fills into the gaps of messages."""
_ROOT = "StudioError"
_FUNCTIONS = {  # which of their arguments are shown
    "NoticeEvent": slice(1),
    "add_load_notice": slice(1),
    "add_notice": slice(1),
    "report_loading": slice(1),
    "show_info": slice(2),
    "show_warning": slice(2),
    "_offer_other_model": slice(1, 2),
}
_KEYWORDS = ("hint", "title", "text", "remedy", "message")
_SHOWN_PARTS = {"FormWarning"}
_SHOWN_RESULTS = {  # functions that return notices
    "_describe_distance",
    "_describe_failure",
    "_describe_frames",
    "_describe_limits",
    "_describe_spending",
    "_warn_of_small_image",
    "describe_drawing",
    "describe_faint_ground",
    "describe_finding",
    "describe_large_size",
    "describe_rounded_size",
    "describe_things",
    "format_fallback_notice",
}
_LISTS = {"notes", "_notes"}  # what is appended to them, or passed by their names, is shown
_CONSTANT = "_NOTICE"  # the end of the names of constants that are shown
_MOST_VARIANTS = 16
_WORDS = re.compile(r"[^\W\d_]{2}")
_GAP = re.compile(r"\{\d+\}")
_LEAST_CHARS = 6  # of a template beside its gaps; shorter ones would match too much


def list_messages(folder: Path = STUDIO) -> dict[str, set[str]]:
    """Every message that the page may show, with the paths below `folder` of the files that it is in."""
    trees = {
        path.relative_to(folder).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.py"))
    }
    errors = _list_error_names(trees.values())
    found: dict[str, set[str]] = {text: {"tabs/common/result_panel.py"} for text in STATUS_LINES}
    found |= {text: {"tabs/common/cost_line.py"} for text in COST_LINES}
    found |= {text: {"core"} for text in GAP_WORDS}
    for path, tree in trees.items():
        for text in _list_tree_messages(tree, errors):
            found.setdefault(text, set()).add(path)
    return {text: paths for text, paths in found.items() if not all(path.startswith(ELSEWHERE) for path in paths)}


def list_main_messages(folder: Path = STUDIO) -> set[str]:
    """The messages of the four main tabs."""
    return {text for text, paths in list_messages(folder).items() if any(path.startswith(MAIN) for path in paths)}


def main() -> None:
    code = sys.argv[1] if len(sys.argv) > 1 else "de"
    known = read_messages(code)
    main_texts = list_main_messages()
    for text in sorted(list_messages().keys() - known.keys(), key=lambda text: (text not in main_texts, text)):
        print("main" if text in main_texts else "    ", json.dumps(text, ensure_ascii=False))


def _list_error_names(trees: Iterable[ast.Module]) -> set[str]:
    """The names of StudioError and of all classes made from it."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = {_ROOT}
    while more := {one.name for one in classes if names & {_get_name(base) for base in one.bases}} - names:
        names |= more
    return names


def _list_tree_messages(tree: ast.Module, errors: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for shown in _list_shown_arguments(node, errors):
                yield from _list_all_templates(shown)
        elif isinstance(node, ast.ClassDef) and node.name in errors:
            yield from _list_titles(node)
        elif isinstance(node, ast.FunctionDef) and node.name in _SHOWN_RESULTS:
            for line in ast.walk(node):
                if isinstance(line, ast.Return):
                    yield from _list_all_templates(line.value)
        elif isinstance(node, ast.Assign) and _get_name(node.targets[0]).endswith(_CONSTANT):
            yield from _list_templates(node.value)


def _list_shown_arguments(call: ast.Call, errors: set[str]) -> list[ast.expr]:
    """What users see of the arguments of a call."""
    name = _get_name(call.func)
    hints = [keyword.value for keyword in call.keywords if keyword.arg == "hint" or keyword.arg in _LISTS]
    if name == "append" and isinstance(call.func, ast.Attribute) and _get_name(call.func.value) in _LISTS:
        return call.args
    if name in errors or name in _SHOWN_PARTS:
        named = [keyword.value for keyword in call.keywords if keyword.arg in _KEYWORDS]
        return [*call.args[:1], *named]
    if name in _FUNCTIONS:
        named = [keyword.value for keyword in call.keywords if keyword.arg in _KEYWORDS]
        return [*call.args[_FUNCTIONS[name]], *named]
    return hints


def _list_titles(node: ast.ClassDef) -> Iterator[str]:
    for line in node.body:
        targets = (
            [line.target] if isinstance(line, ast.AnnAssign) else line.targets if isinstance(line, ast.Assign) else []
        )
        if any(_get_name(target) == "title" for target in targets) and isinstance(line, ast.Assign | ast.AnnAssign):
            yield from _list_templates(line.value)


def _list_all_templates(node: ast.expr | None) -> Iterator[str]:
    """As `_list_templates`, of each part where the expression is a tuple or a list."""
    for part in node.elts if isinstance(node, ast.Tuple | ast.List) else [node]:
        yield from _list_templates(part)


def _list_templates(node: ast.expr | None) -> Iterator[str]:
    """The texts that an expression may give, gaps numbered; none where it has no words of its own."""
    for pieces in itertools.islice(_list_variants(node), _MOST_VARIANTS):
        numbers = itertools.count(1)
        text = "".join(f"{{{next(numbers)}}}" if piece is None else piece for piece in pieces).strip()
        bare = _GAP.sub("", text)
        if _WORDS.search(bare) and (text == bare or len(bare.strip()) >= _LEAST_CHARS):
            yield text


def _list_variants(node: ast.expr | None) -> Iterator[tuple[str | None, ...]]:
    """The texts of an expression, piece by piece, None for a gap."""
    match node:
        case ast.Constant(value=str(text)):
            yield (text,)
        case ast.JoinedStr(values=values):
            for parts in itertools.product(*[list(_list_variants(value)) for value in values]):
                yield tuple(itertools.chain(*parts))
        case ast.FormattedValue(value=ast.IfExp() as choice):
            yield from _list_variants(choice)
        case ast.IfExp(body=body, orelse=other):
            yield from _list_variants(body)
            yield from _list_variants(other)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            for first, second in itertools.product(list(_list_variants(left)), list(_list_variants(right))):
                yield (*first, *second)
        case ast.BoolOp(op=ast.Or(), values=values):
            for value in values:
                yield from _list_variants(value)
        case _:
            yield (None,)


def _get_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


if __name__ == "__main__":
    main()
