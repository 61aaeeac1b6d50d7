"""Writes studio/prompting/culture/territories.json from Unicode's CLDR, as Babel carries it, and countryinfo's demonyms
and capitals.

Both are needed here only: `pip install babel==2.19 countryinfo==1.0.1` into an environment of its own, then run
`python tools/territories.py`.
"""

# pyright: reportMissingImports=false
# Its packages are in no environment of the studio.

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "studio" / "prompting" / "culture" / "territories.json"
LANGUAGES = (
    "en de fr es it pt nl sv da nb fi pl cs sk hu ro bg el ru uk tr ar he fa ur hi bn ta te mr th vi id ms sw ja ko zh"
    " zh_Hant"
).split()
MIN_SHARE = 5.0  # per cent of a territory's people, from which a language is listed
_MIN_LETTERS = 3  # of names in alphabets


def main() -> None:
    from babel import Locale
    from babel.core import get_global
    from countryinfo import all_countries

    codes = sorted(code for code in Locale("en").territories if re.fullmatch("[A-Z]{2}", code) and code not in _SPECIAL)
    names: dict[str, str] = {}
    for language in LANGUAGES:
        territories: Any = Locale.parse(language).territories
        for code in codes:
            for name in _list_forms(str(territories.get(code, ""))):
                names.setdefault(name, code)
    demonyms: dict[str, list[str]] = {}
    capitals: dict[str, str] = {}
    for country in all_countries():
        code, word, capital = country.iso(2), str(country.demonym()).casefold(), str(country.capital()).casefold()
        if code not in codes:
            continue
        if re.fullmatch(r"[a-zà-ÿ' \-]{4,40}", word):
            demonyms.setdefault(word, []).append(code)
        if len(capital) >= _MIN_LETTERS and capital not in names:
            capitals.setdefault(capital, code)
    shares: Any = get_global("territory_languages")
    languages = {
        code: [
            name
            for name, data in sorted(shares.get(code, {}).items(), key=lambda pair: -pair[1]["population_percent"])
            if data["population_percent"] >= MIN_SHARE
        ][:6]
        for code in codes
    }
    data = {
        "names": names,
        "capitals": capitals,
        "demonyms": demonyms,
        "languages": {c: found for c, found in languages.items() if found},
    }
    TARGET.write_text(json.dumps(data, ensure_ascii=False, indent=0, sort_keys=True) + "\n", encoding="utf-8")


_SPECIAL = {"EU", "EZ", "UN", "XA", "XB", "ZZ", "QO"}


def _list_forms(name: str) -> list[str]:
    """A name as it may be written: without what stands in brackets, and both sides of an "&"."""
    plain = re.sub(r"\s*[(（].*?[)）]", "", name).replace("’", "'").casefold().strip()
    forms = {plain, plain.replace(" & ", " and "), plain.replace("st. ", "saint ")}
    return [each for each in sorted(forms) if len(each) >= (_MIN_LETTERS if each.isascii() else 2)]


if __name__ == "__main__":
    main()
