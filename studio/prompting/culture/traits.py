"""What a text says of people's looks, age, gender, faith or dress that another did not say. English only."""

from __future__ import annotations

import re

MOST = 5  # phrases that are named
_PEOPLE = (
    r"(?:man|men|woman|women|girls?|boys?|lady|ladies|gentlem[ae]n|persons?|people|couple|child|children|kids?|adults?|"
    r"doctors?|nurses?|teachers?|farmers?|students?|workers?|soldiers?|dancers?|musicians?|scientists?|family)"
)
_LOOKS = re.compile(
    r"\b(young|old|older|elderly|middle-aged|teenaged?|beautiful|handsome|pretty|attractive|gorgeous|slim|slender|"
    r"thin|fat|curvy|muscular|bearded|pale|tanned|black|white|brown|asian|african|european|caucasian|latin[ao]|"
    r"hispanic|arab|muslim|christian|jewish|hindu|buddhist|sikh)(?:[ ,]+[\w-]+){0,2}? " + _PEOPLE + r"\b",
    re.I,
)
_ALWAYS = re.compile(
    r"\b((?:fair|dark|light|pale|olive|brown|black|white|tanned)[- ]skin(?:ned)?|blonde?|brunette|redhead(?:ed)?|"
    r"(?:dark|red|black|grey|white|blond)-haired|female|male|caucasian|hijab|headscarf|turban|kimono|sari|dirndl|"
    r"sombrero|traditional(?:ly)? (?:dress(?:ed)?|clothe?s|clothing|attire|costumes?|garb|outfits?|robes?))\b",
    re.I,
)
_GENDERED = re.compile(
    r"\b(man|men|woman|women|girls?|boys?|lady|ladies|gentlem[ae]n|male|female|(?:grand)?(?:mother|father)|"
    r"sisters?|brothers?|(?:grand)?(?:daughter|son)s?|aunts?|uncles?|wife|husband|brides?|grooms?|kings?|queens?|"
    r"princess|prince|monks?|nuns?|pope|mum|mom|dad|businessm[ae]n|businesswom[ae]n|fisherm[ae]n|actress)\b",
    re.I,
)


def find_added_traits(said: str, written: str) -> tuple[str, ...]:
    """The phrases of `written` that describe people, and whose word `said` does not have; at most MOST, each once."""
    known = said.casefold()
    found = [match for pattern in (_LOOKS, _ALWAYS) for match in pattern.finditer(written)]
    if not _GENDERED.search(said):
        found += _GENDERED.finditer(written)
    added = [match for match in found if not re.search(rf"\b{re.escape(match[1].casefold())}\b", known)]
    phrases = dict.fromkeys(match[0].casefold() for match in sorted(added, key=lambda match: match.start()))
    whole = [one for one in phrases if not any(one != other and one in other for other in phrases)]
    return tuple(whole[:MOST])
