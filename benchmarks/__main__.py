"""python -m benchmarks [startup|overhead|residency ...]: all of them without a name. Prints a Markdown table."""

from __future__ import annotations

import importlib
import sys

from benchmarks.report import TABLE_HEADER

BENCHMARKS = (
    "startup",
    "page_weight",
    "library_page",
    "idle",
    "growth",
    "overhead",
    "real_size",
    "roofline",
    "same_accelerator",
    "same_images",
    "budget",
    "large_models",
    "residency",
    "editing",
    "control",
    "annotate",
    "upscale",
    "derivatives",
    "library",
    "library_million",
    "library_crash",
    "social",
    "clouds",
    "provenance",
    "prompts",
    "dialects",
    "cluster",
    "ray_cluster",
)


def main(names: list[str]) -> int:
    print(TABLE_HEADER)
    missed = 0
    for name in names or BENCHMARKS:
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            print(row, flush=True)
            missed += not row.ok
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
