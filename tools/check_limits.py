"""Check the limits that the linters do not: line and function length, heavy imports, unfinished work.

No line of Python, JavaScript or CSS is longer than 120 columns: ruff leaves out lines that end in a comment for a
checker, prettier leaves out comments. Functions fail at 60 lines. torch, diffusers and transformers are imported inside
functions, so that the page is up before them. A broad `except` is allowed in the job runner, in plug-in discovery,
where one thread passes an error on to another, and around loaders, as tokenizers raises no class of its own.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_COLUMNS = 120
MAX_FUNCTION_LINES = 60
ENTRY_FILES = (Path("app.py"), Path("run.py"))
HEAVY_MODULES = {"torch", "diffusers", "transformers", "peft", "accelerate", "spandrel", "controlnet_aux"}
BROAD_EXCEPT_ALLOWED = {
    Path("studio/engine/jobs/job_runner.py"),
    Path("studio/engine/plugins.py"),
    Path("studio/core/thread_handover.py"),
    Path("studio/pipelines/load_errors.py"),
}
SOURCE_SUFFIXES = {".py", ".js", ".css"}
UNFINISHED_PATTERN = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")


def find_long_lines(path: Path) -> Iterator[str]:
    """Every line of `path` above MAX_COLUMNS, as `file:line what`."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if len(line) > MAX_COLUMNS:
            yield f"{path}:{number} {len(line)} columns, {MAX_COLUMNS} is the limit"


def find_problems(path: Path) -> Iterator[str]:
    """Every other limit that the studio's module `path` exceeds, as `file:line what`."""
    text = path.read_text()
    tree = ast.parse(text)
    for number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED_PATTERN.search(line):
            yield f"{path}:{number} unfinished: {line.strip()}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno} {node.name}: {length} lines, {MAX_FUNCTION_LINES} is the limit"
        elif isinstance(node, ast.ExceptHandler) and _is_broad(node) and path not in BROAD_EXCEPT_ALLOWED:
            yield f"{path}:{node.lineno} broad except"
    yield from (
        f"{path}:{node.lineno} {name} imported at module level"
        for node, name in _find_top_imports(tree)
        if name in HEAVY_MODULES
    )


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )


def _find_top_imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module.split(".")[0]


def main() -> int:
    folders = [Path(name) for name in ("studio", "tools", "benchmarks", "tests")]
    sources = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in SOURCE_SUFFIXES]
    found = [problem for path in [*ENTRY_FILES, *sources] for problem in find_long_lines(path)]
    modules = [*ENTRY_FILES, *sorted(Path("studio").rglob("*.py"))]
    found += [problem for path in modules for problem in find_problems(path)]
    sys.stdout.writelines(problem + "\n" for problem in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
