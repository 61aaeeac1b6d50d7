"""File names made of the names that users give."""

from __future__ import annotations

import re

from studio.core.errors import InvalidRequest

MAX_NAME_CHARS = 60


def make_file_id(name: str, noun: str) -> str:
    """An id, which is a name for a file, made of what a user calls a `noun`: "Summer sale!" becomes "summer_sale".

    Raises:
        InvalidRequest: there is no letter or digit in it, or it is too long.
    """
    found = re.sub(r"\W+", "_", name.casefold()).strip("_")
    if not found or len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(
            f"Invalid {noun} name.", hint=f"Use up to {MAX_NAME_CHARS} characters, for example “Summer sale”."
        )
    return found
