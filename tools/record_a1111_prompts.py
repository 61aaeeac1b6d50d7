"""Write tests/data/a1111_prompts.json: what AUTOMATIC1111's own parser makes of generated prompts.

Needs a checkout of AUTOMATIC1111 1.10.1 (its path is the argument) and, in an environment of its own, its lark: pip
install lark==1.1.2. Run with the repository root on the path: python -m tools.record_a1111_prompts CHECKOUT

Its grammar is ambiguous: what some prompts mean changes with Python's hash seed from start to start. Those are counted
and left out, and so are prompts that meet its two other quirks: BREAK with a weight of its own, and a lone prompt whose
end is taken as the weight of an AND.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

WANTED = 1000
HASH_SEEDS = range(6)
TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "a1111_prompts.json"
WORDS = (
    "a fox",
    "red",
    "castle on a hill",
    "soft light",
    "BREAKFAST",
    "SAND",
    "16:9",
    "café",
    "f/1.8",
    "art by someone",
    "1girl",
    "snow ",
    " night",
    "<lora:fur:0.8>",
    "日本",
    "very detailed",
)
WEIGHTS = ("1.2", "0.5", "1", ".8", "1.35", "2", " 1.1", "1.1 ", "-0.5", "0")
MOMENTS = ("3", "0.5", ".25", "1", "1.0", "8", "0.75", "12", "1.5", "0", " 4", "0.9 ", "14")
STRAY = ("(", ")", "[", "]", ":", "\\", "((", "))", "|", "::", "(:", "()", "[]")
QUIRK = re.compile(r":\s*[-+]?(?:\d+\.?|\d*\.\d+)\s*$")


def write_piece(source: random.Random, depth: int = 0) -> str:
    """Return a part of a prompt, at most four levels of brackets deep."""
    kind = source.random() if depth < 4 else 0.0

    def inner() -> str:
        parts = [write_piece(source, depth + 1) for _ in range(source.choice((1, 1, 1, 2)))]
        return source.choice((", ", " ", "")).join(parts)

    if kind < 0.52:
        return source.choice(WORDS)
    if kind < 0.60:
        return f"({inner()})"
    if kind < 0.72:
        return f"({inner()}:{source.choice(WEIGHTS)})"
    if kind < 0.77:
        return f"[{inner()}]"
    if kind < 0.85:
        return f"[{inner()}:{inner()}:{source.choice(MOMENTS)}]"
    if kind < 0.89:
        return f"[{source.choice(('', inner() + ':', ':'))}{inner()}:{source.choice(MOMENTS)}]"
    if kind < 0.94:
        return "[" + "|".join(inner() if source.random() < 0.9 else "" for _ in range(source.choice((2, 2, 3)))) + "]"
    if kind < 0.97:
        return source.choice((r"\(" + inner() + r"\)", r"\[" + inner() + r"\]", r"a\:b"))
    return source.choice(STRAY)


def write_prompt(source: random.Random) -> str:
    """Return a prompt, some with BREAK and AND."""

    def write_phrase() -> str:
        pieces = [write_piece(source) for _ in range(source.randint(1, 6))]
        return source.choice((", ", " ", ", ", "\n")).join(pieces)

    text = write_phrase()
    if source.random() < 0.12:
        text += source.choice((" BREAK ", "BREAK ", " BREAK\n", ", BREAK, ")) + write_phrase()
    while source.random() < 0.15:
        weight = f" :{source.choice(('0.5', '1.2', '-0.3', '2'))}" if source.random() < 0.5 else ""
        text += f"{weight}{source.choice((' AND ', chr(10) + 'AND '))}{write_phrase()}"
    return text.strip()


def make_cases() -> list[dict[str, Any]]:
    """Return more prompts than are wanted, each with the numbers of steps that it is parsed for."""
    source = random.Random(20261130)
    cases: list[dict[str, Any]] = []
    while len(cases) < WANTED * 3 // 2:
        case: dict[str, Any] = {"prompt": write_prompt(source), "steps": source.choice((10, 15, 20))}
        kind = source.random()
        if kind < 0.2:
            case["first_pass"] = source.choice((8, 20))
        elif kind < 0.35:
            case["negative"] = True
        cases.append(case)
    return cases


def load_parser(checkout: Path) -> Any:
    """Return AUTOMATIC1111's prompt_parser alone; it imports torch for what nothing here calls."""
    sys.modules.setdefault("torch", types.ModuleType("torch"))
    spec = importlib.util.spec_from_file_location("prompt_parser", checkout / "modules" / "prompt_parser.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(parser: Any, case: dict[str, Any]) -> list[Any]:
    """Return a prompt's conditions: each its weight, and its segments until each end."""
    first = case.get("first_pass")
    numbers = (case["steps"], None) if first is None else (first, case["steps"])
    found = [(case["prompt"], 1.0)]
    if not case.get("negative"):
        indexes, texts, _ = parser.get_multicond_prompt_list([case["prompt"]])
        found = [(texts[index], weight) for index, weight in indexes[0]]
    conditions = []
    for text, weight in found:
        (schedule,) = parser.get_learned_conditioning_prompt_schedules([text], *numbers)
        conditions.append([weight, [[end, parser.parse_prompt_attention(one)] for end, one in schedule]])
    return conditions


def meets_quirk(case: dict[str, Any], conditions: list[Any]) -> bool:
    """Return whether the parse is one of those that are left out on purpose."""
    lone = len(conditions) == 1 and not case.get("negative") and bool(QUIRK.search(case["prompt"]))
    segments = [one for _, stages in conditions for _, parsed in stages for one in parsed]
    return lone or any(re.search(r"\bBREAK\b", text) and [text, weight] != ["BREAK", -1] for text, weight in segments)


def main(checkout: Path) -> None:
    """Parse all prompts in processes with other hash seeds, and record those that all of them agree on."""
    answers = []
    for seed in HASH_SEEDS:
        command = [sys.executable, "-m", "tools.record_a1111_prompts", str(checkout), "--child"]
        child = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, stdout=subprocess.PIPE, check=True
        )
        answers.append(json.loads(child.stdout))
    rows: list[dict[str, Any]] = []
    ambiguous = quirks = 0
    for case, *found in zip(make_cases(), *answers, strict=True):
        if len(rows) == WANTED:
            break
        if any(one != found[0] for one in found):
            ambiguous += 1
        elif meets_quirk(case, found[0]):
            quirks += 1
        else:
            rows.append({**case, "conditions": found[0]})
    about = {
        "source": "modules/prompt_parser.py as AUTOMATIC1111 1.10.1 and Forge have it",
        "ambiguous": ambiguous,
        "quirks": quirks,
    }
    body = json.dumps({**about, "rows": []}, ensure_ascii=False)[:-2]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    TARGET.write_text(f"{body}\n{lines}\n]}}\n", encoding="utf-8")
    print(f"{len(rows)} prompts in {TARGET}; left out: {ambiguous} ambiguous, {quirks} for quirks")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    if "--child" in sys.argv:
        parser = load_parser(path)
        print(json.dumps([parse(parser, case) for case in make_cases()]))
    else:
        main(path)
