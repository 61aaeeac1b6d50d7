"""Texts as the full-text index takes them: words for scripts with spaces, overlapping pairs for those without.

The index splits at spaces, so it would take a Chinese or Thai sentence for one word. Such runs are written as pairs of
neighbouring characters, each pair as one made-up word (the code points in hexadecimal, which no tokenizer splits), and
a query is written the same way and asked as a phrase. The last character stands once more alone, so that one character
is found as the beginning of a pair.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Han, kana, Hangul, Thai, Lao, Myanmar, Khmer, and pictographs, which the index would drop as punctuation
_PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2600-\u27bf\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U0001f000-\U0001faff\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_PAIRED}]+")
_PART = re.compile(f"([{_PAIRED}]+)|([^{_PAIRED}]+)")


def expand_text(text: str) -> str:
    """`text` as it goes into the index."""
    text = _normalize(text)
    return _RUN.sub(lambda found: f" {_write_pairs(found[0])} {_encode(found[0][-1])} ", text)


def quote_phrase(text: str, *, prefix: bool = False) -> str:
    """`text` as phrases of a MATCH expression that all have to occur; "" where it has nothing that can be found.
    `prefix` lets the last word go on."""
    phrases: list[str] = []
    for run, plain in _PART.findall(_normalize(text)):
        if run:
            phrases.append(f'"{_write_pairs(run)}"' if len(run) > 1 else f'"{_encode(run)}"*')
        elif any(char.isalnum() for char in plain):
            phrases.append('"' + plain.replace('"', " ").replace("\0", " ").strip() + '"')
    if prefix and phrases and not phrases[-1].endswith("*"):
        phrases[-1] += "*"
    return " AND ".join(phrases)


def make_key(field: str, value: str) -> str:
    """The word that stands in the index for a value of a field, such as a model; upper and lower case are one."""
    return field + hashlib.blake2s(value.casefold().encode("utf-8", "replace"), digest_size=8).hexdigest()


def fold_name(name: str) -> str:
    """What two names have in common that are taken for one: `Cat` and `cat`, and both ways to write `é`."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _normalize(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _write_pairs(run: str) -> str:
    if len(run) == 1:
        return _encode(run)
    return " ".join(_encode(run[place : place + 2]) for place in range(len(run) - 1))


def _encode(chars: str) -> str:
    return "x" + "".join(f"{ord(char):05x}" for char in chars)
