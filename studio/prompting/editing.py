"""Prompt editing `[from:to:when]` and alternation `[a|b]`: which text stands in the prompt at which step.

The rules are those of AUTOMATIC1111's prompt_parser, the odd ones too: a bracket without its partner is text, and a
prompt that its grammar cannot read at all (a `|` outside of square brackets, for example) is taken as it stands,
nothing edited.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_PIECE = re.compile(r"(?P<mark>[\[\]():|])|(?P<text>(?:[^\\\[\]():|]|\\.)+)", re.DOTALL)
_UNREADABLE = re.compile(r"\\(?:\n|$)")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_MAX_DEPTH = 60  # brackets within brackets; nobody writes that many, and more would exhaust the stack
_OPENING_BRACKETS = {"]": "[", ")": "("}


@dataclass(frozen=True)
class _Edit:
    before: tuple[_Item, ...]
    after: tuple[_Item, ...]
    when: str


@dataclass(frozen=True)
class _Alternation:
    options: tuple[tuple[_Item, ...], ...]


_Item = str | _Edit | _Alternation


@dataclass
class _OpenBracket:
    """A bracket whose partner has not come yet: what stands behind it, cut at the bare `:` and `|` in `cuts`."""

    bracket: str
    parts: list[list[_Item]] = field(default_factory=lambda: [[]])
    cuts: list[str] = field(default_factory=list[str])
    spoiled: bool = False  # holds a bracket that is text, so it cannot be an edit itself

    def flatten(self) -> list[_Item]:
        """All of it as text, with the bracket in front."""
        items: list[_Item] = [self.bracket, *self.parts[0]]
        for cut, part in zip(self.cuts, self.parts[1:], strict=True):
            items += [cut, *part]
        return items


def schedule_texts(text: str, steps: int, first_pass: int | None = None) -> list[tuple[int, str]]:
    """The prompt's texts as (end, text): each holds until `end` steps are done; the last end is `steps`.

    `when` with a point in it is a fraction of the steps, otherwise a number of steps. With `first_pass`, the steps of
    the pass before, this is a hires pass as A1111 counts it: fractions from 1 to 2 and step numbers beyond `first_pass`
    fall into it.
    """
    tree = _parse(text)
    if tree is None:
        return [(steps, text)]
    ends = {steps}
    _collect_ends(tree, steps, first_pass, ends)
    return [(end, _resolve_text(tree, end, steps, first_pass)) for end in sorted(ends)]


def _parse(text: str) -> tuple[_Item, ...] | None:
    """The tree of a prompt, None for one that the grammar does not read."""
    if _UNREADABLE.search(text.replace("\\\\", "")):
        return None
    stack = [_OpenBracket("")]
    for piece in _PIECE.finditer(text):
        mark = piece["mark"]
        if mark is None:
            stack[-1].parts[-1].append(piece[0])
        elif mark in "[(":
            stack.append(_OpenBracket(mark))
            if len(stack) > _MAX_DEPTH:
                return None
        elif mark in "])":
            if len(stack) == 1 or stack[-1].bracket != _OPENING_BRACKETS[mark]:
                _flush(stack)
                stack[-1].parts[-1].append(mark)
            else:
                _close_group(stack, mark)
        else:
            stack[-1].cuts.append(mark)
            stack[-1].parts.append([])
    _flush(stack)
    return None if "|" in stack[0].cuts else tuple(stack[0].flatten())


def _flush(stack: list[_OpenBracket]) -> None:
    """Take every open bracket as text."""
    while len(stack) > 1:
        _merge_group(stack, stack.pop(), "")


def _merge_group(stack: list[_OpenBracket], group: _OpenBracket, closing: str) -> None:
    """Put a group into its parent as text; its cuts become the parent's, so that a `|` among them is still seen."""
    parent = stack[-1]
    parent.spoiled = True
    parent.parts[-1] += [group.bracket, *group.parts[0]]
    parent.cuts += group.cuts
    parent.parts += group.parts[1:]
    parent.parts[-1].append(closing)


def _close_group(stack: list[_OpenBracket], closing: str) -> None:
    group = stack.pop()
    edit = _parse_edit(group) if closing == "]" and not group.spoiled else None
    if edit is not None:
        stack[-1].parts[-1].append(edit)
    elif not group.spoiled and (not group.cuts or (closing == ")" and group.cuts == [":"])):
        stack[-1].parts[-1] += [*group.flatten(), closing]
    else:
        _merge_group(stack, group, closing)


def _parse_edit(group: _OpenBracket) -> _Edit | _Alternation | None:
    parts = [tuple(part) for part in group.parts]
    if group.cuts and set(group.cuts) == {"|"}:
        return _Alternation(tuple(parts))
    if group.cuts not in ([":"], [":", ":"]):
        return None
    when = "".join(item for item in parts[-1] if isinstance(item, str))
    match = _NUMBER.fullmatch(when)
    if match is None or len(parts[-1]) != 1:
        return None
    return _Edit(before=parts[0] if len(parts) == 3 else (), after=parts[-2], when=match[1])


def _compute_boundary(when: str, steps: int, first_pass: int | None) -> int:
    value = float(when)
    if "." in when:
        value = (value - (first_pass is not None)) * steps
    else:
        value -= first_pass or 0
    return int(max(-1.0, min(float(steps), value)))


def _collect_ends(items: Sequence[_Item], steps: int, first_pass: int | None, ends: set[int]) -> None:
    for item in items:
        if isinstance(item, _Edit):
            boundary = _compute_boundary(item.when, steps, first_pass)
            if boundary >= 1:
                ends.add(boundary)
            _collect_ends(item.before, steps, first_pass, ends)
            _collect_ends(item.after, steps, first_pass, ends)
        elif isinstance(item, _Alternation):
            ends.update(range(1, steps + 1))
            for option in item.options:
                _collect_ends(option, steps, first_pass, ends)


def _resolve_text(items: Sequence[_Item], step: int, steps: int, first_pass: int | None) -> str:
    """The text at `step`, counted from 1."""
    out: list[str] = []
    for item in items:
        if isinstance(item, str):
            out.append(item)
        else:
            if isinstance(item, _Edit):
                chosen = item.before if step <= _compute_boundary(item.when, steps, first_pass) else item.after
            else:
                chosen = item.options[(step - 1) % len(item.options)]
            out.append(_resolve_text(chosen, step, steps, first_pass))
    return "".join(out)
