"""Run pyright on the files whose types may have changed since they were last found right.

A file is checked again when it, a file of this project that it imports, directly or by others, the settings of pyright
or the pinned packages changed. What was found right is kept in `.types_cache.json`, by content. `make types` checks
all files anew.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

CACHE = Path(".types_cache.json")
CHECKED = ("app.py", "run.py", "studio", "tools", "benchmarks")  # as `include` in pyproject.toml
SETTINGS = ("pyproject.toml", "constraints.txt")


def list_files(root: Path) -> list[Path]:
    """The Python files that are checked, relative to `root`."""
    paths = [root / name for name in CHECKED]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return sorted(file.relative_to(root) for file in files if file.exists())


def list_imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The names of the modules that `source`, a module in `package`, may import, at any place in it. An imported object
    is taken for a module too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = (*above, *(node.module.split(".") if node.module else ()))
            yield base
            yield from ((*base, alias.name) for alias in node.names)


def compute_digests(root: Path) -> dict[str, str]:
    """For each file a digest of it, all files that it imports, directly or by others, and what else types depend on."""
    sources = {path: (root / path).read_text(encoding="utf-8") for path in list_files(root)}
    modules = {path.with_suffix("").parts: path for path in sources}
    modules |= {path.parent.parts: path for path in sources if path.name == "__init__.py"}
    imports = {path: _find_files(modules, source, path) for path, source in sources.items()}
    outside = "".join((root / name).read_text(encoding="utf-8") for name in SETTINGS if (root / name).exists())
    outside += importlib.metadata.version("pyright")
    hashes = {path: _hash(source) for path, source in sources.items()}
    return {
        str(path): _hash(outside, *(f"{each} {hashes[each]}" for each in sorted(_reach(path, imports))))
        for path in sources
    }


def _find_files(modules: Mapping[tuple[str, ...], Path], source: str, path: Path) -> set[Path]:
    """The files that importing the modules of `source` reads: a module's own, and those of the packages around it."""
    names = set(list_imports(source, path.parent.parts))
    reached = {name[:depth] for name in names for depth in range(1, len(name) + 1)}
    return {modules[name] for name in reached if name in modules}


def _reach(path: Path, imports: Mapping[Path, set[Path]]) -> set[Path]:
    reached, waiting = {path}, [path]
    while waiting:
        found = imports[waiting.pop()] - reached
        reached |= found
        waiting.extend(found)
    return reached


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def read_cache(file: Path) -> dict[str, str]:
    """The digests of files that were found right; none where the cache is missing or cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main() -> int:
    """Check what changed; the exit status is pyright's."""
    digests, known = compute_digests(Path()), read_cache(CACHE)
    changed = [name for name, digest in digests.items() if known.get(name) != digest]
    print(f"pyright: {len(changed)} of {len(digests)} files may have changed")
    if not changed:
        return 0
    names = [] if len(changed) == len(digests) else changed
    status = subprocess.run([str(Path(sys.executable).with_name("pyright")), *names], check=False).returncode
    if status == 0:
        CACHE.write_text(json.dumps(digests), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
