"""The tables of docs/providers.md, written from the data that the studio itself goes by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from studio.core.provider import CloudModel, ProviderSpec
from studio.core.request import GenerationRequest
from studio.engine.plugins import discover
from studio.providers.common.retired_models import list_retired_models

PAGE = Path(__file__).parent.parent / "docs" / "providers.md"
_TABLE_PATTERN = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill_tables(text: str) -> str:
    """`text` with every part between `<!-- table: NAME -->` and `<!-- end -->` written anew; raises KeyError for a name
    that no table has."""
    tables: Mapping[str, Callable[[], str]] = {"keys": _render_keys, "retired": _render_retired} | {
        spec.id: lambda spec=spec: _render_models(spec) for spec in _load_specs()
    }
    return replace_tables(text, tables)


def replace_tables(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """`text` with every part between `<!-- table: NAME -->` and `<!-- end -->` replaced by the table of that name;
    raises KeyError where there is none."""
    return _TABLE_PATTERN.sub(lambda part: f"{part[1]}{tables[part[2]]()}\n{part[3]}", text)


def main() -> None:
    PAGE.write_text(fill_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _load_specs() -> list[ProviderSpec]:
    return list(discover("studio.providers", "PROVIDER"))


def _render_keys() -> str:
    rows = ["| provider | get a key at | environment | another address |", "|---|---|---|---|"]
    for spec in sorted(_load_specs(), key=lambda spec: spec.key_optional):
        names = " or ".join(f"`{name}`" for name in spec.keys)
        rows.append(
            f"| {spec.title} | {spec.site} | {names}{', optional' if spec.key_optional else ''} | `{spec.base_env}` |"
        )
    return "\n".join(rows)


def _render_models(spec: ProviderSpec) -> str:
    rows = ["| model | does | takes | US dollars an image | passes over |", "|---|---|---|---|---|"]
    models = spec.models()
    for one in models:
        does = ", ".join(sorted(task.replace("_", " ") for task in one.model.tasks))
        takes = ", ".join(sorted(feature.label for feature in one.model.features)) or "the prompt alone"
        ends = f" **Ends on {one.ends}.**" if one.ends else ""
        rows.append(f"| `{one.model.id}` | {does} | {takes} | {_format_price(one)} | {one.model.ignores}{ends} |")
    sources = sorted({f"{one.source}, read on {one.date}" for one in models if one.source})
    return "\n".join([*rows, "", f"Prices: {'; '.join(sources)}." if sources else "Free: it is your own."])


def _format_price(one: CloudModel) -> str:
    """The price of one image of the model's own size, from its cheapest task to the most expensive."""
    found = [one.price(GenerationRequest(task=task, model=one.model.id), {}) for task in sorted(one.model.tasks)]
    known = sorted({round(amount, 4) for amount in found if amount is not None})
    if not known:
        return "unknown"
    return f"{known[0]:g}" if len(known) == 1 else f"{known[0]:g} to {known[-1]:g}"


def _render_retired() -> str:
    rows = ["| name | last day | drawn with | |", "|---|---|---|---|"]
    rows += [
        f"| `{found.name}` | {found.ends} | `{found.model}` | {found.note} [source]({found.source}) |"
        for found in list_retired_models()
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
